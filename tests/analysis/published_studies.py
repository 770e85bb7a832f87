"""Tables with the published values: a study that reproduces the figure exactly, and one whose curves are flat."""

from pathlib import Path

import pandas as pd

from rdstudy.storage.schema import COLUMNS

# network, split -> (rate, distortion) of each point by falling beta, as read off the paper's figure; the star's index
# is 3 in all of them.
_POINTS = {
    ("shallow", "train"): (
        (11.7, 15.0, 17.6, 22.5, 25.1, 26.8, 30.5, 37.8, 59.3, 70.9, 105.1),
        (90.6, 77.3, 70.7, 63.2, 61.2, 60.0, 58.5, 56.7, 56.0, 55.8, 55.6),
    ),
    ("shallow", "test"): (
        (11.7, 15.2, 17.8, 22.3, 24.7, 26.4, 30.4, 37.7, 58.9, 70.5, 104.0),
        (99.8, 89.0, 83.7, 78.5, 77.7, 78.3, 78.7, 81.7, 85.4, 86.3, 86.7),
    ),
    ("deep", "train"): (
        (10.2, 12.3, 13.9, 16.7, 19.3, 22.0, 30.5, 51.6, 58.2, 85.8),
        (81.9, 70.4, 65.1, 60.0, 58.3, 55.3, 53.7, 53.0, 53.0, 53.0),
    ),
    ("deep", "test"): (
        (10.1, 12.4, 13.8, 16.7, 17.6, 18.8, 22.0, 30.7, 51.3, 58.0, 85.0),
        (148.7, 136.0, 124.0, 111.0, 118.1, 121.0, 92.0, 73.0, 72.7, 72.9, 74.0),
    ),
}
CURVES = [
    (network, split, k, rate, distortion, int(k == 3))
    for (network, split), (rates, distortions) in _POINTS.items()
    for k, (rate, distortion) in enumerate(zip(rates, distortions, strict=True))
]


def curves_file(folder: Path) -> Path:
    """The published curves as a CSV file."""
    path = folder / "published.csv"
    columns = ["network", "split", "order_high_to_low_beta", "rate_nats", "distortion_nats", "star"]
    pd.DataFrame(CURVES, columns=columns).to_csv(path, index=False)
    return path


def copied(published: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """A study without noise that has the published values, and a shallow random split without a rise."""
    control = published[(published["depth"] == 1)].assign(split="random", distortion_nats=80.0)
    tables = [both.assign(seed=seed) for seed in range(seeds) for both in (published, control)]
    return _as_study(pd.concat(tables, ignore_index=True))


def flat(published: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """The same cells, with a distortion of 90 nats everywhere."""
    return copied(published, seeds).assign(distortion_nats=90.0)


def _as_study(rows: pd.DataFrame) -> pd.DataFrame:
    key = rows[["split", "depth", "beta", "seed"]].astype(str).agg("-".join, axis=1)
    setup = {"train_size": 81920, "width": 512, "latent_dim": 10, "learning_rate": 1e-3, "batch_size": 128}
    given = rows.assign(cell_id=key, step=64000, epoch=100.0, is_final=True, status="ok", **setup)
    return given.reindex(columns=[column.name for column in COLUMNS])

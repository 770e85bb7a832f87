"""Invented studies with known answers: tables shaped as `rdstudy.storage.schema.COLUMNS`, and the folders around
them.

The training curve is one whose slope is known: with D = floor + s beta and R = s log(c / beta), -dD/dR = beta
exactly. Test distortion is the training distortion plus a planted gap; the mutual information reaches 95% of
its ceiling at a planted beta. Every number is made up.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rdstudy.storage.lists import LISTS
from rdstudy.storage.schema import COLUMNS

GRID = (5.0, 3.0, 2.0, 1.0, 0.9, 0.7, 0.5, 0.3, 0.1, 0.01, 0.005, 0.001)

Gap = Callable[[np.ndarray], np.ndarray]


def flat(gap: float = 3.0) -> Gap:
    return lambda beta: np.full_like(beta, gap)


def constant_test(level: float = 90.0) -> Gap:
    """Test distortion does not depend on beta at all: nothing planted."""
    return lambda beta: level - training_distortion(beta)


def u_shaped(best: float = 0.9, rise: float = 3.0, fall: float = 10.0) -> Gap:
    """Test distortion has its minimum at `best`: `rise` nats per decade below it, `fall` per decade above."""

    def gap(beta: np.ndarray) -> np.ndarray:
        decades = np.log10(beta / best)
        test = 78 + np.where(decades < 0, -rise * decades, fall * decades)
        return np.asarray(test - training_distortion(beta))

    return gap


def falling(height: float = 76.0, middle: float = 0.8) -> Gap:
    """Test distortion falls by `height` as beta falls past `middle`, then stays where it is."""
    return lambda beta: 73 + height / (1 + (middle / beta) ** 3) - training_distortion(beta)


def rising(per_decade: float = 4.0) -> Gap:
    return lambda beta: 70 - per_decade * np.log10(beta / 5) - training_distortion(beta)


FLOOR_NATS, SCALE = 54.0, 8.0


def training_distortion(beta: np.ndarray) -> np.ndarray:
    return np.asarray(FLOOR_NATS + SCALE * beta)


def training_rate(beta: np.ndarray) -> np.ndarray:
    return np.asarray(SCALE * np.log(16.0 / beta))


@dataclass(frozen=True)
class Planted:
    """A setting and the truth about it."""

    gap: Gap = field(default_factory=flat)
    saturates_at: float = 0.5
    split: str = "checkerboard"
    train_size: int = 81920
    depth: int = 1
    width: int = 512
    dataset: str = "tetrominoes"


def study_table(
    settings: Sequence[Planted],
    *,
    betas: Sequence[float] = GRID,
    seeds: int = 5,
    steps: Sequence[int] = (160000,),
    noise: float = 0.3,
    seed_effect: float = 0.3,
    generator: np.random.Generator | None = None,
    nll: bool = True,
    mi: bool = True,
    apart: float | None = 0.1,
    populations: Sequence[str] = ("train", "test"),
) -> pd.DataFrame:
    """A finished study with seed noise: `seed_effect` shared by a seed's curve, `noise` by a cell.

    `apart`: how far the upper bound of the information lies above the lower one; None: they were not measured.
    """
    generator = np.random.default_rng(0) if generator is None else generator
    frames = []
    for number, planted in enumerate(settings):
        shape = (len(betas), seeds)
        beta = np.repeat(np.asarray(betas, dtype=np.float64), seeds)
        shift = noise * generator.standard_normal(shape) + seed_effect * generator.standard_normal(seeds)
        for population in populations:
            own = 0.3 * noise * generator.standard_normal(shape)
            told = 0.0005 * generator.standard_normal(shape).ravel()  # the noise of I is its own
            frames.append(
                _rows(
                    planted, number, beta, seeds, (shift + own).ravel(), told, population, steps, apart, nll=nll, mi=mi
                )
            )
    table = pd.concat(frames, ignore_index=True)
    names = [column.name for column in COLUMNS]
    return table.assign(**dict.fromkeys(set(names) - set(table)))[names]


def _rows(
    planted: Planted,
    number: int,
    beta: np.ndarray,
    seeds: int,
    shift: np.ndarray,
    told: np.ndarray,
    population: str,
    steps: Sequence[int],
    apart: float | None,
    *,
    nll: bool,
    mi: bool,
) -> pd.DataFrame:
    cells, last = len(beta), max(steps)
    step = np.tile(np.asarray(steps), cells)
    cell = np.repeat(np.arange(cells), len(steps))
    untrained = np.exp(-6 * step / last) * (step < last)
    gap = planted.gap(beta) if population == "test" else np.zeros(cells)
    rate = (training_rate(beta) + 0.05 * shift)[cell] * (1 - untrained)
    distortion = (training_distortion(beta) + gap + shift)[cell] + 240 * untrained
    n = planted.train_size if population == "train" else 81920
    ceiling = np.log(n)
    share = 1 / (1 + (beta / planted.saturates_at) ** 2 * (1 / 0.95 - 1))
    information = ceiling * (share + told).clip(0, 1)[cell] * (1 - untrained)
    null = np.full(len(step), np.nan)
    finished = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    return pd.DataFrame(
        {
            "study": "planted",
            "cell_id": [f"{number:04d}{c:08x}" for c in cell],
            "dataset": planted.dataset,
            "split": planted.split,
            "train_size": planted.train_size,
            "depth": planted.depth,
            "width": planted.width,
            "latent_dim": 10,
            "prior": "standard_normal",
            "likelihood": "bernoulli",
            "architecture": "mlp",
            "beta_warmup_steps": 0,
            "numerics": 2,
            "beta": beta[cell],
            "learning_rate": 1e-3,
            "batch_size": 128,
            "optimizer": "adam",
            "precision": "float32",
            "seed": np.tile(np.arange(seeds), cells // seeds)[cell],
            "data_seed": 0,
            "step": step,
            "epoch": step * 128 / planted.train_size,
            "is_final": step == last,
            "population": population,
            "n_examples": n,
            "evaluation_id": "e0",
            "distortion_nats": distortion,
            "distortion_se": 0.05,
            "rate_nats": rate,
            "rate_se": 0.01,
            "elbo_nats": -(distortion + rate),
            "elbo_se": 0.05,
            "mi_nats": information if mi else null,
            "mi_se": 0.01 if mi else null,
            "mi_ceiling_nats": ceiling if mi else null,
            "mi_draws": 1 if mi else null,
            "mi_examples": 500 if mi else null,
            "marginal_kl_nats": rate - information if mi else null,
            "marginal_kl_se": 0.01 if mi else null,
            **_bounds(information, rate, apart if mi else None),
            "active_units": 10,
            "nll_nats": distortion + 0.9 * rate if nll else null,
            "nll_se": 0.05 if nll else null,
            "nll_draws": 512 if nll else null,
            "nll_examples": 1024 if nll else null,
            "nll_ess": 40.0 if nll else null,
            "nll_unreliable_share": 0.01 if nll else null,
            "status": "ok",
            "message": None,
            "pack_id": "p0",
            "pack_size": 60,
            "device": "invented",
            "host": "invented",
            "seconds": step / 100,
            "finished_at": finished,
            "rdstudy_version": "0.1.0",
            "torch_version": "2.11.0",
            "git_commit": "0" * 40,
            "git_dirty": False,
        }
    )


def _bounds(information: np.ndarray, rate: np.ndarray, apart: float | None) -> dict[str, Any]:
    """Columns of the measure `information_bounds`; none where it was not asked for."""
    if apart is None:
        return {}
    names = ("mi_lower", "mi_upper", "marginal_kl_lower", "marginal_kl_upper")
    values = (information, information + apart, rate - information - apart, rate - information)
    errors = {f"{name}_se": 0.01 for name in names}
    sizes = {"mi_bounds_examples": 500, "mi_bounds_components": 32}
    return {**{f"{name}_nats": value for name, value in zip(names, values, strict=True)}, **errors, **sizes}


def fail(table: pd.DataFrame, chosen: pd.Series, status: str, message: str) -> pd.DataFrame:
    """The table with the chosen rows as the store has them after a divergence: null, with a message."""
    table = table.copy()
    values = [c.name for c in COLUMNS if c.group == "values" and c.name not in LISTS]
    table[values] = table[values].astype(float).mask(chosen)
    table["status"] = table["status"].where(~chosen, status)
    table["message"] = table["message"].where(~chosen, message)
    return table


def write_study(results: Path, table: pd.DataFrame, study: Mapping[str, Any]) -> None:
    """A results folder with `study.json` and, for every finished cell, a sheet of coloured squares."""
    results.mkdir(parents=True, exist_ok=True)
    (results / "study.json").write_text(json.dumps(study))
    sheets = results / "sheets"
    sheets.mkdir(exist_ok=True)
    finals = table[table["is_final"] & (table["population"] == "test") & (table["status"] == "ok")]
    for cell_id, beta in zip(finals["cell_id"], finals["beta"], strict=True):
        blur = min(1.0, float(beta) / 5)
        images = squares(8)
        reconstructions = (images * (1 - blur) + images.mean(axis=0) * blur).astype(np.uint8)
        np.savez_compressed(
            sheets / f"{cell_id}.npz",
            train_images=images,
            train_reconstructions=reconstructions,
            test_images=images[::-1],
            test_reconstructions=reconstructions[::-1],
            samples=reconstructions,
        )


def squares(count: int) -> np.ndarray:
    images = np.zeros((count, 32, 32, 3), dtype=np.uint8)
    for k in range(count):
        x, y = 3 + 2 * k, 18 - 2 * k
        images[k, y : y + 9, x : x + 9] = (255 * (k % 2), 255 * (k % 3 == 0), 255 * (k % 4 < 2))
        images[k, y : y + 4, x : x + 4] = 0
    return images

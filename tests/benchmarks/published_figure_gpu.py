"""The published figure and its control on one GPU, as far as the time given suffices; call it again to resume.

    python -m tests.benchmarks.published_figure_gpu --minutes 9 --out FOLDER [--set training.steps=640 ...]

A smoke run of a few steps comes first. Results are kept in results/gpu; tables and one seed's images are packed into
FOLDER as NAME.tar.gz, weights stay where they are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import torch

from rdstudy.storage.study_record import recorded_study

STUDIES = ("published_figure", "published_figure_random")
SMOKE = (
    "training.steps=200",
    "evaluation.steps=[200]",
    "grid.beta=[1,0.1]",
    "dataset.size=4096",
    "dataset.test_size=500",
    "grid.train_size=[1000]",
)


def run(name: str, results: Path, settings: list[str], hours: float) -> int:
    """`rdstudy run` in a process of its own; its exit code."""
    options = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "rdstudy", "run", f"studies/{name}.yaml", "--results", str(results), "--no-ray"]
    return subprocess.run([*command, "--max-hours", f"{hours:.4f}", *options], check=False).returncode


def pack(results: Path, target: Path) -> None:
    """The table, the study's record and the images of seed 0."""
    seed_0 = {cell_id for cell_id, cell in recorded_study(results).cells.items() if cell.seed == 0}
    with tarfile.open(target, "w:gz") as archive:
        for path in (results / "study.json", *sorted(results.glob("measurements/*.parquet"))):
            archive.add(path, path.relative_to(results.parent))
        for path in sorted(results.glob("*/*.npz")):
            if path.stem in seed_0:
                archive.add(path, path.relative_to(results.parent))


def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    place = [f"resources.device={arguments.device}", "resources.checkpoint_seconds=100", "resources.save_models=false"]
    smoke = Path("results/gpu/smoke")
    if not (smoke / "study.json").exists() and run(STUDIES[0], smoke, [*place, *SMOKE, *arguments.set], 0.1):
        sys.exit("the smoke run failed")
    codes = {}
    for name in STUDIES:
        left = arguments.minutes - (time.monotonic() - began) / 60
        if left <= 0.2:
            break
        settings = [*place, "resources.pack_size=36", *arguments.set]
        codes[name] = run(name, Path("results/gpu") / name, settings, left / 60)
        pack(Path("results/gpu") / name, arguments.out / f"{name}.tar.gz")
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    record = {"card": card, "torch": torch.__version__, "seconds": time.monotonic() - began, "exit_codes": codes}
    (arguments.out / "record.json").write_text(json.dumps(record, indent=1))
    print(record)


if __name__ == "__main__":
    main()

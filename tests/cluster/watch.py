"""What a study's folder tells about a fault: how much training was lost, and how long until it went on."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from pathlib import Path


class Watch:
    """Notes when every pack saves a checkpoint or ends, several times a second."""

    def __init__(self, results: Path) -> None:
        self.results = results
        self.saves: dict[str, list[float]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        seen: set[str] = set()
        while not self._end.wait(0.1):
            now = time.time()
            for path in [
                *self.results.glob("checkpoints/*/*.safetensors"),
                *self.results.glob("measurements/*.parquet"),
            ]:
                pack = path.parent.name if path.suffix == ".safetensors" else path.stem
                if str(path) not in seen:
                    seen.add(str(path))
                    self.saves.setdefault(pack, []).append(now)

    def at_work(self, at: float, within: float) -> list[str]:
        """Packs that saved something in the seconds before a moment."""
        return [pack for pack, saves in self.saves.items() if any(at - within < save <= at for save in saves)]

    def fault(self, at: float, packs: list[str], *, pause: float, settle: float = 15.0) -> tuple[float, float]:
        """Seconds of work lost by a fault, at most, and seconds from the fault until it went on; worst over the packs.

        A pack that was hit pauses: between two of its saves lies longer than `pause`, and the first comes less than
        `settle` seconds after the fault, for a machine may go on for a while. What it did then and never saved is at
        most what it does between two saves, of which the longest usual one counts (95th percentile).
        """
        lost = recovered = 0.0
        for pack in packs:
            saves = self.saves[pack]
            gaps = sorted(later - earlier for earlier, later in pairwise(saves))
            usual = gaps[int(0.95 * (len(gaps) - 1))] if gaps else 0.0
            for before, after in pairwise(saves):
                if before < at + settle and after > at and after - before > max(pause, usual):
                    lost = max(lost, at - before if before <= at else usual)
                    recovered = max(recovered, after - at)
                    break
        return lost, recovered

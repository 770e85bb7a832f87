"""What a study's folder tells about a fault: how much training was lost, and how long until it went on."""

from __future__ import annotations

import threading
import time
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

    def fault(self, at: float, packs: list[str], *, resumed_after: float) -> tuple[float, float]:
        """Seconds of work lost at a moment, and seconds until it went on; the worst over the packs.

        A pack that was hit saves nothing for longer than `resumed_after`.
        """
        lost = recovered = 0.0
        for pack in packs:
            before = [save for save in self.saves[pack] if save <= at]
            after = [save for save in self.saves[pack] if save > at]
            if after and after[0] - at > resumed_after:
                lost = max(lost, at - before[-1])
                recovered = max(recovered, after[0] - at)
        return lost, recovered

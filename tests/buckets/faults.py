"""What goes wrong with a bucket's answers: some come late, some are a 500, before or after the request took effect."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Any, Literal

SLOW_SECONDS = 1.0
WRITES = ("PUT", "POST", "PATCH", "DELETE")


class Faults:
    """Dials that a test turns (POST /faults), and counts of what was done."""

    def __init__(self) -> None:
        self.dials: dict[str, Any] = {"errors": 0.0, "slow": 0.0, "refuse_writes": False, "forbid": False}
        self.counts = {"requests": 0, "errors": 0, "slow": 0}
        self.random = random.Random(0)
        self.one_at_a_time = threading.Lock()  # what a bucket does in one step, the servers here do in two

    def turn(self, dials: bytes) -> bytes:
        """Turn dials; gives the counts so far."""
        self.dials |= json.loads(dials)
        return json.dumps(self.counts).encode()

    def next(self, method: str) -> Literal["answer", "fail", "answer and fail", "forbid"]:
        """What becomes of the next request; waits if it is to be slow."""
        self.counts["requests"] += 1
        if self.dials["forbid"]:
            return "forbid"
        if self.random.random() < self.dials["slow"]:
            self.counts["slow"] += 1
            time.sleep(SLOW_SECONDS)
        refused = method in WRITES and self.dials["refuse_writes"]
        if not refused and self.random.random() >= self.dials["errors"]:
            return "answer"
        self.counts["errors"] += 1
        return "answer and fail" if method in WRITES and not refused and self.random.random() < 0.5 else "fail"

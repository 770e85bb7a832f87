"""What a run may take at most, in hours and in money: it then stops cleanly, and the same command goes on later."""

from __future__ import annotations

import time
from collections.abc import Callable

from rdstudy.errors import UserError

LONGEST_GAP = 120.0
"""Seconds between two looks that are counted as spent; longer gaps are a machine that slept."""


class Budget:
    """Hours since the start, and what the machines cost in them; looked at again and again while packs train."""

    def __init__(
        self,
        hours: float | None = None,
        cost: float | None = None,
        price: float | None = None,
        *,
        limit: str = "--max-hours",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            hours: most hours, or None.
            cost: most money, in the currency of `price`, or None.
            price: of one machine and hour.
            limit: what sets the hours, in words.
            clock: seconds.

        Raises:
            UserError: a limit is not positive, or a cost is given without a price.
        """
        for name, value in (("--max-hours", hours), ("--max-cost", cost), ("--price", price)):
            if value is not None and not value > 0:
                raise UserError(f"{name}: expected more than 0; found {value:g}")
        if (cost is None) != (price is None):
            raise UserError("--max-cost needs --price, what one machine costs an hour, and the other way round")
        self.hours, self.cost, self.price = hours, cost, price
        self.limit = limit
        self._clock = clock
        self._started = self._looked = clock()
        self.spent = 0.0

    def over(self, machines: Callable[[], int]) -> str | None:
        """Which limit is reached, in words; None if none is. `machines` counts those that are rented now."""
        now = self._clock()
        if self.hours is not None and now - self._started >= 3600 * self.hours:
            return f"{self.limit} {self.hours:g} are over"
        if self.cost is not None and self.price is not None:
            self.spent += min(now - self._looked, LONGEST_GAP) / 3600 * self.price * machines()
            self._looked = now
            if self.spent >= self.cost:
                return f"--max-cost {self.cost:g} is spent"
        return None

"""Limits of time and cost; a run that reaches one stops cleanly and can be resumed."""

from __future__ import annotations

import time
from collections.abc import Callable

from rdstudy.errors import UserError
from rdstudy.study import Study

MAX_GAP_SECONDS = 120.0
"""Time between two checks that is charged at most: during a longer gap the machine slept."""


class Budget:
    """Hours since the start of a run, and the cost of its machines; checked while packs train."""

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
            hours: after which the run stops; None: no limit.
            cost: at which the run stops, in the currency of `price`; None: no limit.
            price: of one machine per hour.
            limit: name of the option or setting that gave `hours`.
            clock: seconds.

        Raises:
            UserError: a limit is not positive, or only one of cost and price is given.
        """
        for name, value in (("--max-hours", hours), ("--max-cost", cost), ("--price", price)):
            if value is not None and not value > 0:
                raise UserError(f"{name}: expected more than 0; found {value:g}")
        if (cost is None) != (price is None):
            raise UserError("--max-cost and --price (of one machine per hour) must be given together")
        self.hours, self.cost, self.price = hours, cost, price
        self.limit = limit
        self._clock = clock
        self._started = self._checked = clock()
        self.spent = 0.0

    @classmethod
    def of(
        cls, study: Study, hours: float | None = None, cost: float | None = None, price: float | None = None
    ) -> Budget:
        """The smaller of the given hours and the study's own `search.stop_when.hours`, and the given cost."""
        own = study.search.stop_when.hours if study.search else None
        if own is not None and (hours is None or own < hours):
            return cls(own, cost, price, limit="search.stop_when.hours")
        return cls(hours, cost, price)

    def exceeded(self, machines: Callable[[], int]) -> str | None:
        """The limit that is reached, in words; None if none is.

        Args:
            machines: counts the machines that cost money now.
        """
        now = self._clock()
        if self.hours is not None and now - self._started >= 3600 * self.hours:
            return f"{self.limit} {self.hours:g} is reached"
        if self.cost is not None and self.price is not None:
            self.spent += min(now - self._checked, MAX_GAP_SECONDS) / 3600 * self.price * machines()
            self._checked = now
            if self.spent >= self.cost:
                return f"--max-cost {self.cost:g} is reached"
        return None

"""The record in which every estimate leaves this package: a number, its error, its count."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean in nats per example, with the error that its random draws leave.

    Attributes:
        value: the estimate.
        standard_error: standard deviation of `value` over repetitions with fresh draws, everything else
            (encodings, images, population) held fixed. 0.0 for a closed form, which draws nothing.
        count: number of terms averaged.
    """

    value: float
    standard_error: float
    count: int

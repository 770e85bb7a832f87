"""The record of an estimate: value, standard error, count."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean in nats per example with its Monte-Carlo standard error.

    Attributes:
        value: the estimate.
        standard_error: standard deviation of `value` over repetitions with fresh draws, everything else
            (encodings, images, population) held fixed. 0.0 for a closed form, which draws nothing.
        count: number of terms averaged.
    """

    value: float
    standard_error: float
    count: int

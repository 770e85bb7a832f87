"""Our curves against the paper's: the points read off its figure, distances to them, and what counts as reproduced."""

from __future__ import annotations

from rdstudy.analysis.published.curves import published_curves
from rdstudy.analysis.published.distances import published_distances
from rdstudy.analysis.published.predictions import published_conditions, published_predictions

__all__ = ["published_conditions", "published_curves", "published_distances", "published_predictions"]

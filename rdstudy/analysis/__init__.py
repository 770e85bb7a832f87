"""From the table of measurements to answers: tables in, tables out. Needs pandas, and neither torch nor Ray.

    table = rdstudy.load_measurements("results/full")
    rdstudy.analysis.claims(table)      # a verdict, a difference in nats and an interval for each setting

A *setting* is everything that determines a cell but beta, seed and data seed; each of its seeds is a replicate of its
whole curve over beta. Intervals are over seeds: what other seeds would give, on this training and test set. Where a
data set has several data seeds, intervals are over these: what other training and test sets would give. The seeds of
each data seed are then averaged (differences are taken within a seed first), and `n_seeds` and `seeds` in the tables
count data seeds.
"""

from __future__ import annotations

from rdstudy.analysis.capacity import capacity
from rdstudy.analysis.cell_status import cells, missing, trouble
from rdstudy.analysis.claims import CLAIMS, claims
from rdstudy.analysis.claims_summary import claims_summary
from rdstudy.analysis.convergence import convergence
from rdstudy.analysis.curve_shapes import shapes
from rdstudy.analysis.decoder_curves import decoder_curves
from rdstudy.analysis.frontier import best_beta, frontier, gaps, hypervolumes
from rdstudy.analysis.gap_parts import gap_changes, gap_parts
from rdstudy.analysis.hull import dominated, hypervolume, lower_hull
from rdstudy.analysis.learning import learning
from rdstudy.analysis.power import power_table
from rdstudy.analysis.priors import priors
from rdstudy.analysis.published import (
    published_conditions,
    published_curves,
    published_distances,
    published_predictions,
)
from rdstudy.analysis.replicates import CRITERIA, SETTING, final_measurements, setting_label, varying
from rdstudy.analysis.saturation import information, saturation

__all__ = [
    "CLAIMS",
    "CRITERIA",
    "SETTING",
    "best_beta",
    "capacity",
    "cells",
    "claims",
    "claims_summary",
    "convergence",
    "decoder_curves",
    "dominated",
    "final_measurements",
    "frontier",
    "gap_changes",
    "gap_parts",
    "gaps",
    "hypervolume",
    "hypervolumes",
    "information",
    "learning",
    "lower_hull",
    "missing",
    "power_table",
    "priors",
    "published_conditions",
    "published_curves",
    "published_distances",
    "published_predictions",
    "saturation",
    "setting_label",
    "shapes",
    "trouble",
    "varying",
]

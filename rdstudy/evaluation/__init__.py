"""What a trained code knows about its input, and how likely the model finds it. Nats per example throughout.

    rate = I_q(x; z) + KL(q(z) || p(z))    (Hoffman & Johnson 2016)

Reads encodings and models, returns estimates with their errors: no gradients, no files, no Ray.
"""

from rdstudy.evaluation.aggregate_posterior import AggregatePosterior, log_aggregate_posterior
from rdstudy.evaluation.estimate import Estimate
from rdstudy.evaluation.gaussian import active_units, log_posterior, log_prior
from rdstudy.evaluation.importance_sampling import (
    LikelihoodEstimate,
    importance_weighted_nll,
    importance_weighted_nlls,
    pooled,
)
from rdstudy.evaluation.mutual_information import RateSplit, marginal_kl, mutual_information, split_rate

__all__ = [
    "AggregatePosterior",
    "Estimate",
    "LikelihoodEstimate",
    "RateSplit",
    "active_units",
    "importance_weighted_nll",
    "importance_weighted_nlls",
    "log_aggregate_posterior",
    "log_posterior",
    "log_prior",
    "marginal_kl",
    "mutual_information",
    "pooled",
    "split_rate",
]

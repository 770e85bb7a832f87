"""Samplers that choose the next points: Optuna's, and one for a single noisy curve."""

from __future__ import annotations

import math
import warnings

import numpy as np
import optuna
from jaxtyping import Float
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study as OptunaStudy
from optuna.trial import FrozenTrial, TrialState

from rdstudy.errors import UserError
from rdstudy.execution.search.gaussian_process import AXIS, MIN_POINTS, Feature, GaussianProcess
from rdstudy.study import SearchSpec
from rdstudy.study.search_section import redacted

SEED, BETA = "seed", "beta"


def sampler(spec: SearchSpec, feature: Feature | None, *, seed: int) -> BaseSampler:
    """The sampler that a search names.

    Args:
        spec: names it.
        feature: of the curve, to be located; None for a frontier.
        seed: of its random numbers.
    """
    name = spec.chooser
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "variance_reduction":
            assert feature is not None
            return VarianceReductionSampler(feature, seed)
        if name == "tpe":
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        if name == "gp":
            return optuna.samplers.GPSampler(seed=seed)
        if name == "nsga2":
            return optuna.samplers.NSGAIISampler(seed=seed, population_size=max(2, spec.batch))
        if name == "nsga3":
            return optuna.samplers.NSGAIIISampler(seed=seed, population_size=max(2, spec.batch))
        if name == "qmc":
            return optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
        return optuna.samplers.RandomSampler(seed=seed)


class VarianceReductionSampler(BaseSampler):
    """Proposes the point that most reduces the variance of the feature's place, given finished and pending points.

    The curve is a `GaussianProcess` in log beta. With fewer than `MIN_POINTS` finished points it proposes the middle of
    the widest gap.
    """

    def __init__(self, feature: Feature, seed: int) -> None:
        self._feature = feature
        self._rng = np.random.default_rng(seed)
        self._n_observations = -1
        self._surrogate: GaussianProcess | None = None
        self._likely: Float[np.ndarray, " points"] = np.zeros(0)

    def infer_relative_search_space(self, study: OptunaStudy, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: OptunaStudy, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, object]:
        return {}

    def sample_independent(
        self, study: OptunaStudy, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> float:
        assert isinstance(param_distribution, FloatDistribution)
        low, high = math.log(param_distribution.low), math.log(param_distribution.high)

        def points(state: TrialState) -> tuple[np.ndarray, np.ndarray, list[FrozenTrial]]:
            """Positions on the axis, seeds and trials, of the trials in a state that have a point."""
            trials = [t for t in study.get_trials(deepcopy=False, states=(state,)) if BETA in t.user_attrs]
            x = np.array([(math.log(each.user_attrs[BETA]) - low) / (high - low) for each in trials])
            return x, np.array([each.user_attrs[SEED] for each in trials], dtype=np.int64), trials

        x, seed, finished = points(TrialState.COMPLETE)
        pending, pending_seed, _ = points(TrialState.RUNNING)
        if len(finished) < MIN_POINTS:
            taken = np.concatenate([x, pending])
            away = np.abs(AXIS[:, None] - taken[None, :]).min(axis=1, initial=1.0)
            return math.exp(low + float(AXIS[away.argmax()]) * (high - low))
        if len(finished) != self._n_observations:
            self._surrogate = GaussianProcess(x, np.array([each.value for each in finished]), seed)
            self._likely = self._surrogate.likely(self._feature, self._rng)
            self._n_observations = len(finished)
        assert self._surrogate is not None
        at = self._surrogate.most_informative(self._feature, self._likely, pending, pending_seed)
        return math.exp(low + at * (high - low))


def new_record(spec: SearchSpec, name: str, directions: list[str]) -> optuna.Study:
    """A new Optuna study; in the search's storage it replaces one of the same name.

    Raises:
        UserError: the storage cannot be reached.
    """
    if spec.storage is None:
        return optuna.create_study(directions=directions)
    try:
        storage = optuna.storages.get_storage(spec.storage)
        if name in {each.study_name for each in optuna.get_all_study_summaries(storage)}:
            optuna.delete_study(study_name=name, storage=storage)
        return optuna.create_study(storage=storage, study_name=name, directions=directions)
    except Exception as error:  # of SQLAlchemy, a database driver or an import: it depends on the URL
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"search.storage: {redacted(spec.storage)} cannot be used: {redacted(reason)}") from error

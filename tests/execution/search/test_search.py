"""A search is a function of its study, of what was known, and of what its cells gave."""

from dataclasses import replace

import pytest

from rdstudy.execution.search import Outcome, Search
from rdstudy.execution.search.frontier_search import Frontier
from rdstudy.execution.search.search import Curves
from rdstudy.study import StudyError
from rdstudy.study.search_section import CURVE_SAMPLERS, FRONTIER_SAMPLERS
from tests.execution.search.objective import BEST, TEXT, believed, play, study, trained

FRONTIER = (
    "grid={split: [random], train_size: [1000], seed: {count: 50}}",
    "search={goal: frontier, batch: 8, stop_when: {cells: 40}, "
    "space: {beta: {low: 0.001, high: 5}, width: [64, 512], depth: {low: 1, high: 3, log: false}}}",
)


def batches(search: Search) -> list[list[str]]:
    return [[cell.id for cell in batch] for batch in search.batches]


def given(cell):
    return trained(replace(cell, depth=1 if cell.depth < 3 else 3))


@pytest.mark.parametrize("sampler", CURVE_SAMPLERS)
def test_the_same_outcomes_give_the_same_batches_and_no_cell_twice(sampler):
    first, second = (Search(study(f"search.sampler={sampler}", "search.stop_when.cells=32")) for _ in range(2))
    found = play(first)
    play(second)
    assert batches(first) == batches(second)
    assert len(found) == 32 == len({cell for batch in batches(first) for cell in batch})
    assert first.ended == "search.stop_when.cells: 32 cells are trained"


@pytest.mark.parametrize("sampler", FRONTIER_SAMPLERS)
def test_a_frontier_is_searched_by_each_of_optuna_s_samplers(sampler):
    first, second = (
        Search(study(*FRONTIER, "search.stop_when.cells=24", f"search.sampler={sampler}")) for _ in range(2)
    )
    found = play(first, given)
    play(second, given)
    assert batches(first) == batches(second)
    assert len(found) == 24
    assert isinstance(first.seeker, Frontier)
    progress = first.seeker.progress()
    assert progress == sorted(progress)


@pytest.mark.parametrize("overrides", [(), FRONTIER], ids=["best_beta", "frontier"])
def test_a_search_that_is_killed_at_any_moment_goes_on_as_if_it_had_not_been(overrides):
    whole = Search(study(*overrides))
    found = play(whole, given)
    cells = [cell for batch in whole.batches for cell in batch]
    for n in (0, 1, 7, 8, 21, 39):
        again = Search(study(*overrides))
        rest = play(again, given, {cell.id: found[cell.id] for cell in cells[:n]})
        assert batches(again) == batches(whole)
        assert rest == found


def test_one_more_outcome_than_the_batch_is_of_no_matter():
    """Cells that others train beside a search in the same table do not change its course."""
    alone, beside = Search(study()), Search(study())
    play(alone)
    play(beside, outcomes={"somebody else's": Outcome(failed=True)})
    assert batches(alone) == batches(beside)


def test_the_best_beta_of_shallow_and_deep_is_found():
    search = Search(study("search.stop_when.cells=96"))
    play(search)
    for setting, found in believed(search).items():
        depth = dict(setting.axes)["depth"]
        assert isinstance(depth, int)
        best = BEST[depth]
        assert found.low <= best <= found.high
        assert found.points == 48


def test_a_search_ends_when_every_interval_is_narrow_enough():
    search = Search(study("search.stop_when={cells: 400, interval: 30}"))
    found = play(search)
    assert search.ended == "search.stop_when.interval: every interval is narrower than a factor of 30"
    assert len(found) < 200
    assert all(each.high / each.low <= 30 for each in believed(search).values())


def test_a_cell_that_failed_is_told_as_a_failure_and_the_search_goes_on():
    def fails(cell):
        return Outcome(failed=True) if cell.beta > 1 else trained(cell)

    search = Search(study())
    found = play(search, fails)
    assert len(found) == 48
    assert isinstance(search.seeker, Curves)
    records = [curve.study for curve in search.seeker.curves.values()]
    states = [trial.state.name for record in records for trial in record.trials]
    failed = sum(outcome.failed for outcome in found.values())
    assert failed > 0
    assert states.count("FAIL") == failed
    assert states.count("COMPLETE") == 48 - failed


def test_cells_that_were_there_before_are_known_and_not_asked_for_again():
    grid = [study().cell(split="random", train_size=1000, depth=depth, width=512, latent_dim=10,
                         prior="standard_normal", beta=beta, seed=0)
            for depth in (1, 3) for beta in (0.001, 0.01, 0.1, 1.0, 5.0)]  # fmt: skip
    known = {cell.id: (cell, trained(cell)) for cell in grid}
    search = Search(study(), known)
    found = play(search)
    assert not set(found) & set(known)
    assert len(found) == 48 - len(known), "they count"
    assert all(each.points == 24 for each in believed(search).values())


def test_a_bracket_of_saturation_is_found():
    search = Search(study("search.goal=saturation", "search.stop_when.cells=64"))
    play(search)
    at = 0.3 * (1 / 0.95 - 1) ** (1 / 1.5)
    for found in believed(search).values():
        assert found.low <= at <= found.high
        assert found.high / found.low < 20


def test_an_optuna_storage_shows_the_search(tmp_path):
    import optuna

    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    for _ in range(2):  # begun again: in place of the first
        play(Search(study(f"search.storage={url}")))
    summaries = optuna.get_all_study_summaries(url)
    assert sorted(each.n_trials for each in summaries) == [24, 24]
    assert all("sought: split random, depth" in each.study_name for each in summaries)


def test_a_storage_that_cannot_be_reached_is_one_message(tmp_path):
    from rdstudy.errors import UserError

    with pytest.raises(UserError, match=r"search\.storage: sqlite:////no/where/optuna\.db cannot be used: "):
        Search(study("search.storage=sqlite:////no/where/optuna.db"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["search.goal=best"], "search.goal: input should be 'best_beta', 'frontier' or 'saturation'; found 'best'"),
        (["search={goal: best_beta, stop_when: {cells: 5}}"], "goal: best_beta needs `beta`, where to look"),
        (["search={goal: frontier, stop_when: {cells: 5}}"], "goal: frontier needs `space`, the axes to vary"),
        (["search.sampler=annealing"], "search.sampler: input should be 'variance_reduction', 'tpe', 'gp', 'nsga2'"),
        (
            ["search.sampler=nsga2"],
            "sampler: nsga2 cannot do goal: best_beta; allowed: variance_reduction, tpe, gp, qmc, random",
        ),
        (["search.beta={low: 5, high: 0.1}"], "the range is empty: low 5 must lie below high 0.1"),
        (["search.beta={low: 0, high: 5}"], "low is 0, but log units start above 0"),
        (["search.stop_when={}"], "a search needs an end: give cells, hours or interval"),
        (["grid.beta=[1, 2]"], "grid.beta: is searched, so it must not be listed here too"),
        (["search.group_by=[width]"], "grid.depth: lists 2 values, but search.group_by does not name it"),
        (["search.metric=test_nll", "evaluation={nll: {at: never}}"], "evaluation.nll.at: is never, but"),
        (
            ["search.goal=saturation", "evaluation={mutual_information: {at: never}}"],
            "evaluation.mutual_information.at: is never",
        ),
        (
            ["search={goal: frontier, space: {colour: [1, 2]}, stop_when: {cells: 5}}"],
            "space: colour cannot be varied; allowed: depth, width, latent_dim, beta, learning_rate",
        ),
        (
            ["search={goal: frontier, space: {width: {low: 0.5, high: 8}}, stop_when: {cells: 5}}"],
            "space.width: input should be greater than or equal to 1; found 0.5",
        ),
    ],
)
def test_a_mistake_in_a_search_is_named_with_what_is_allowed(overrides, words):
    with pytest.raises(StudyError) as caught:
        study(*overrides)
    assert words in str(caught.value)


def test_without_a_search_beta_must_be_listed():
    from rdstudy.study import parse_study

    text = TEXT[: TEXT.index("search:")]
    with pytest.raises(StudyError, match=r"grid\.beta: required, but not given"):
        parse_study(text)


def test_a_search_that_has_nothing_yet_can_be_looked_at():
    from rdstudy.cli.live import search_table
    from rdstudy.execution.search import summarise

    for overrides in ((), FRONTIER):
        search = Search(study(*overrides))
        assert len(search.advance({})) == 8
        assert search_table(search).columns
        assert summarise(search, {}).tried.empty

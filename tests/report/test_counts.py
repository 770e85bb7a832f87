"""How far a study is, in words: counts of what was asked for; other cells in the folder are named apart."""

import pandas as pd

from rdstudy.report.analyses import Analyses
from rdstudy.report.sentences import running, state


def of(planned: str, found: dict[str, str]) -> Analyses:
    """Analyses of cells with one-letter ids, of which only these two tables are looked at."""
    analyses = object.__new__(Analyses)
    cells = pd.DataFrame({"cell_id": list(found), "status": list(found.values())})
    for name, value in {"cells": cells, "planned": pd.DataFrame({"cell_id": list(planned)}), "search": None}.items():
        object.__setattr__(analyses, name, value)
    return analyses


def test_cells_of_other_settings_are_not_counted_as_the_studys():
    analyses = of("ab", {"a": "ok", "b": "ok", "c": "ok", "d": "diverged"})
    assert state(analyses, {"n_cells": 2}) == "2 of 2 cells finished; 2 with other settings are in the folder too."
    assert not running(analyses, {"n_cells": 2})


def test_a_study_with_other_cells_in_its_folder_is_still_running():
    analyses = of("ab", {"a": "ok", "c": "ok", "d": "ok"})
    assert state(analyses, {}) == "1 of 2 cells finished; 1 missing; 2 with other settings are in the folder too."
    assert running(analyses, {})

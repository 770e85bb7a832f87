"""A study file becomes a `Study`, and a `Study` becomes cells.

    study.yaml -> Study (strict, typed) -> cells (the product of the grid's lists)

Imports nothing of ours but the spelling of splits.
"""

from rdstudy.study.evaluation_section import Evaluation
from rdstudy.study.grid import Grid
from rdstudy.study.parsing import SettingError, StudyError, load_study, located, parse_study, study_from, study_schema
from rdstudy.study.schedule import LogSpaced
from rdstudy.study.search_section import SearchSpec
from rdstudy.study.sections import DatasetSpec, Resources, Training
from rdstudy.study.study import NUMERICS, Cell, Study

__all__ = [
    "NUMERICS",
    "Cell",
    "DatasetSpec",
    "Evaluation",
    "Grid",
    "LogSpaced",
    "Resources",
    "SearchSpec",
    "SettingError",
    "Study",
    "StudyError",
    "Training",
    "load_study",
    "located",
    "parse_study",
    "study_from",
    "study_schema",
]

"""A study file becomes a `Study`, and a `Study` becomes cells.

    study.yaml -> Study (strict, typed) -> cells (the product of the grid's lists)

Imports nothing of ours but the spelling of splits.
"""

from rdstudy.study.grid import Grid
from rdstudy.study.parsing import SettingError, StudyError, load_study, located, parse_study, study_schema
from rdstudy.study.search_section import SearchSpec
from rdstudy.study.sections import (
    NLL,
    DatasetSpec,
    Evaluation,
    LogSpaced,
    MutualInformation,
    Resources,
    Training,
)
from rdstudy.study.study import NUMERICS, Cell, Study

__all__ = [
    "NLL",
    "NUMERICS",
    "Cell",
    "DatasetSpec",
    "Evaluation",
    "Grid",
    "LogSpaced",
    "MutualInformation",
    "Resources",
    "SearchSpec",
    "SettingError",
    "Study",
    "StudyError",
    "Training",
    "load_study",
    "located",
    "parse_study",
    "study_schema",
]

"""Searches: cells chosen by what earlier ones showed, instead of a grid. Knows no Ray and trains nothing.

table -> outcomes -> `Search.advance` -> the batch of cells that is wanted now
"""

from rdstudy.analysis.search_tables import SearchTables
from rdstudy.execution.search.outcome import Outcome, outcomes
from rdstudy.execution.search.search import Search
from rdstudy.execution.search.summary import summarise
from rdstudy.execution.search.warm_start import begin, load_outcomes

__all__ = ["Outcome", "Search", "SearchTables", "begin", "load_outcomes", "outcomes", "summarise"]

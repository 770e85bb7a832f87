"""Searches: cells chosen by what earlier ones showed, instead of a grid. Knows no Ray and trains nothing.

table -> outcomes -> `Search.advance` -> the batch of cells that is wanted now
"""

from rdstudy.execution.search.outcome import Outcome, outcomes
from rdstudy.execution.search.search import Search
from rdstudy.execution.search.summary import Summary, summarise
from rdstudy.execution.search.warm_start import begin, load_outcomes

__all__ = ["Outcome", "Search", "Summary", "begin", "load_outcomes", "outcomes", "summarise"]

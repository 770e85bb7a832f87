"""Searches: cells chosen by what earlier ones showed, instead of a grid. Knows no Ray and trains nothing.

table -> outcomes -> `Search.advance` -> the batch of cells that is wanted now
"""

from rdstudy.search.known import begin, load_outcomes
from rdstudy.search.outcome import Outcome, outcomes
from rdstudy.search.search import Search
from rdstudy.search.summary import Summary, summarise

__all__ = ["Outcome", "Search", "Summary", "begin", "load_outcomes", "outcomes", "summarise"]

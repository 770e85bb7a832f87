"""Searches: cells chosen by the outcomes of earlier ones, instead of a grid. Trains nothing and imports no Ray.

table -> outcomes -> `Search.advance` -> the next batch of cells
"""

from rdstudy.analysis.search_tables import SearchTables
from rdstudy.execution.search.outcome import Outcome, outcomes
from rdstudy.execution.search.search import Search
from rdstudy.execution.search.summary import chosen_on, summarise
from rdstudy.execution.search.warm_start import begin, load_outcomes

__all__ = ["Outcome", "Search", "SearchTables", "begin", "chosen_on", "load_outcomes", "outcomes", "summarise"]

"""Messages that several commands print about a study."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from rdstudy.cli.terminal import console_for

if TYPE_CHECKING:
    from rdstudy.execution.status import StudyStatus
    from rdstudy.storage.paths import StoragePath
    from rdstudy.study import Study


def quoted(path: object) -> str:
    """A path as one word of a shell command."""
    return shlex.quote(str(path))


def print_status(console: Console, study: Study, folder: StoragePath, now: StudyStatus) -> None:
    console.print(f"{study.name}: {now} ({folder})", soft_wrap=True)
    if now.others and now.search is None:
        console.print(
            f"the folder also holds {now.others} finished cells with other settings (another study, or another --set)",
            soft_wrap=True,
        )


def print_notes(console: Console, notes: Sequence[str]) -> None:
    """Say what to know of the data and of the results folder."""
    for note in notes:
        console.print(note, soft_wrap=True)


def print_active_run(console: Console, holder: Mapping[str, object] | None, now: StudyStatus) -> None:
    from rdstudy.storage.lock import name_of

    if holder is not None:
        console.print(f"active run: {name_of(holder)}", soft_wrap=True)
    elif now.missing:
        console.print("No run is active. Resume with: rdstudy run STUDY", soft_wrap=True)


def print_search(console: Console, now: StudyStatus) -> None:
    if now.search is not None:
        from rdstudy.analysis.search_tables import chosen_sentence
        from rdstudy.cli.live import search_table
        from rdstudy.execution.search import chosen_on

        console.print(search_table(now.search))
        if now.search.spec.goal == "best_beta":
            console.print(chosen_sentence(chosen_on(now.search.study)), soft_wrap=True)
        if now.search.ended:
            console.print(f"the search has ended: {now.search.ended}", soft_wrap=True)


def print_stopped(error: Exception) -> None:
    """Say on standard error why a run could not continue."""
    console_for(stderr=True).print(Text(f"rdstudy: stopped: {error}", style="red"), soft_wrap=True)


def print_failures(console: Console, now: StudyStatus) -> None:
    for cell_id, message in now.failed.items():
        console.print(f"failed: {cell_id} ({now.cells[cell_id]}): {message}", soft_wrap=True)


def print_next(console: Console, folder: StoragePath) -> None:
    code = f"import rdstudy; print(rdstudy.load_measurements({str(folder)!r}))"
    plain = not set(str(folder)) & set("\"'$`\\!")
    command = f'"{code}"' if plain else shlex.quote(code)
    console.print(f"next: rdstudy report {quoted(folder)}", soft_wrap=True)
    console.print(f"      python -c {command}", soft_wrap=True)

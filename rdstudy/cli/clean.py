"""`clean`: what a results folder does not need any more."""

from __future__ import annotations

from typing import Annotated

import typer

from rdstudy.cli.json_output import as_json, print_document
from rdstudy.cli.messages import quoted
from rdstudy.cli.options import ResultsPlace
from rdstudy.cli.terminal import Rows, console_for


def clean(
    results: ResultsPlace,
    yes: Annotated[bool, typer.Option("--yes", help="Remove the files; without it they are only listed.")] = False,
    json_wanted: Annotated[bool, as_json("results, disposable (kind, files, bytes), bytes, removed")] = False,
) -> None:
    """List what a results folder does not need any more; remove it with --yes.

    These are checkpoints of finished cells and leftovers of killed runs. The table, the study, weights, sheets and
    reports stay, and so does what the next run continues from. Refused while a run is active.
    """
    from rdstudy.cli.live import size
    from rdstudy.storage.cleanup import list_disposable, remove_disposable

    found = remove_disposable(results) if yes else list_disposable(results)
    total = sum(each.n_bytes for each in found)
    if json_wanted:
        kinds = [{"kind": each.kind, "files": len(each.files), "bytes": each.n_bytes} for each in found]
        print_document({"results": results, "disposable": kinds, "bytes": total, "removed": yes})
        return
    console = console_for()
    if not found:
        console.print(f"{results}: everything in it is needed; nothing to remove", soft_wrap=True)
        return
    rows = Rows("what", "files", "size", left=("what",))
    for each in found:
        rows.add(each.kind, f"{len(each.files):,}", size(float(each.n_bytes)))
    console.print(f"{results}: {size(float(total))} {'removed' if yes else 'can be removed'}", soft_wrap=True)
    console.print(rows)
    if not yes:
        console.print(f"next: rdstudy clean {quoted(results)} --yes", soft_wrap=True)

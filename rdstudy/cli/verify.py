"""`verify`: check a table, and train some finished cells again to compare."""

from __future__ import annotations

from typing import Annotated

import typer

from rdstudy.cli.exit_codes import FAILED
from rdstudy.cli.json_output import as_json, print_document
from rdstudy.cli.options import AllowPlugins, ResultsPlace, Settings
from rdstudy.cli.terminal import console_for


def verify(
    results: ResultsPlace,
    cells: Annotated[int, typer.Option(help="Number of finished cells to train again.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random choice of cells.")] = 0,
    settings: Settings = None,
    allow_plugins: AllowPlugins = False,
    json_wanted: Annotated[
        bool,
        as_json(
            "folders (results, cells, rows, contradictions), cells (cell_id, settings, verdict, values, same_bits, "
            "largest_nats, unjudged, wrong)"
        ),
    ] = False,
) -> None:
    """Check a table: the consistency of its rows, and some random cells by training them again.

    RESULTS may be a folder of results folders; --set then applies to the studies it is valid for. Nothing is written
    there.
    """
    from rdstudy.cli.live import RunDisplay
    from rdstudy.execution.verify import CHANGED, Recorded, compare, contradictions, draw_cells, train_again
    from rdstudy.storage import load_measurements

    console = console_for(stderr=json_wanted)
    recorded = Recorded.within(results, settings or ())
    drawn = draw_cells(recorded, cells, seed)  # first, because the number of cells may be invalid
    folders, verified, bad = [], [], []
    for one in recorded:
        found = contradictions(one)
        n_rows = len(load_measurements(one.folder, columns=["cell_id"]))
        console.print(
            f"{one.folder}: {len(one.finished)} finished cells, {n_rows:,} rows, each once; "
            + (f"{len(found)} contradictions" if found else "no contradictions"),
            soft_wrap=True,
        )
        folders.append({"results": one.folder, "cells": len(one.finished), "rows": n_rows, "contradictions": found})
        bad += found
    for one, chosen in drawn:
        again = train_again(one, chosen, lambda packs: RunDisplay(packs, console, where="in this process"))
        verified += list(compare(one, again, chosen))
    for each in verified:
        summary = f"{each.equal} of {each.values} values with the same bits"
        if each.largest:
            summary += f", D and R off by at most {each.largest:.2g} nats"
        console.print(f"{each.cell.id} ({each.cell}): {each.verdict}: {summary}", soft_wrap=True)
        if each.unjudged:
            console.print(
                f"  {each.unjudged} values cannot be judged, because the study has no other seed", soft_wrap=True
            )
        bad += [f"cell {each.cell.id}, {difference}" for difference in each.wrong]
    for line in bad:
        console.print(f"different: {line}", soft_wrap=True)
    n_wrong = sum(each.verdict == CHANGED for each in verified)
    console.print(f"{len(verified) - n_wrong} of {len(verified)} cells, drawn with seed {seed}, match the table")
    if json_wanted:
        print_document(
            {
                "folders": folders,
                "cells": [
                    {
                        "cell_id": each.cell.id,
                        "settings": str(each.cell),
                        "verdict": each.verdict,
                        "values": each.values,
                        "same_bits": each.equal,
                        "largest_nats": each.largest,
                        "unjudged": each.unjudged,
                        "wrong": each.wrong,
                    }
                    for each in verified
                ],
            }
        )
    if bad:
        raise typer.Exit(FAILED)

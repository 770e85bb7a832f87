"""Measured figures in the documents: each says where it comes from, and those that are kept in a file equal it.

A figure is a number with a unit, or a number with a point in a table. Whether one without a kept file was copied
rightly no test can see: it only demands that its paragraph, the one before its table, or all that stands between its
two comments names a command, a file or a setting that the reader can ask.
"""

import re

import pytest

from rdstudy.study import Study
from tests.docs.documents import NAMES, ROOT, Block, blocks, commands, table, text
from tests.docs.test_commands import mistake

SPEAKING = ("README.md", "CONTRIBUTING.md", "cluster/README.md", "rdstudy/information/README.md")
UNITS = r"%|ms|us|ns|s|seconds?|minutes?|hours?|[KMG]i?B|nats|times"
FIGURE = re.compile(rf"(?<![\w./-])\d[\d.,]*(?:e\d+)?\s?(?:{UNITS})(?![\w-])")
KEPT = ROOT / "tests" / "benchmarks" / "results"


def figures(block: str) -> list[str]:
    found = FIGURE.findall(block)
    return found + re.findall(r"(?<=\| )\d+\.\d+", block) if block.startswith("|") else found


def sources(region: str, name: str) -> list[str]:
    """Commands, files and settings in a text, all of them there."""
    found = [" ".join(words) for words in commands(region) if words[0] != "rdstudy" and mistake(words) is None]
    for quoted in re.findall(r"`([^`\n]+)`|\]\(([^)#\s]+)", region):
        word = quoted[0] or quoted[1]
        places = [ROOT, (ROOT / name).parent]
        if re.fullmatch(r"[\w./-]+\.(py|md|yaml)", word) and any((place / word).exists() for place in places):
            found.append(word)
        section, _, key = word.partition(".")
        field = Study.model_fields.get(section)
        if field is not None and key.partition(".")[0].rstrip(":") in getattr(field.annotation, "model_fields", {}):
            found.append(word)
    return found


def unsourced(document: str, name: str) -> list[Block]:
    return [block for block in blocks(document) if figures(block.text) and not sources(block.region, name)]


@pytest.mark.parametrize("name", SPEAKING)
def test_a_measured_figure_names_what_it_was_measured_with(name):
    for block in unsourced(text(name), name):
        pytest.fail(f"{name}: {figures(block.text)} comes from nowhere:\n{block.text}")


def test_a_figure_without_a_source_is_found_out():
    assert unsourced("It takes 5.3 s.\n", "README.md")
    rows = "| a | ms |\n|---|---|\n| x | 1.2 |\n"
    assert unsourced(f"Text.\n\n{rows}", "README.md")
    assert not unsourced(f"By `make bench`:\n\n{rows}", "README.md")
    assert not unsourced("By `make bench`, it takes 5.3 s.\n", "README.md")
    assert unsourced("By `make nothing`, it takes 5.3 s.\n", "README.md")
    assert not unsourced("<!-- a -->\n`make bench`:\n\nIt takes 5.3 s.\n<!-- /a -->\n", "README.md")
    assert unsourced("<!-- a -->\n`make bench`.\n<!-- /a -->\n\nIt takes 5.3 s.\n", "README.md")


def kept_speeds(name: str = "training_speed") -> dict[str, dict[str, dict[str, str]]]:
    """A kept table of speeds: model and pixels -> training -> its row."""
    found = {}
    parts = (KEPT / f"{name}.md").read_text().split("\n\n")
    for heading, block in zip(parts, parts[1:], strict=False):
        title = re.match(r"(\d+) pixels, (\w+),", heading.strip())
        if title:
            found[f"{title[2]}, {title[1]}"] = {row["training"]: row for row in table(block)}
    return found


def speed_tables() -> list[tuple[Block, list[dict[str, str]]]]:
    found = []
    for name in NAMES:
        for block in blocks(text(name)):
            rows = table(block.text)
            if rows and {"model, pixels", "of the floor"} <= rows[0].keys():
                found.append((block, rows))
    return found


def test_the_speeds_shown_are_those_that_the_benchmark_kept():
    assert speed_tables()
    for _, rows in speed_tables():
        for row in rows:
            model, rounded = row["model, pixels"].removesuffix(", bfloat16"), "bfloat16" in row["model, pixels"]
            kept = kept_speeds()[model][f"rdstudy, packs of 8{', bfloat16' if rounded else ''}, 2 x 1"]
            assert list(row.values())[1:] == [
                kept["ms per model-step"],
                kept["times pythae's trainer, 1 process x 2 threads"],
                kept["times DataLoader loop, 1 process x 2 threads"],
                kept["of the floor"],
            ]


def test_the_speeds_shown_of_a_gpu_are_those_that_the_benchmark_kept():
    column = "on an H100: model, pixels"
    [rows] = [rows for block in blocks(text("README.md")) if (rows := table(block.text)) and column in rows[0]]
    kept = kept_speeds("gpu_speed")
    for row in rows:
        made = kept[row[column]][row["rdstudy"]]
        shown = ("us per model-step", "times pythae's trainer", "times DataLoader loop", "of the floor")
        assert list(row.values())[2:] == [made[name] for name in shown]
    loops = [float(row["times a DataLoader loop"].split("-")[1]) for row in rows if "bfloat16" not in row["rdstudy"]]
    assert f"{min(loops):.0f} to {max(loops):.0f} times on a GPU" in " ".join(text("README.md").split())


def test_the_medians_and_elbos_beside_the_speeds_are_kept_too():
    [(block, rows)] = speed_tables()
    said = " ".join(block.region.split())
    column = "times DataLoader loop, 2 x 1"
    models = [row["model, pixels"] for row in rows if "bfloat16" not in row["model, pixels"]]
    kept = [kept_speeds()[model]["rdstudy, packs of 8, 2 x 1"][column] for model in models]
    medians = [spread.split("-")[1] for spread in kept]
    assert f"{', '.join(medians[:-1])} and {medians[-1]} times (medians)" in said
    elbos = [
        float(row[column])
        for part in (KEPT / "training_speed.md").read_text().split("\n\n")
        for row in table(part)
        if "sd between seeds" in row and "bfloat16" not in row["training"]
        for column in ("mean", "sd between seeds")
    ]
    shown = re.search(r"Tetrominoes: ([\d.]+) \(sd ([\d.]+)\), pythae's trainer ([\d.]+) \(([\d.]+)\)", said)
    loop = re.search(r"the loop ([\d.]+) \(([\d.]+)\)", said)
    assert shown
    assert loop
    digits = [float(number) for number in (*shown.groups(), *loop.groups())]
    assert digits == pytest.approx(elbos, abs=0.0501)  # one place after the point


def test_the_study_of_short_cells_is_as_the_benchmark_kept_it():
    [rows] = filter(None, map(table, (KEPT / "tune_speed.md").read_text().split("\n\n")))
    kept = {row[""]: row for row in rows}
    [(block, _)] = speed_tables()
    said = " ".join(block.region.split())
    median = float(kept["rdstudy"]["seconds, wall clock"].split("-")[1])
    assert f"2026-11-23: {median:.0f} s in the median of 5 rounds" in said
    for name, words in (("Tune, DataLoader loop", "DataLoader loop"), ("Tune, training code of the packs", "code")):
        least, middle, most = kept[name]["times rdstudy's"].split("-")
        shown = re.search(rf"{middle} times (?:as long )?with [^,]*{words} \({least} to {most}\)", said)
        assert shown, (name, least, middle, most)


def test_a_kept_result_names_the_benchmark_that_made_it():
    for file in sorted(KEPT.glob("*.md")):
        [command] = list(commands(file.read_text().splitlines()[0]))[:1]
        assert command[:2] == ["python", "-m"], file
        assert mistake(command) is None, file
        assert f"{file.stem}_".startswith(f"{command[2].split('.')[-1]}_"), file  # or with a machine's name behind

"""Who may import whom. Reads the source, so that a forbidden import is found wherever it stands."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "rdstudy"

ORDER = [
    "rdstudy",  # the package itself: it imports what it offers when it is asked for it
    "errors  data.split_spec",
    "study  study.seeding  models.shape  study.early_stopping  execution.budget  training.throughput  cli.terminal",
    "data  training.packs  models.objective  training.optimizers  training.batches  training.cuda_graph",
    "models",
    "evaluation  training.trainer",
    "storage.schema  study.data  execution.provenance",
    "evaluation.evaluate",
    "storage  analysis",
    "execution.search",
    "storage.weights  study.examples  execution.status  execution.plan",
    "report.cells  study.template",
    "report.export",
    "execution.worker",
    "execution.remeasure",
    "execution.run",
    "execution.verify",
    "execution.ray_tune",
    "cli.progress",
    "cli.live",
    "report.figures",
    "report",
    "cli",
    "__main__",
]
"""A module imports from its own room and from the lines above its own."""

LINE = {room: i for i, line in enumerate(ORDER) for room in line.split()}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room(module: str) -> str:
    """The most particular entry of `ORDER` that the module belongs to."""
    parts = module.split(".")
    names = [".".join(parts[1:n]) for n in range(len(parts), 1, -1)]
    return next((name for name in names if name in LINE), parts[-1])


def statements(node: ast.AST, *, top: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that are executed: when the module is imported, or also when a function is called."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        elif not (top and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            yield from statements(child, top=top)


@cache
def imports(module: str, *, top: bool = False) -> frozenset[str]:
    """What a module imports, as full names; of ours, the module that a name comes from."""
    found: set[str] = set()
    for statement in statements(ast.parse(MODULES[module].read_text()), top=top):
        if isinstance(statement, ast.Import):
            found.update(alias.name for alias in statement.names)
            continue
        assert statement.level == 0, f"{module} imports relatively, in line {statement.lineno}"
        source = statement.module or ""
        for alias in statement.names:
            name = f"{source}.{alias.name}"
            found.add(name if name in MODULES else source)
    return frozenset(found)


def ours(module: str, *, top: bool = False) -> set[str]:
    return {name for name in imports(module, top=top) if name.split(".")[0] == "rdstudy"}


def reached(rooms: str, *, top: bool) -> set[str]:
    """All that is imported with these rooms, directly or through other modules of ours."""
    waiting = [module for module in MODULES if room(module) in rooms.split()]
    found = set(waiting)
    while waiting:
        module = waiting.pop()
        parents = {module.rpartition(".")[0]} & MODULES.keys()
        for name in imports(module, top=top) | parents:
            if name not in found:
                found.add(name)
                if name in MODULES:
                    waiting.append(name)
    return found


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_a_place_and_imports_from_above_it(module):
    assert room(module) in LINE, f"{module} has no place in ORDER: give it one"
    for name in ours(module):
        assert name in MODULES, f"{module} imports {name}, which is not there"
        above = LINE[room(name)] < LINE[room(module)]
        assert above or room(name) == room(module), f"{module} may not import {name}"


def test_every_room_of_the_order_is_there():
    assert LINE.keys() == {room(module) for module in MODULES}


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter({module: ours(module, top=True) - {module} for module in MODULES}).prepare()


@pytest.mark.parametrize(
    ("library", "home"),
    [("ray", "execution.ray_tune"), ("optuna", "execution.search"), ("matplotlib", "report.figures")],
)
def test_a_heavy_library_is_imported_in_one_room_only(library, home):
    assert {room(module) for module in MODULES if library in roots(set(imports(module)))} <= {home}


@pytest.mark.parametrize(
    "rooms", ["analysis report.figures report", "study storage storage.schema study.examples errors", "cli"]
)
def test_what_a_laptop_needs_to_read_a_table_is_neither_torch_nor_ray(rooms):
    assert not roots(reached(rooms, top=True)) & {"torch", "torchvision", "ray", "optuna"}


def test_analysis_figures_and_report_never_ask_for_torch_or_ray():
    assert not roots(reached("analysis figures report", top=False)) & {
        "torch",
        "torchvision",
        "ray",
        "optuna",
    }


def test_tuning_and_analysis_never_meet():
    """The table is the wall between them: only the command line knows both."""
    after = {"analysis", "report.figures", "report"}
    assert not {room(name) for name in reached("tuning", top=False) if name in MODULES} & after
    assert "execution.ray_tune" not in {room(name) for name in reached(" ".join(after), top=False) if name in MODULES}
    for module in MODULES:
        rooms = {room(name) for name in ours(module)}
        assert not ("tuning" in rooms and rooms & after) or room(module) == "cli"
        assert "execution.ray_tune" not in rooms or room(module) in ("tuning", "cli")


def test_the_source_says_what_an_interpreter_does():
    program = (
        "import sys\n"
        "import rdstudy, rdstudy.cli, rdstudy.study, rdstudy.storage, rdstudy.analysis\n"
        "print(*{'torch', 'ray', 'optuna', 'matplotlib'} & sys.modules.keys())\n"
        "import rdstudy.report.figures, rdstudy.report\n"
        "print(*{'torch', 'ray', 'optuna'} & sys.modules.keys())\n"
        "import rdstudy.execution.run, rdstudy.execution.worker\n"
        "print(*{'ray', 'optuna'} & sys.modules.keys())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "\n\n\n"

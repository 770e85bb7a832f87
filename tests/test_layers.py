"""Who may import whom. Reads the source, so that a forbidden import is found wherever it is."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "rdstudy"
ORDER = "data < study < models < training, storage < evaluation, analysis < report, execution < cli"
"""A room imports from itself and from rooms on its left; rooms between the same signs do not import each other."""
TOP = {"rdstudy", "rdstudy.__main__", "rdstudy.errors"}
"""All modules outside the rooms: every room may import the last; the others import what they offer."""

LEVEL = {room: i for i, rooms in enumerate(ORDER.split(" < ")) for room in rooms.split(", ")}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room(module: str) -> str:
    return module.split(".")[1]


@cache
def imports(module: str, *, at_once: bool = False) -> frozenset[str]:
    """What a module imports anywhere, or only when it is imported itself: full names, of ours the module's."""
    tree = ast.parse(MODULES[module].read_text())
    later = set()
    for node in ast.walk(tree):
        deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if deferred or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            later |= {id(inner) for inner in ast.walk(node)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if at_once and id(node) in later:
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively, in line {node.lineno}"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return frozenset(found)


def ours(module: str, *, at_once: bool = False) -> set[str]:
    return {name for name in imports(module, at_once=at_once) if name.split(".")[0] == "rdstudy"}


def reached(*rooms: str, at_once: bool) -> set[str]:
    """The libraries that are imported with these rooms, directly or through other modules of ours."""
    waiting = [module for module in MODULES if module not in TOP and room(module) in rooms]
    found = set(waiting)
    while waiting:
        module = waiting.pop()
        parents = {module.rpartition(".")[0]} & MODULES.keys()
        for name in (imports(module, at_once=at_once) | parents) - found:
            found.add(name)
            if name in MODULES and name != "rdstudy":
                waiting.append(name)
    return {name.split(".")[0] for name in found}


def test_the_package_is_its_ten_rooms():
    assert {room(module) for module in MODULES if module not in TOP} == LEVEL.keys()
    assert {module for module in MODULES if module.count(".") < 2 and MODULES[module].name != "__init__.py"} <= TOP


@pytest.mark.parametrize("module", sorted(MODULES.keys() - TOP))
def test_a_module_imports_from_its_room_and_from_rooms_on_the_left(module):
    for name in ours(module) - {"rdstudy", "rdstudy.errors"}:
        assert name in MODULES, f"{module} imports {name}, which does not exist"
        assert room(name) == room(module) or LEVEL[room(name)] < LEVEL[room(module)], f"{module} imports {name}"


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter({module: ours(module, at_once=True) - {module} for module in MODULES}).prepare()


@pytest.mark.parametrize(
    ("library", "home"),
    [
        ("ray", "execution.ray_tune"),
        ("optuna", "execution.search"),
        ("matplotlib", "report.figures"),
    ],
)
def test_a_heavy_library_is_imported_in_one_folder_only(library, home):
    users = {module for module in MODULES if library in {name.split(".")[0] for name in imports(module)}}
    assert users
    assert all(module.startswith(f"rdstudy.{home}") for module in users)


def test_analysis_and_report_never_need_ray_and_only_the_latents_torch():
    assert not reached("analysis", "report", at_once=False) & {"torchvision", "ray", "optuna"}
    assert not reached("analysis", "report", at_once=True) & {"torch"}
    users = {module for module in MODULES if "torch" in {name.split(".")[0] for name in imports(module)}}
    assert {module for module in users if room(module) in ("analysis", "report")} == {"rdstudy.report.latents"}


def test_commands_load_heavy_libraries_only_when_they_need_them():
    assert not reached("study", "cli", at_once=True) & {"torch", "torchvision", "ray", "optuna", "matplotlib"}


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

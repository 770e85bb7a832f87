"""What a laptop needs to read a study: neither torch nor Ray."""

import subprocess
import sys

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "ray", "optuna"}:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)
sys.meta_path.insert(0, Blocked())
"""


def _run(program: str) -> str:
    command = [sys.executable, "-W", "error", "-c", BLOCKED + program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_analysis_figures_and_report_import_without_torch_and_ray():
    program = """
import rdstudy.analysis
assert "matplotlib" not in sys.modules
import rdstudy.report.figures, rdstudy.report
assert "matplotlib.pyplot" not in sys.modules
"""
    _run(program)


def test_a_name_of_the_package_is_the_function_and_its_module_can_still_be_imported():
    program = """
import rdstudy.analysis.frontier, rdstudy.analysis.claims
from rdstudy.analysis.frontier import gaps
print(callable(rdstudy.analysis.frontier), callable(rdstudy.analysis.claims))
"""
    assert _run(program) == "True True"

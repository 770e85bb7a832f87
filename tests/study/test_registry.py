import sys

import pytest

from rdstudy.models import parts
from rdstudy.storage.paths import storage_path
from rdstudy.storage.table import load_measurements
from rdstudy.study import StudyError, parse_study
from rdstudy.study.registry import allow_plugins, canonical

SOURCE = """
from rdstudy.models.priors.standard_normal import StandardNormal

class Own(StandardNormal):
    {}
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A module `own_priors` that can be imported, and that no other test has imported."""
    (tmp_path / "own_priors.py").write_text(SOURCE.format(f'"""A prior of {tmp_path.name}."""'))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "own_priors:Own"
    sys.modules.pop("own_priors", None)
    allow_plugins(False)


def test_a_name_has_one_spelling():
    assert canonical("prior", " mixture( 10.0 ) ") == "mixture(10)"
    assert canonical("prior", "standard_normal") == "standard_normal"


@pytest.mark.parametrize(
    "name", ["mixture", "mixture(0)", "mixture(1,2)", "mixture(x)", "standard_normal(1)", "vamp", ":"]
)
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ValueError, match=r"there is no such prior|is written|not a class"):
        canonical("prior", name)


def test_code_of_ones_own_is_imported_only_where_that_is_allowed(command, study_file, plugin, tmp_path):
    text = study_file.read_text() + "\n"
    study_file.write_text(text.replace("  depth:", f"  prior: [{plugin}]\n  depth:"))
    refused = command("run", study_file, "--no-ray", "--results", "out")
    assert refused.code != 0
    assert "--allow-plugins" in refused.err
    assert "own_priors" not in sys.modules
    ended = command("run", study_file, "--no-ray", "--results", "out", "--allow-plugins")
    assert ended.code == 0, ended.err
    (name,) = set(load_measurements(storage_path(tmp_path / "out"))["prior"])
    assert name.startswith(f"{plugin}@")  # the hash of the class's source, so that other code makes other cells
    allow_plugins(False)
    with pytest.raises(StudyError, match="--allow-plugins"):
        parse_study(study_file.read_text().replace(plugin, f'"{name}"'))


def test_a_table_of_a_plugin_is_verified_only_with_permission_and_obeys_the_laws_of_a_closed_form(
    command, study_file, plugin
):
    text = study_file.read_text() + "\n"
    study_file.write_text(text.replace("  depth:", f"  prior: [{plugin}, standard_normal]\n  depth:"))
    assert command("run", study_file, "--no-ray", "--results", "out", "--allow-plugins").code == 0
    allow_plugins(False)
    sys.modules.pop("own_priors", None)
    parts.prior.cache_clear()
    refused = command("verify", "out", "--cells", "8")
    assert refused.code == 2
    assert "--allow-plugins" in refused.err
    assert "own_priors" not in sys.modules
    ended = command("verify", "out", "--cells", "8", "--allow-plugins")
    assert ended.code == 0, ended.out

"""What tests of several files share: the material beside the repository, and a cache of each test's own."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of measured and published material beside the repository; not part of it."""
    folder = Path(__file__).parents[2].parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the folder `{folder.name}` beside the repository")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RDSTUDY_CACHE", str(tmp_path / "cache"))

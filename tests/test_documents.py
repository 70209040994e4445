"""What the README and the docs say runs and is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import warnings
from pathlib import Path

import pytest

import vnn

ROOT = Path(__file__).parents[1]


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(), flags=re.S)


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks("README.md", "python"):
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "fit" / "fit.json").exists()


def test_the_study_file_of_the_readme_is_valid(tmp_path: Path) -> None:
    (block,) = blocks("README.md", "toml")
    (tmp_path / "study.toml").write_text(block)
    study = vnn.Study.read(tmp_path / "study.toml")
    assert study.n_seeds == 4


def test_links_of_the_documents_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), (page.name, link)


@pytest.mark.parametrize(
    "name", [m.name for m in pkgutil.walk_packages([str(Path(vnn.__file__).parent)], "vnn.") if "libvnn" not in m.name]
)
def test_examples_in_docstrings_run(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert doctest.testmod(importlib.import_module(name)).failed == 0

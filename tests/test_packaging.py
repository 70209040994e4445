"""Wheel and source distribution: with and without a compiler they work and carry the catalogue."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRY = (
    "import sys\n"
    "sys.meta_path = [f for f in sys.meta_path if 'ScikitBuild' not in type(f).__name__]  # not the editable install\n"
    "import vnn; from vnn.kernels import active_name\n"
    "assert sys.argv[1] in vnn.__path__[0], vnn.__path__\n"
    "from importlib.resources import files\n"
    "assert all(files('vnn').joinpath('report', 'assets', f'page.{kind}').is_file() for kind in ('html', 'css', 'js'))\n"
    "topology = vnn.load_ontology('human-small').topology(vnn.load_ontology('human-small').genes)\n"
    "print(active_name(), topology.n_edges)"
)


def pip(*arguments: str, **environment: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--no-deps"]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def installed(wheel: Path, folder: Path) -> str:
    pip("install", "--target", str(folder), str(wheel))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TRY, str(folder)], env=os.environ | {"PYTHONPATH": str(folder), "VNN_BACKEND": ""},
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def checkout(folder: Path) -> Path:
    """The files git tracks, without anything built beside them."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, names):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.mark.slow
@pytest.mark.compiler
def test_a_wheel_from_the_source_distribution_has_kernels_and_catalogue(tmp_path: Path) -> None:
    source = checkout(tmp_path / "source")
    built = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(tmp_path / "dist"), str(source)], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert "py3-none" in wheel.name
    assert "any" not in wheel.name
    assert "vnn/ontologies/human-small/genes.gmt" in zipfile.ZipFile(wheel).namelist()
    assert installed(wheel, tmp_path / "site").startswith("cpu (")


@pytest.mark.slow
def test_without_a_compiler_the_same_command_installs_and_the_reference_runs(tmp_path: Path) -> None:
    source = checkout(tmp_path / "source")
    nothing = {"CXX": "/nonexistent/c++", "CC": "/nonexistent/cc"}
    pip("wheel", "--wheel-dir", str(tmp_path / "dist"), str(source), **nothing)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.name.endswith("py3-none-any.whl")
    assert installed(wheel, tmp_path / "site").startswith("reference ")

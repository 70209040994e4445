"""Fixtures every station's tests share: the real inputs, toy wirings, poisoned memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

CHECKED = ["vnn.layers", "vnn.models.network", "vnn.training.losses"]
with install_import_hook(CHECKED, "beartype.beartype"):  # shapes in signatures are checked in every test
    import vnn.training  # noqa: F401
    from vnn.kernels import cpu


def data_file(name: str) -> Path:
    """A real input by its path inside the data folder; skipped where absent, failed where promised."""
    promised = os.environ.get("VNN_DATA")
    folder = Path(promised) if promised else Path(__file__).parents[2] / "shared" / "data"
    path = folder / name
    if not path.exists():
        if promised:
            pytest.fail(f"{path} does not exist although VNN_DATA promises it.")
        pytest.skip(f"needs the real input {name}; set VNN_DATA to the folder that holds it")
    return path


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """Path of a real input: `real("reactome/ReactomePathways.gmt")`."""
    return data_file


def compiled() -> bool:
    """Whether the compiled kernels are here and wanted."""
    return cpu.library_path() is not None and os.environ.get("VNN_BACKEND") != "reference"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("compiler") and not compiled():
            item.add_marker(pytest.mark.skip(reason="needs the compiled kernels"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    wanting = [r for r in terminalreporter.stats.get("skipped", []) if "needs the real input" in str(r.longrepr)]
    if wanting:
        terminalreporter.write_line(f"{len(wanting)} tests were skipped for want of the real inputs (VNN_DATA).")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is read from the user's cache or written there."""
    before = os.environ.get("VNN_CACHE")
    os.environ["VNN_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["VNN_CACHE"]
    else:
        os.environ["VNN_CACHE"] = before


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Uninitialised memory holds NaN, so that a kernel that leaves a value unwritten is seen."""
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def no_global_chance() -> Iterator[None]:
    """No test may change a global generator through vnn: the states before and after are compared."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    after = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    assert torch.equal(before[0], after[0]), "torch's global generator was used"
    assert np.array_equal(before[1], after[1]), "numpy's global generator was used"

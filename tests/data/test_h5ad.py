"""AnnData files: made in the test, and the reduced PBMC data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from vnn._errors import AlignmentError
from vnn.data.h5ad import read_h5ad
from vnn.data.read import read_samples

anndata = pytest.importorskip("anndata")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    obs = pd.DataFrame({"kind": pd.Categorical(["T", "B"]), "depth": [10, 20]}, index=["c1", "c2"])
    whole = anndata.AnnData(sparse.csr_matrix(np.float64([[1, 0, 3], [0, 5, 6]])), obs=obs)
    whole.var_names = ["g1", "g2", "g3"]
    data = whole[:, ["g3", "g1"]].copy()
    data.raw = whole
    data.layers["half"] = data.X.toarray() / 2
    data.write_h5ad(tmp_path / "x.h5ad")
    return tmp_path / "x.h5ad"


@pytest.mark.parametrize(
    ("layer", "features", "values"),
    [
        (None, ("g3", "g1"), [[3, 6], [1, 0]]),
        ("X", ("g3", "g1"), [[3, 6], [1, 0]]),
        ("raw", ("g1", "g2", "g3"), [[1, 0], [0, 5], [3, 6]]),
        ("half", ("g3", "g1"), [[1.5, 3], [0.5, 0]]),
    ],
)
def test_each_matrix_is_feature_major(path: Path, layer: str | None, features: tuple[str, ...], values: list) -> None:
    matrix = read_h5ad(path, layer=layer)
    assert (matrix.rows, matrix.columns) == (features, ("c1", "c2"))
    assert matrix.values.dtype == np.float32
    assert matrix.values.flags.c_contiguous
    np.testing.assert_array_equal(matrix.values, values)


def test_columns_of_obs_become_roles(path: Path) -> None:
    samples = read_samples(path, targets=["kind"], covariates=["depth"])
    assert samples.targets["kind"].tolist() == ["T", "B"]
    assert samples.targets["kind"].dtype == object
    assert samples.covariates["depth"].tolist() == [10, 20]
    with pytest.raises(ValueError, match=r"x.h5ad has no column 'kinds'; it has 'depth', 'kind'. Did you mean 'kind'"):
        read_samples(path, targets=["kinds"])


def test_an_unknown_layer_lists_the_layers(path: Path) -> None:
    with pytest.raises(ValueError, match=r"layer is 'counts'; known are 'X', 'raw', 'half'"):
        read_h5ad(path, layer="counts")


@pytest.mark.filterwarnings("ignore:.*names are not unique")
def test_repeated_ids_are_refused(path: Path) -> None:
    data = anndata.read_h5ad(path)
    data.obs_names = ["c1", "c1"]
    data.write_h5ad(path)
    with pytest.raises(AlignmentError, match=r"1 of the sample ids occur more than once: 'c1'"):
        read_h5ad(path)


def test_a_cut_off_file_is_named(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"x.h5ad cannot be opened as .h5ad"):
        read_h5ad(path)
    with pytest.raises(FileNotFoundError, match=r"none.h5ad does not exist"):
        read_h5ad("none.h5ad")


def test_without_anndata_the_error_names_the_extra(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(ImportError, match=r"pip install 'vnn\[sc\]'"):
        read_h5ad(path)


@pytest.mark.data
def test_pbmc_scaled_and_raw(real: Callable[[str], Path]) -> None:
    path = real("singlecell/10x_pbmc68k_reduced.h5ad")
    scaled = read_samples(path, targets=["bulk_labels"], groups=["louvain"])
    raw = read_samples(path, targets=["bulk_labels"], layer="raw")
    assert scaled.values.shape == raw.values.shape == (765, 700)
    assert scaled.values.min() < 0 <= raw.values.min()
    assert scaled.targets["bulk_labels"].value_counts()["Dendritic"] == 240
    oracle = anndata.read_h5ad(path)
    np.testing.assert_array_equal(raw.values, oracle.raw.X.toarray().T)
    np.testing.assert_array_equal(scaled.values, oracle.X.T)

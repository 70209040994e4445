"""AnnData files: cells or other samples in rows, with what is known of them in `obs`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from vnn._errors import choose
from vnn.data.samples import unique
from vnn.data.tables import Matrix


def read_h5ad(path: Path | str, *, layer: str | None = None, dtype: str = "float32") -> Matrix:
    """One matrix of an `.h5ad` file, feature-major, with the columns of `obs` as labels.

    Parameters
    ----------
    path
        The file.
    layer
        `X` unless given; "raw" for the matrix and the features of `.raw`, otherwise the name of a layer.
    dtype
        "float32" or "float64"; a sparse matrix is made dense in it.

    Raises
    ------
    ImportError
        If anndata is not installed.
    """
    try:
        import anndata
    except ImportError as error:
        raise ImportError(f"reading {path} needs anndata: pip install 'vnn[sc]'") from error
    path = Path(path)
    choose("dtype", dtype, ("float32", "float64"))
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*names are not unique")
            data = anndata.read_h5ad(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be opened as .h5ad: {error}. Fetch or copy it again.") from error
    known = ["X", *(["raw"] if data.raw is not None else []), *data.layers]
    stored: Any
    try:
        choice = choose("layer", "X" if layer is None else layer, known)
        if choice == "raw":
            stored, features = data.raw.X, data.raw.var_names
        else:
            stored, features = data.X if choice == "X" else data.layers[choice], data.var_names
        if stored is None:
            raise ValueError(f"the file has no X; choose a layer: {', '.join(known[1:])}.")
        names = unique(map(str, features), "features")
        samples = unique(map(str, data.obs_names), "sample ids")
    except ValueError as error:
        error.add_note(f"reading {path}")
        raise
    is_sparse: bool = sparse.issparse(stored)
    dense = stored.astype(dtype).toarray() if is_sparse else np.asarray(stored)
    return Matrix(names, samples, np.ascontiguousarray(dense.T, dtype=dtype), _plain(data.obs), "columns")


def read_obs(path: Path) -> pd.DataFrame:
    """What is known of the samples of an `.h5ad` file, without its matrices."""
    import h5py
    from anndata.io import read_elem

    with h5py.File(path, "r") as file:
        return _plain(read_elem(file["obs"]))


def _plain(obs: pd.DataFrame) -> pd.DataFrame:
    labels = obs.rename(index=str)
    for column in labels.columns[labels.dtypes == "category"]:
        labels[column] = labels[column].astype(object)
    return pd.DataFrame(labels)

"""Activities: the value of every named node in every sample, read where the network never trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vnn.data.genotypes import Cohort
from vnn.data.samples import Samples
from vnn.models.network import After
from vnn.training import Fit

if TYPE_CHECKING:
    from anndata import AnnData

READ_AT_ONCE = 256
FLAT = 1e-12


@dataclass(frozen=True, eq=False)
class Activities:
    """Oriented values of the hidden nodes, shape (n_samples, R, n_nodes) per level.

    Activities of different replicates live on scales of their own; compare samples within a replicate,
    or standardise first, as `table` does. Replicates that diverged are left out.

    Parameters
    ----------
    ids, replicates
        Names along the first two axes.
    levels
        Values by level; the last axis is `nodes[level]`. Copies are merged with their original.
    nodes
        Node ids by level.
    names
        Readable names by node id.
    held_out
        Shape (n_samples, R): whether the replicate never saw the sample in training.
    mean, sd
        By level, of each node over the training samples of each replicate, (R, n_nodes).
    """

    ids: tuple[str, ...]
    replicates: tuple[str, ...]
    levels: dict[str, np.ndarray]
    nodes: dict[str, tuple[str, ...]]
    names: dict[str, str]
    held_out: np.ndarray
    mean: dict[str, np.ndarray]
    sd: dict[str, np.ndarray]

    def table(self, *, held_out: bool = True) -> pd.DataFrame:
        """One row per sample, one column per node: standardised in each replicate, then averaged over replicates.

        A column is `level/node`. In a replicate a node's values are centred and scaled by their mean and
        standard deviation over its training samples, so that one new sample can be read alone.

        Parameters
        ----------
        held_out
            Let only replicates count that held the sample out; a sample nobody held out gets missing values.
        """
        counts = self.held_out if held_out else np.ones_like(self.held_out)
        units = {level: np.where(sd > FLAT, sd, np.inf) for level, sd in self.sd.items()}
        levels = {level: (values - self.mean[level]) / units[level] for level, values in self.levels.items()}
        return wide(levels, self.nodes, self.ids, counts)

    def to_pandas(self) -> pd.DataFrame:
        """Every value in long form: sample, replicate, level, node, activity, held_out."""
        return long("activity", self.levels, self.nodes, self.ids, self.replicates, self.held_out)

    def to_anndata(self, adata: AnnData | None = None, *, held_out: bool = True) -> AnnData:
        """The table in `.obsm["score_vnn"]` of an AnnData, levels and names of the nodes in `.uns["vnn"]`.

        Parameters
        ----------
        adata
            Where to put it; its observations must be these samples, in any order. A new one unless given.
        """
        table = self.table(held_out=held_out)
        adata = into_anndata(adata, "score_vnn", table, self.ids)
        nodes = pd.DataFrame(
            [(level, node, self.names.get(node, node)) for level, ids in self.nodes.items() for node in ids],
            columns=["level", "node", "name"],
            index=table.columns,
        )
        adata.uns["vnn"] = {"nodes": nodes, "replicates": list(self.replicates)}
        return adata


def activities(fit: Fit, samples: Samples | Cohort, *, after: After = "activation") -> Activities:
    """The activity of every named node in every sample and replicate.

    Oriented without labels, as `vnn.training.orientation` says; k units of a node are read as their first
    principal component over the training samples.

    Parameters
    ----------
    fit
        Trained networks.
    samples
        People the fit was made from, or new ones; features join by name.
    after
        Where a node is read: "product", "normalisation" or "activation".
    """
    sound, levels = fit.sound, fit.read(samples, after=after)
    return Activities(
        samples.ids,
        tuple(fit.replicates["id"][sound]),
        levels,
        {level: fit.nodes(level) for level in levels},
        dict(fit.topology.names),
        fit.held_out(samples.ids)[:, sound],
        {level: fit.readings[level].mean.T[sound] for level in levels},
        {level: fit.readings[level].sd.T[sound] for level in levels},
    )


def standardised(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Values (n_samples, R, n_nodes) with mean 0 and standard deviation 1 over the samples that count, per replicate and node.

    A node that does not vary is 0.
    """
    weight = counts[:, :, None].astype(float)
    total = np.maximum(weight.sum(0), 1)
    mean = (values * weight).sum(0) / total
    sd = np.sqrt(((values - mean) ** 2 * weight).sum(0) / total)
    return (values - mean) / np.where(sd > FLAT, sd, np.inf)


def wide(
    levels: Mapping[str, np.ndarray], nodes: Mapping[str, tuple[str, ...]], ids: tuple[str, ...], counts: np.ndarray
) -> pd.DataFrame:
    """One row per sample, one column "level/node": values (n_samples, R, n_nodes) averaged over the replicates that count."""
    parts = [
        pd.DataFrame(
            averaged(values, counts),
            index=pd.Index(ids, name="sample"),
            columns=[f"{level}/{node}" for node in nodes[level]],
        )
        for level, values in levels.items()
    ]
    return pd.concat(parts, axis=1)


def long(
    what: str,
    levels: Mapping[str, np.ndarray],
    nodes: Mapping[str, tuple[str, ...]],
    ids: tuple[str, ...],
    replicates: tuple[str, ...],
    held_out: np.ndarray,
) -> pd.DataFrame:
    """One row per value: sample, replicate, level, node, the value in a column called `what`, held_out."""
    parts = []
    for level, values in levels.items():
        s, r, n = (axis.ravel() for axis in np.indices(values.shape))
        columns = {
            "sample": np.array(ids, dtype=object)[s],
            "replicate": np.array(replicates, dtype=object)[r],
            "level": level,
            "node": np.array(nodes[level], dtype=object)[n],
            what: values.ravel(),
            "held_out": held_out[s, r],
        }
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def into_anndata(adata: AnnData | None, key: str, table: pd.DataFrame, ids: tuple[str, ...]) -> AnnData:
    """The table as `.obsm[key]` of an AnnData that holds exactly these samples, a new one unless given."""
    try:
        from anndata import AnnData
    except ImportError as error:
        raise ImportError("to_anndata needs anndata: pip install 'vnn[sc]'.") from error
    if adata is None:
        adata = AnnData(obs=pd.DataFrame(index=pd.Index(ids)))
    if set(adata.obs_names) != set(ids):
        raise ValueError(
            f"the AnnData has {adata.n_obs:,} observations, the table {len(ids):,} samples, and they are not "
            "the same; subset one of them first."
        )
    adata.obsm[key] = table.rename_axis(index=None).loc[adata.obs_names]
    return adata


def averaged(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over the replicates that count, (n_samples, n_nodes) from (n_samples, R, n_nodes); missing where none does."""
    n = counts.sum(1).astype(float)
    return (values * counts[:, :, None]).sum(1) / np.where(n > 0, n, np.nan)[:, None]

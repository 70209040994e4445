"""Weight products: what the weights alone say of a node, without any data.

Over all paths from a node to the output the products of the weights on the way are summed, their absolute values or as they
are. One sweep down gives all levels. Batch-norm is folded in, so that these are the weights of the deployed function; every
activation counts as 1. This is what GenNet and others call the importance of a node; it knows neither how much a node varies
nor whether its activation ever leaves saturation.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vnn.interpret.batch import Batch
from vnn.interpret.contrast import contrasts
from vnn.interpret.deeplift import Explained
from vnn.interpret.sweep import Sweep
from vnn.models.network import COVARIATES
from vnn.training import Fit


@torch.no_grad()
def weight_products(sweep: Sweep, contrast: Tensor, *, signed: bool = False) -> dict[str, Tensor]:
    """The sum over paths to a contrast of the logits of the products of weights, (n_units, R) by level.

    Inputs and covariates are in the units the network sees.

    Parameters
    ----------
    sweep
        Of the network.
    contrast
        Weight of each logit, (n_targets,).
    signed
        Whether weights keep their signs, so that paths may cancel; absolute values otherwise.
    """
    absolute = not signed
    upstream = sweep.upstream(contrast)
    upstream = upstream if signed else upstream.abs()
    direct = sweep.direct(upstream, absolute=absolute)

    def passed(level: str, values: Tensor) -> Tensor:
        factor = sweep.gains[level][0] if level in sweep.gains else torch.ones_like(values)
        return values * (factor if signed else factor.abs())

    found = sweep.back(direct, passed, sweep.inputs, absolute=absolute)
    found.values[sweep.inputs] = sweep.against(sweep.inputs, direct, found.products, absolute=absolute)
    levels = {level: found.values[level][:, :, 0] for level in sweep.order}
    if sweep.network.n_covariates:
        levels[COVARIATES] = sweep.late(upstream, absolute=absolute)
    return levels


def products_for_samples(batch: Batch, contrast: Tensor, *, signed: bool = False) -> Explained:
    """`weight_products` in the form of an attribution: the same for every sample, so that classes do not differ in it."""
    found = {
        level: batch.full(values[:, :, None])
        for level, values in weight_products(batch.sweep, contrast, signed=signed).items()
    }
    return batch.explained(found, found.pop(COVARIATES, None), contrast)


def weight_scores(fit: Fit, *, label: str | None = None, signed: bool = False) -> pd.DataFrame:
    """The weight products of every node, averaged over the replicates that did not diverge.

    Parameters
    ----------
    fit
        Trained networks.
    label
        The class that is asked about; every contrast unless given.
    signed
        As for `weight_products`. Signed products of different networks may cancel.

    Returns
    -------
    One row per contrast and node: level, node, name, contrast, product, share (of the sum of absolute products of its level),
    spread (standard deviation over replicates; missing with one).

    References
    ----------
    van Hilten et al. (2021), doi:10.1038/s42003-021-02622-z
    """
    networks = fit.networks.replicates(fit.sound.tolist())
    sweep = Sweep(networks)
    names, tables = fit.topology.names, []
    for contrast in contrasts(fit.target, label):
        for level, values in weight_products(sweep, torch.from_numpy(contrast.logits), signed=signed).items():
            units = networks.own_units(level)
            starts = np.cumsum(units) - units
            product = np.add.reduceat(values.double().numpy(), starts, axis=0)
            mean = product.mean(1)
            total = np.abs(mean).sum()
            if level == COVARIATES:
                assert fit.coding is not None
                nodes = fit.coding.names
            else:
                nodes = networks.own_nodes(level)
            columns = {
                "level": level, "node": nodes, "name": [names.get(node, node) for node in nodes], "contrast": contrast.name,
                "product": mean, "share": mean / (total if total > 0 else 1.0),
                "spread": product.std(1, ddof=1) if product.shape[1] > 1 else np.nan,
            }  # fmt: skip
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)

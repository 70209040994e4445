"""The last axis of a level: its units, its nodes, and their names."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vnn.models import VisibleNetwork
from vnn.models.network import COVARIATES
from vnn.training import Fit


def per_node(network: VisibleNetwork, level: str, values: Tensor) -> Tensor:
    """Units of a node summed, (n_nodes, R, batch)."""
    units = network.own_units(level)
    if (units == 1).all():
        return values
    node = torch.from_numpy(np.repeat(np.arange(len(units)), units))
    return values.new_zeros(len(units), *values.shape[1:]).index_add_(0, node, values)


def by_sample(values: Tensor) -> np.ndarray:
    """(n_nodes, R, batch) as float32 (batch, R, n_nodes)."""
    return values.permute(2, 1, 0).float().contiguous().numpy()


def node_names(fit: Fit, network: VisibleNetwork, level: str) -> tuple[str, ...]:
    """Ids along the last axis of a level."""
    if level == COVARIATES:
        assert fit.coding is not None
        return fit.coding.names
    return network.own_nodes(level)

"""Thinned networks: what dropout leaves of a network when one draw is kept for every sample and reference."""

from __future__ import annotations

import numpy as np
import torch

from vnn.chance import generator
from vnn.layers import NodeDropout
from vnn.models import VisibleNetwork


def drops(network: VisibleNetwork) -> bool:
    """Whether the network was trained with dropout of inputs or nodes."""
    return any(one.drops for one in _droppers(network).values())


@torch.no_grad()
def thinned(network: VisibleNetwork, seed: int, repeat: int) -> VisibleNetwork:
    """A copy in which dropout has happened once: weights out of a dropped node are 0, the others are scaled up.

    In evaluation mode it computes what the network computes in training when all samples share one mask, batch statistics
    apart. Sample and reference then meet the same network, so that contributions still sum to the difference of the logits.

    Parameters
    ----------
    network
        Any number of replicates; each is thinned by itself.
    seed, repeat
        What the draw is named by, beside level and replicate.
    """
    made = network.replicates(list(range(network.n_replicates)))
    masks = {}
    for level, dropper in _droppers(made).items():
        node = dropper.node.numpy()
        n_nodes = int(node.max()) + 1 if len(node) else 0
        drawn = [
            generator(seed, "dropout repeat", level, name, repeat).random(n_nodes) for name in made.replicate_names
        ]
        rates, scale = (buffer.numpy() for buffer in (dropper.threshold / 2**32, dropper.scale))
        if rates.ndim == 1:
            rates, scale = rates[:, None], scale[:, None]
        masks[level] = torch.from_numpy((np.stack(drawn, axis=1)[node] >= rates) * scale)
    for linear in [*(linear for _, linear in made.layers), *made.head_layers]:
        for source, graph, weight in linear.parts():
            rows, mask = graph.source_row, masks[source].to(weight)
            weight.mul_(mask[rows] if rows.dim() == 1 else mask.gather(0, rows))
    return made


def _droppers(network: VisibleNetwork) -> dict[str, NodeDropout]:
    levels = [network.topology.levels[0].name, *(stage.level for stage, _ in network.layers)]
    found = {}
    for level, module in zip(levels, [network.input_dropout, *network.dropouts], strict=True):
        assert isinstance(module, NodeDropout)
        found[level] = module
    return found

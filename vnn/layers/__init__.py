"""Station 4, layers: masks in, modules with named nodes out."""

from vnn.layers.activation import ODD, activation, gain
from vnn.layers.dropout import Draw, NodeDropout, wired_rates
from vnn.layers.initial import initial_weights
from vnn.layers.normalisation import BatchNorm
from vnn.layers.replicates import of_replicates
from vnn.layers.sparse import InputScaling, Signal, SparseLinear

__all__ = [
    "ODD",
    "BatchNorm",
    "Draw",
    "InputScaling",
    "NodeDropout",
    "Signal",
    "SparseLinear",
    "activation",
    "gain",
    "initial_weights",
    "of_replicates",
    "wired_rates",
]

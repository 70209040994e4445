"""The activations a node may have, by name."""

from __future__ import annotations

from torch import nn

from vnn._errors import choose

_MODULES = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "softsign": nn.Softsign, "linear": nn.Identity}
_GAINS = {"tanh": 5 / 3, "relu": 2**0.5}
ODD = frozenset({"tanh", "softsign", "linear"})


def activation(name: str) -> nn.Module:
    """A new module of the activation called `name`.

    Raises
    ------
    ValueError
        If there is none; the message lists the known and the nearest.
    """
    return _MODULES[choose("the activation", name, _MODULES)]()


def gain(name: str) -> float:
    """By how much initial weights are larger so that this activation keeps the variance."""
    return _GAINS.get(choose("the activation", name, _MODULES), 1.0)

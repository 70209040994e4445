"""Copies with some of the replicates: what they keep, and that they share nothing anyone writes to."""

from __future__ import annotations

import numpy as np
import torch

from tests.wirings import toy_topology
from vnn.kernels import Graph, sparse_product
from vnn.layers import NodeDropout, of_replicates
from vnn.models import VisibleNetwork

NAMES = ("a", "b", "c")


def test_a_copy_computes_what_its_replicates_do() -> None:
    network = VisibleNetwork(toy_topology("edges"), replicates=NAMES).eval()
    x = torch.linspace(-1, 1, 24).reshape(6, 4)
    copy = network.replicates(["c", "a"])
    assert copy.replicate_names == ("c", "a")
    assert torch.equal(copy(x), network(x)[:, [2, 0]])


def test_a_copy_shares_nothing_that_is_written_to() -> None:
    network = VisibleNetwork(toy_topology("edges"), replicates=NAMES)
    network.register_forward_hook(lambda *_: torch.zeros(()))
    before = {name: values.clone() for name, values in network.state_dict().items()}
    copy = of_replicates(network, [0, 1, 2])
    for values in copy.state_dict().values():
        values.zero_()
    copy.double().requires_grad_(False)
    copy.linears[0].weights[0].data.fill_(7)
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert all(p.requires_grad and p.dtype == torch.float32 for p in network.parameters())
    assert copy.eval()(torch.zeros(2, 4)).shape == (2, 3, 1)


def test_dropout_goes_with_its_replicate() -> None:
    dropout = NodeDropout("level", np.full(5, 0.5), np.ones(5, dtype=np.int64), NAMES, seed=0)
    assert torch.equal(of_replicates(dropout, [2]).base, dropout.base[[2]])


def test_a_wiring_of_its_own_goes_with_its_replicate() -> None:
    pairs = np.array([[0, 0], [1, 0], [2, 1]])
    graph = Graph(pairs, 4, 2, sources=np.array([[0, 3, 1], [1, 1, 2], [2, 0, 3]]))
    x, w = torch.arange(24.0).reshape(4, 3, 2), torch.arange(9.0).reshape(3, 3)
    at = [2, 0]
    whole = sparse_product(x, w, graph)
    assert torch.equal(
        sparse_product(x[:, at].contiguous(), w[:, at].contiguous(), of_replicates(graph, at)), whole[:, at]
    )
    assert torch.equal(sparse_product(x, w, graph), whole)

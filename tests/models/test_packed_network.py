"""Networks that read packed genotypes: the end-to-end caller of the packed product."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from vnn._errors import AlignmentError
from vnn.kernels import Packed
from vnn.models import Recipe, VisibleNetwork
from vnn.ontology import Topology

N_VARIANTS, N_GENES, N_PEOPLE = 60, 8, 150


def genotypes(seed: int = 0) -> tuple[Packed, torch.Tensor]:
    """Packed genotypes of N_PEOPLE and the same as numbers, dealt by hand."""
    rng = np.random.default_rng(seed)
    code = rng.choice([0, 1, 2, 3], size=(N_VARIANTS, N_PEOPLE), p=[0.2, 0.05, 0.35, 0.4])
    panels = -(-N_PEOPLE // 64)
    codes = np.zeros((panels, N_VARIANTS, 16), np.uint8)
    for person in range(N_PEOPLE):
        panel, place = divmod(person, 64)
        codes[panel, :, place // 4] |= (code[:, person] << 2 * (place % 4)).astype(np.uint8)
    codebook = np.tile([2.0, 0.4, 1.0, 0.0], (N_VARIANTS, 1))
    packed = Packed(torch.from_numpy(codes), torch.arange(panels), torch.from_numpy(codebook), N_PEOPLE)
    return packed, torch.from_numpy(codebook[np.arange(N_VARIANTS)[:, None], code]).T


def topology() -> Topology:
    variants, genes = [f"rs{i}" for i in range(N_VARIANTS)], [f"gene {i}" for i in range(N_GENES)]
    rows = [("inputs", rs, "genes", genes[i % N_GENES]) for i, rs in enumerate(variants)]
    rows += [("genes", gene, "top", "pathway") for gene in genes]
    edges = pd.DataFrame(rows, columns=["source_level", "source", "target_level", "target"])
    return Topology.from_edges({"inputs": variants, "genes": genes, "top": ["pathway"]}, edges)


def network(replicates: int = 3, normalisation: str = "batch") -> VisibleNetwork:
    recipe = Recipe(normalisation=normalisation, dropout=0.0, input_dropout=0.0)
    made = VisibleNetwork(topology(), recipe, replicates=[str(i) for i in range(replicates)]).double()
    rng = np.random.default_rng(1)
    shape = tuple(made.scaling.scale.shape)
    made.scaling.scale.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, shape)))
    made.scaling.shift.copy_(torch.from_numpy(rng.normal(size=shape)))
    return made


@pytest.mark.parametrize("normalisation", ["batch", "none"])
def test_packed_genotypes_give_what_their_numbers_give(normalisation: str) -> None:
    packed, numbers = genotypes()
    for training in (True, False):
        one, other = (
            network(normalisation=normalisation).train(training),
            network(normalisation=normalisation).train(training),
        )
        a, b = one(packed), other(numbers)
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
        a.square().sum().backward()
        b.square().sum().backward()
        for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-8, atol=1e-10)
    for level, values in one.activities(packed).items():
        torch.testing.assert_close(values, other.activities(numbers)[level], rtol=1e-10, atol=1e-10)


def test_training_on_packed_genotypes_learns_what_training_on_numbers_learns() -> None:
    packed, numbers = genotypes()
    target = (numbers[:, 0] + numbers[:, 8] > numbers[:, 16] + 0.5).double()
    trained = []
    for x in (packed, numbers):
        model = network(2).train()
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        history = []
        for _ in range(30):
            optimiser.zero_grad()
            logits = model(x)[:, :, 0]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, target[:, None].expand_as(logits))
            loss.backward()
            optimiser.step()
            history.append(loss.item())
        assert history[-1] < 0.75 * history[0]
        trained.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(*trained, rtol=0, atol=1e-9)


def test_other_variants_are_refused() -> None:
    packed, _ = genotypes()
    short = packed._replace(codes=packed.codes[:, 1:], codebook=packed.codebook[1:])
    with pytest.raises(AlignmentError, match="59 variants"):
        network()(short)

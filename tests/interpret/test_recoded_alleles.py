"""Which allele is counted says nothing: recoded genotypes have the attributions of the others, up to rounding."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.data.genotypes.test_plink import made
from tests.training.test_gene_networks import recoded
from vnn.data import Samples, hold_out
from vnn.data.genotypes import Genotypes, fit_coding, read_plink
from vnn.interpret import attributions
from vnn.kernels.graph import weight_rows
from vnn.models import Recipe
from vnn.study.cohort import gene_wiring
from vnn.training import Fit, Training, fit

PEOPLE, VARIANTS, EACH = 300, 24, 6
PER_GENE = {f"rs{i}": (f"GENE{i // EACH}",) for i in range(VARIANTS)}


@pytest.fixture
def genotypes(tmp_path: Path) -> Genotypes:
    rng = np.random.default_rng(1)
    dosages = rng.binomial(2, 0.35, (VARIANTS, PEOPLE)).astype(np.float32)
    case = dosages[:EACH].sum(0) - dosages[EACH] + rng.standard_normal(PEOPLE) > 4
    dosages[2, ::9] = np.nan
    made(tmp_path, dosages, "cohort")
    found = read_plink(tmp_path / "cohort")
    return found.joined(targets=pd.DataFrame({"y": np.where(case, "case", "control")}, index=list(found.ids)))


def trained(samples: Samples, start: str) -> Fit:
    owners = {name: PER_GENE[name.partition(":")[0]] for name in samples.features}
    splits = [hold_out(samples.ids, seed=1, stratify=samples.targets["y"])]
    settings = Training(start=start, epochs=8, impute="mean", dtype="float64")  # type: ignore[arg-type]
    return fit(
        gene_wiring(owners), samples, target="y", classes=["control", "case"], splits=splits, seed=1, n_seeds=2,
        recipe=Recipe(units=2), training=settings,
    )  # fmt: skip


def same(one: Fit, samples: Samples, other: Fit, again: Samples) -> None:
    first, second = attributions(one, samples), attributions(other, again)
    assert np.abs(first.levels["inputs"]).max() > 0.01
    for level, values in first.levels.items():
        np.testing.assert_allclose(second.levels[level], values, atol=1e-6, err_msg=level)


@pytest.mark.parametrize("coding", ["additive", "standardised", "genotype", "dominant"])
def test_networks_trained_on_recoded_genotypes_attribute_the_same(genotypes: Genotypes, coding: str) -> None:
    own, other = (fit_coding(held, coding, missing="nan").apply(held) for held in (genotypes, recoded(genotypes)[0]))  # type: ignore[arg-type]
    same(trained(own, "associations"), own, trained(other, "associations"), other)


def test_a_network_whose_weights_are_mapped_attributes_the_same(genotypes: Genotypes) -> None:
    there, swapped = recoded(genotypes)
    own, other = (fit_coding(held, missing="nan").apply(held) for held in (genotypes, there))
    model = trained(own, "random")
    networks = deepcopy(model.networks)
    at = torch.from_numpy(swapped[[own.features.index(name) for name in model.topology.inputs]])
    scaling = networks.scaling
    scaling.shift[at] = -scaling.shift[at] - 2 * scaling.scale[at]
    scaling.fill[at] = 2 - scaling.fill[at]
    _, linear = networks.layers[0]
    _, graph, weight = next(iter(linear.parts()))
    with torch.no_grad():
        weight[at[weight_rows(graph.wiring)[1]]] *= -1
    mapped = replace(model, networks=networks)
    before, after = model.predict(own).logits, mapped.predict(other).logits
    np.testing.assert_allclose(after, before, atol=1e-9)
    same(model, own, mapped, other)
    with pytest.raises(AssertionError):
        same(model, own, model, other)

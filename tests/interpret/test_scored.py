"""Scores of networks one by one: definitions, labels of nulls, silenced inputs, files."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.planted import CAUSAL, cohort, folds, wiring
from vnn._errors import AlignmentError
from vnn.data import half_samples
from vnn.interpret.grouping import Relations, grouped, without
from vnn.interpret.scored import Scored, scored
from vnn.interpret.verdict import ROBUST, Thresholds, Verdict
from vnn.training import Fit, Training, fit

TRAINING = Training(start="associations", lr=1e-3, epochs=6)


@cache
def trained(target: str = "phenotype", kind: str = "real") -> Fit:
    null = {} if kind == "real" else {"kind": kind, "draws": range(3)}
    return fit(wiring(), cohort(), target=target, splits=folds(), n_seeds=2, seed=1, training=TRAINING, **null)


def by_hand(
    made: Fit, r: int, node: str, level: str, without_genes: tuple[str, ...] = (), *, correlation: bool = False
) -> float:
    """What the node adds to the separation, or its correlation with the labels, by Captum and a loop over classes."""
    from captum.attr import LayerDeepLift

    from vnn.interpret.rivals import BatchFirst

    split = next(s for s in made.splits if s.name == made.replicates["split"][r])
    part = cohort().select(wiring().inputs, split.test)
    network = made.networks.replicates([r]).double().eval()
    x = torch.from_numpy(np.array(part.values)).double().T.contiguous()
    train = cohort().select(wiring().inputs, split.train).values.astype(np.float64).mean(1)
    for gene in without_genes:
        x[:, list(wiring().inputs).index(gene)] = train[list(wiring().inputs).index(gene)]
    reference = torch.from_numpy(train)[None].expand(len(x), -1)
    model = BatchFirst(network)
    names = [stage.level for stage, _ in network.layers]
    explained = LayerDeepLift(model, model.points[names.index(level)]).attribute(x, reference, target=0)
    explained = explained[0] if isinstance(explained, tuple) else explained
    values = explained.reshape(len(x), -1)[:, network.own_nodes(level).index(node)].detach().numpy()
    logits = model(x).detach().numpy().ravel()
    labels = made.labels[r] if made.labels is not None else made.target.values
    truth = np.array([labels[made.ids.index(i)] for i in split.test])
    if correlation:
        return float(np.corrcoef(values, truth)[0, 1])
    return float((values[truth == 1].mean() - values[truth == 0].mean()) / logits.std())


@pytest.mark.parametrize("kind", ["real", "labels"])
def test_a_score_is_the_class_difference_in_standard_deviations_of_the_logit(kind: str) -> None:
    made = trained(kind=kind)
    found = scored(made, cohort())
    for level, node in (("level 1", CAUSAL), ("level 2", "group 1")):
        column = found.nodes.index[(found.nodes["level"] == level) & (found.nodes["node"] == node)][0]
        for r in (0, 3, len(made.replicates) - 1):
            assert np.isclose(
                found.values["deeplift"][0, r, column], by_hand(made, r, node, level), rtol=2e-3, atol=2e-5
            )
            together = by_hand(made, r, node, level, correlation=True)
            assert np.isclose(found.correlations["deeplift"][0, r, column], together, rtol=2e-3, atol=2e-4)


def test_inputs_that_are_silenced_stand_at_their_training_mean() -> None:
    genes = Relations(wiring()).inputs_of(("level 1", CAUSAL))
    made = trained()
    found = scored(made, cohort(), without=genes)
    column = found.nodes.index[found.nodes["node"] == CAUSAL][0]
    assert np.abs(found.values["deeplift"][0, :, column]).max() < 1e-6
    assert (found.correlations["deeplift"][0, :, column] == 0).all()
    other = found.nodes.index[found.nodes["node"] == "set 4"][0]
    assert np.isclose(
        found.values["deeplift"][0, 0, other], by_hand(made, 0, "set 4", "level 1", genes), rtol=2e-3, atol=2e-5
    )
    with pytest.raises(AlignmentError, match="inputs the networks do not have"):
        scored(made, cohort(), without=["nothing"])


def test_networks_are_named_and_draws_are_means() -> None:
    halves = fit(
        wiring(), cohort(), target="phenotype", seed=1, n_seeds=2, training=TRAINING,
        splits=half_samples(cohort().ids, pairs=2, seed=0, stratify=cohort().targets["phenotype"]),
    )  # fmt: skip
    found = Scored.join([scored(one, cohort()) for one in (trained(), trained(kind="labels"), halves)])
    assert found.networks["kind"].value_counts().to_dict() == {"labels": 18, "half_samples": 8, "real": 6}
    held = found.networks[found.networks["kind"] == "half_samples"]
    assert held[["draw", "half"]].drop_duplicates().to_numpy().tolist() == [[0, "a"], [0, "b"], [1, "a"], [1, "b"]]
    draws = found.draws("labels", "deeplift")
    assert draws.shape == (3, 1, len(found.nodes))
    mine = (found.networks["kind"] == "labels") & (found.networks["draw"] == 1)
    assert np.allclose(draws[1, 0], found.values["deeplift"][0, mine].mean(0))
    assert np.allclose(found.draws("real", "deeplift")[0, 0], found.values["deeplift"][0, :6].mean(0))
    taken = found.by_network(0, "deeplift")
    assert len(taken.whole) == 6
    assert taken.halves()[1].shape == (2, 2, len(found.nodes))


def test_other_methods_stand_beside_with_gaps(tmp_path: Path) -> None:
    every = Scored.join([scored(trained(), cohort()), scored(trained(kind="labels"), cohort())])
    some = scored(trained(kind="labels"), cohort(), methods=["gradient x difference"])
    both = every.beside(some)
    assert np.isnan(both.values["gradient x difference"][:, :6]).all()
    assert np.array_equal(both.values["gradient x difference"][:, 6:], some.values["gradient x difference"])
    both.save(tmp_path / "scores.npz")
    read = Scored.load(tmp_path / "scores.npz")
    assert read.contrasts == both.contrasts
    assert read.nodes.equals(both.nodes)
    assert read.networks.astype(str).equals(both.networks.astype(str))
    assert all(np.array_equal(read.values[m], v, equal_nan=True) for m, v in both.values.items())
    assert all(np.array_equal(read.correlations[m], v, equal_nan=True) for m, v in both.correlations.items())
    with pytest.raises(AlignmentError, match="do not belong together"):
        some.beside(every)


def test_scores_of_another_topology_are_refused() -> None:
    one = scored(trained(), cohort())
    other = replace(one, nodes=one.nodes.assign(node=[f"{node}!" for node in one.nodes["node"]]))
    with pytest.raises(AlignmentError, match="do not belong together"):
        Scored.join([one, other])
    with pytest.raises(ValueError, match="these are others"):
        scored(trained(), cohort().select(ids=cohort().ids[:50]))


@pytest.mark.parametrize(("target", "n"), [("quantity", 1), ("thirds", 3)])
def test_quantities_and_several_classes(target: str, n: int) -> None:
    found = scored(trained(target), cohort())
    assert found.values["deeplift"].shape == (n, 6, len(found.nodes))
    assert np.isfinite(found.values["deeplift"]).all()
    assert np.abs(found.correlations["deeplift"]).max() <= 1 + 1e-9
    if target == "quantity":
        assert found.nodes["node"][int(found.draws("real", "deeplift")[0, 0].argmax())] in (CAUSAL, "group 1", "root")


def test_relations_are_those_of_the_wiring() -> None:
    relations, topology = Relations(wiring()), wiring()
    below: dict[tuple[str, str], set[str]] = {("inputs", gene): {gene} for gene in topology.inputs}
    for level in topology.levels[1:]:
        for mask in topology.masks:
            if mask.target_level == level.name:
                for a, b in mask.edges:
                    own = below.setdefault((level.name, mask.targets[b]), set())
                    own |= below[mask.source_level, mask.sources[a]]
    for node in relations.places:
        assert set(relations.inputs_of(node)) == below[node]
        assert relations.n_inputs(node) == len(below[node])
    assert relations.related(("level 1", "set 3"), ("level 2", "group 1"), 0.99)
    assert relations.related(("level 2", "group 0"), ("level 3", "root"), 0.99)
    assert not relations.related(("level 1", "set 3"), ("level 2", "group 0"), 0.99)
    a, b = below["level 1", "set 1"], below["level 1", "set 5"]
    overlap = len(a & b) / len(a | b)
    assert relations.related(("level 1", "set 1"), ("level 1", "set 5"), overlap - 1e-9)
    assert not relations.related(("level 1", "set 1"), ("level 1", "set 5"), overlap + 1e-9)


def judged(robust: dict[str, float]) -> Verdict:
    nodes = list(Relations(wiring()).places)
    table = pd.DataFrame(nodes, columns=["level", "node"]).assign(
        contrast="c", name="", verdict="not beyond chance", score=0.0
    )
    for node, score in robust.items():
        table.loc[table["node"] == node, ["verdict", "score"]] = ROBUST, score
    return Verdict(table, Thresholds(), {}, "rewired", ("propagation",))


def test_groups_have_leaders_and_say_who_is_driven() -> None:
    found = judged({"set 3": 1.0, "group 1": 0.6, "set 0": 0.5, "set 2": 0.4})
    nodes = found.table["node"].tolist()

    def left(inputs: tuple[str, ...]) -> np.ndarray:
        rest = found.table["score"].to_numpy().copy()
        if set(inputs) == set(Relations(wiring()).inputs_of(("level 1", "set 3"))):
            rest[nodes.index("group 1")], rest[nodes.index("set 2")] = 0.5, 0.1
        return rest

    table = grouped(found, Relations(wiring()), left).table.set_index("node")
    assert table.loc[["set 3", "set 0"], "leader"].all()
    assert table.loc["set 3", "group"] == table.loc["group 1", "group"] == table.loc["set 2", "group"] == 1
    assert table.loc["set 0", "group"] == 2
    assert table.loc["group 1", "driven_by"] == ""
    assert np.isclose(table.loc["group 1", "left"], 0.5 / 0.6)
    assert table.loc["set 2", "driven_by"] == "set 3"
    assert table["group"].notna().sum() == 4


def test_what_is_left_comes_from_the_networks() -> None:
    left = without(trained(), cohort(), "deeplift")
    genes = Relations(wiring()).inputs_of(("level 1", CAUSAL))
    rest = left(genes)
    nodes = scored(trained(), cohort()).nodes
    assert abs(rest[nodes.index[nodes["node"] == CAUSAL][0]]) < 1e-6
    assert np.abs(left(())).max() > 0.1

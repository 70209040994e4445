"""Null networks: what a draw changes, what it leaves as it is, and that nothing can be learnt where labels are permuted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.planted import cohort, folds, wiring
from tests.training.test_fitting import SHORT, survivors, trained
from vnn.models import Recipe, VisibleNetwork
from vnn.training import Fit, Training
from vnn.training.design import drawn, replicates_of

DRAWN = {"n_seeds": 2, "splits": folds()[:2], "training": SHORT}


@pytest.fixture(scope="module", params=["labels", "rewired", "reassigned"])
def null(request: pytest.FixtureRequest) -> Fit:
    return trained(kind=request.param, draws=(4, 7), **DRAWN)


@pytest.fixture(scope="module")
def real() -> Fit:
    return trained(**DRAWN)


def test_every_split_and_seed_is_in_every_draw(null: Fit, real: Fit) -> None:
    table = null.replicates
    assert len(table) == 8
    assert table.groupby("draw")["partner"].apply(list).tolist() == [real.replicates["id"].tolist()] * 2
    assert set(table["id"]) == {f"{p}, {table['kind'][0]} {d}" for p in real.replicates["id"] for d in (4, 7)}


def test_a_draw_carries_the_split_and_the_initial_weights_of_its_partner(null: Fit, real: Fit) -> None:
    assert null.splits == real.splits
    start = [
        VisibleNetwork(
            fit.topology, fit.networks.recipe, replicates=fit.replicates["id"].tolist(),
            partners=fit.replicates["partner"].tolist(), seed=7, wirings=fit.networks.wirings,
        )
        for fit in (null, real)
    ]  # fmt: skip
    at = [real.replicates["id"].tolist().index(partner) for partner in null.replicates["partner"]]
    for (name, mine), theirs in zip(start[0].named_parameters(), start[1].parameters(), strict=True):
        assert torch.equal(mine, theirs[..., at]), name


def test_it_changes_what_it_says_and_nothing_else(null: Fit) -> None:
    kind = null.replicates["kind"][0]
    if kind == "labels":
        assert null.networks.wirings == {}
        assert null.labels is not None
        by_draw = [null.labels[null.replicates["draw"] == d] for d in (4, 7)]
        for own in by_draw:
            assert (own == own[0]).all()
            assert sorted(own[0]) == sorted(null.target.values)
            assert 0.2 < np.mean(own[0] != null.target.values) < 0.8
        assert (by_draw[0][0] != by_draw[1][0]).any()
    else:
        assert null.labels is None
        real_edges = VisibleNetwork(null.topology).layers
        changed = total = 0
        for stage, linear in real_edges:
            for name, graph, _ in linear.parts():
                own = null.networks.wirings[name, stage.level]
                changed += int((own != graph.src.numpy()[:, None]).sum())
                total += own.size
                if kind == "rewired":
                    for column in own.T:
                        assert np.array_equal(
                            np.bincount(column, minlength=graph.n_sources),
                            np.bincount(graph.src.numpy(), minlength=graph.n_sources),
                        )
        assert changed > 0.2 * total
    assert "%" in null.about["null"]


def test_a_draw_is_the_same_in_any_chunk(null: Fit) -> None:
    some = null.replicates["id"].tolist()[5:7]
    part = trained(kind=null.replicates["kind"][0], draws=(4, 7), only=some, **DRAWN)
    for key, values in part.networks.state_dict().items():
        assert torch.equal(values, null.networks.replicates(some).state_dict()[key]), key


def test_a_saved_null_predicts_the_same(null: Fit, tmp_path: Path) -> None:
    null.save(tmp_path / "null")
    loaded = Fit.load(tmp_path / "null", wiring())
    assert np.array_equal(null.predict(cohort()).logits, loaded.predict(cohort()).logits)
    assert loaded.replicates.equals(null.replicates)
    assert (null.labels is None) == (loaded.labels is None)
    assert null.labels is None or np.array_equal(null.labels, loaded.labels)
    for pair, held in null.networks.wirings.items():
        assert np.array_equal(held, loaded.networks.wirings[pair])


@pytest.mark.parametrize(("target", "event"), [("quantity", None), ("thirds", None), ("days", "died")])
def test_labels_of_every_task_are_permuted(target: str, event: str | None) -> None:
    samples = survivors() if event else cohort()
    made = trained(
        samples=samples,
        target=target,
        event=event,
        kind="labels",
        draws=(0, 1),
        training=SHORT.model_copy(update={"epochs": 2}),
    )
    assert made.labels is not None
    assert made.labels.shape[:2] == (6, samples.n_samples)
    assert not np.array_equal(made.labels[0], made.labels[3])
    assert made.history["train"].notna().all()


def test_permuted_labels_are_learnt_by_heart_and_predicted_by_chance() -> None:
    made = trained(
        kind="labels", draws=tuple(range(12)), splits=folds()[:1], training=Training(epochs=30, lr=1e-2),
        recipe=Recipe(dropout=0.0, input_dropout=0.0),
    )  # fmt: skip
    from sklearn.metrics import roc_auc_score

    prediction = made.predict(cohort())
    test = cohort().index(made.splits[0].test)
    order = [cohort().ids[i] for i in test]
    place = {name: i for i, name in enumerate(made.ids)}
    aucs = [
        roc_auc_score(made.labels[r][[place[i] for i in order]], prediction.values[test, r, 1])  # type: ignore[index]
        for r in range(12)
    ]
    assert abs(np.mean(aucs) - 0.5) < 4 * np.std(aucs) / np.sqrt(12) + 0.02


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="the kind of null"):
        trained(kind="label", draws=(0,))
    with pytest.raises(ValueError, match="none twice"):
        trained(kind="labels", draws=(1, 1))
    with pytest.raises(ValueError, match="at least one"):
        drawn(replicates_of(folds(), 1), "rewired", ())

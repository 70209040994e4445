"""Null networks: what a draw changes, what it leaves as it is, and that nothing can be learnt where labels are permuted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given as given_
from hypothesis import settings
from hypothesis import strategies as st
from scipy import stats

from tests.planted import cohort, folds, wiring
from tests.training.test_fitting import SHORT, assert_same_bits, changed, survivors, trained
from vnn.data import Samples, Split, encode_target, equally_predictive
from vnn.models import Recipe, VisibleNetwork
from vnn.training import Fit, Progress, Training, loop
from vnn.training import null as null_module
from vnn.training.design import drawn, replicates_of
from vnn.training.evaluation import replicate_scores

DRAWN = {"n_seeds": 2, "splits": folds()[:2], "training": SHORT}


def places() -> pd.DataFrame:
    """The genes on two chromosomes, in an order of their own."""
    genes = np.random.default_rng(5).permutation(wiring().inputs)
    return pd.DataFrame(
        {"chromosome": ["1", "X"] * (len(genes) // 2), "position": 1000 * np.arange(len(genes)), "note": "-"},
        index=genes,
    )


def given(kind: str) -> dict[str, object]:
    return DRAWN | ({"places": places()} if kind == "shifted" else {})


@pytest.fixture(scope="module", params=["labels", "rewired", "reassigned", "shifted", "equalised"])
def null(request: pytest.FixtureRequest) -> Fit:
    return trained(kind=request.param, draws=(4, 7), **given(request.param))


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
    elif kind == "equalised":
        assert null.labels is None
        assert null.networks.wirings == {}
        assert null.about["null"].startswith("all 50 inputs simulated")
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
    part = trained(kind=null.replicates["kind"][0], draws=(4, 7), only=some, **given(null.replicates["kind"][0]))
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


@pytest.fixture(scope="module")
def learnt() -> dict[str, np.ndarray]:
    """Held-out AUC of every draw of every kind of null, and of the real networks, trained until they know what they can."""
    from sklearn.metrics import roc_auc_score

    found = {}
    for kind in ("real", "labels", "rewired", "reassigned", "shifted", "equalised"):
        draws = range({"real": 0, "labels": 12, "equalised": 2}.get(kind, 5))
        made = trained(
            kind=kind, draws=tuple(draws), training=Training(epochs=30, lr=1e-2), places=places(),
            recipe=Recipe(dropout=0.0, input_dropout=0.0),
        )  # fmt: skip
        place = {name: i for i, name in enumerate(made.ids)}
        aucs = []
        for r, row in made.replicates.iterrows():
            split = next(split for split in made.splits if split.name == row["split"])
            samples = cohort()
            if kind == "equalised":
                samples = simulated(split, int(row["draw"]))
            values = made.predict(samples).values[samples.index(split.test), int(r), 1]  # type: ignore[arg-type]
            labels = made.target.values if made.labels is None else made.labels[int(r)]  # type: ignore[arg-type]
            aucs.append(roc_auc_score(labels[[place[i] for i in split.test]], values))
        assert np.allclose(aucs, replicate_scores(made, cohort())["value"])
        found[kind] = np.array(aucs).reshape(-1, len(folds())).mean(1)
    return found


def simulated(split: Split, draw: int) -> Samples:
    """The inputs of a draw, straight from the simulation."""
    samples = cohort().select(wiring().inputs, sorted(cohort().ids))
    target = encode_target(samples.targets["phenotype"])
    values = equally_predictive(samples, target, seed=7, draw=draw, learn=split.train)
    return changed(samples, values=values)


@pytest.mark.slow
def test_permuted_labels_are_predicted_by_chance_and_only_they(learnt: dict[str, np.ndarray]) -> None:
    labels = learnt["labels"]
    half = stats.t.ppf(0.995, len(labels) - 1) * labels.std(ddof=1) / np.sqrt(len(labels))
    assert half < 0.1, "an interval over draws that could tell"
    assert abs(labels.mean() - 0.5) < half
    assert learnt["real"][0] > max(labels.max(), 0.8)
    for kind in ("rewired", "reassigned", "shifted"):
        assert learnt[kind].min() > labels.mean() + 0.1, "other wirings see the same genes"
    assert learnt["equalised"].min() > 0.9, "50 inputs with independent noise tell nearly everything"


def test_equalised_inputs_tell_the_label_where_the_real_ones_do_not() -> None:
    labels = cohort().targets.copy()
    labels["phenotype"] = np.random.default_rng(8).permutation(labels["phenotype"])
    samples = changed(cohort(), targets=labels)
    options = {"samples": samples, "training": SHORT, "recipe": Recipe(input_dropout=0.0)}
    real = replicate_scores(trained(**options), samples)["value"].mean()
    drawn = replicate_scores(trained(kind="equalised", draws=(0,), **options), samples)["value"].mean()
    assert real < 0.65
    assert drawn > 0.85


def test_a_shift_is_one_rotation_of_each_chromosome() -> None:
    made = trained(
        kind="shifted", draws=(4, 7), **given("shifted") | {"training": SHORT.model_copy(update={"epochs": 1})}
    )
    table, inputs = places(), wiring().inputs
    order = {
        c: [inputs.index(g) for g in part.sort_values("position").index] for c, part in table.groupby("chromosome")
    }
    (mask,) = (mask for mask in wiring().masks if mask.source_level == "inputs")
    at, targets = np.array([inputs.index(gene) for gene in mask.sources]), mask.edges[:, 1]
    below = {t: set(at[mask.edges[targets == t, 0]]) for t in np.unique(targets)}
    shifts = []
    for column in made.networks.wirings["inputs", mask.target_level].T:
        drawn_below = {t: set(column[np.sort(targets) == t]) for t in below}
        for genes in order.values():
            rank, n = {gene: i for i, gene in enumerate(genes)}, len(genes)
            (shift,) = (
                k
                for k in range(n)
                if all(
                    {genes[(rank[g] + k) % n] for g in below[t] if g in rank} == drawn_below[t] & set(rank)
                    for t in below
                )
            )
            shifts.append(shift)
    assert 0 not in shifts
    assert len(set(shifts)) > 2


@settings(max_examples=2, deadline=None)
@given_(st.integers(0, 2**16), st.sampled_from(["values", "labels"]))
def test_held_out_samples_change_no_bit_of_equalised_networks(seed: int, what: str) -> None:
    rng = np.random.default_rng(seed)
    split = folds()[0]
    options = {
        "splits": folds()[:2],
        "training": SHORT.model_copy(update={"epochs": 3}),
        "kind": "equalised",
        "draws": (1,),
    }
    held = cohort().index(split.test)
    if what == "values":
        values = cohort().values.copy()
        values[:, held] += 100 * rng.standard_normal((len(values), len(held)))
        other = changed(cohort(), values=values)
    else:
        targets = cohort().targets.copy()
        targets.loc[list(split.test), "phenotype"] = rng.permutation(["control"] * 30 + ["case"] * 10)
        other = changed(cohort(), targets=targets)
    mine, theirs = (trained(samples=samples, **options).networks for samples in (cohort(), other))
    assert mine.replicate_names[0].startswith(split.name)
    for key, values in mine.replicates([0]).state_dict().items():
        assert torch.equal(values, theirs.replicates([0]).state_dict()[key]), key
    assert any((a != b).any() for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True))


@pytest.mark.slow
def test_equalised_networks_killed_and_resumed_have_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    whole = trained(kind="equalised", draws=(0,), **DRAWN)
    told: list[int] = []

    def kill(progress: Progress) -> None:
        told.append(progress.epoch)
        if len(told) in (3, 14, 30):
            raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            trained(kind="equalised", draws=(0,), checkpoint=tmp_path / "c", listener=kill, **DRAWN)
    assert_same_bits(whole, trained(kind="equalised", draws=(0,), checkpoint=tmp_path / "c", listener=kill, **DRAWN))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("target", "event"), [("quantity", None), ("thirds", None), ("days", "died")])
def test_inputs_of_every_task_are_equalised(target: str, event: str | None) -> None:
    samples = survivors() if event else cohort()
    options = {"samples": samples, "target": target, "event": event, "splits": folds()[:1]}
    made = trained(kind="equalised", draws=(0,), training=SHORT.model_copy(update={"patience": 12}), **options)
    values = replicate_scores(made, samples)["value"]
    assert values.mean() > {"quantity": 0.1, "thirds": 0.7, "days": 0.6}[target], values.tolist()


def test_a_draw_that_changed_too_little_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for made in (
        lambda samples, *_, **__: samples.values,
        lambda samples, *_, **__: rng.normal(size=samples.values.shape),
    ):
        monkeypatch.setattr(null_module, "equally_predictive", made)
        with pytest.raises(ValueError, match="draw 3 of the null 'equalised'"):
            trained(kind="equalised", draws=(3,), **DRAWN)
    still = places().assign(chromosome=np.arange(50))
    with pytest.raises(ValueError, match="none of the 50 chromosomes"):
        trained(kind="shifted", draws=(3,), **DRAWN | {"places": still})


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (None, "`places` is not given"),
        (places().iloc[3:], "lacks 3 of the 50 inputs"),
        (pd.concat([places(), places().iloc[:2]]), "several rows for 2 inputs"),
        (places().drop(columns="position"), "a column of `places`"),
        (places().assign(position="12p"), "must be numbers"),
        (places().assign(position=np.nan), "50 variants have no place"),
    ],
)
def test_places_that_do_not_do_are_refused(wrong: pd.DataFrame | None, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        trained(kind="shifted", draws=(0,), **DRAWN | {"places": wrong})


def test_a_training_part_of_one_class_cannot_be_equalised() -> None:
    cases = cohort().targets.index[cohort().targets["phenotype"] == "case"]
    split = Split("cases only", tuple(cases[:20]), (), tuple(cohort().targets.index.difference(cases[:20])))
    with pytest.raises(ValueError, match="the same in all 20 samples"):
        trained(kind="equalised", draws=(0,), splits=(split,))


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="the kind of null"):
        trained(kind="label", draws=(0,))
    with pytest.raises(ValueError, match="none twice"):
        trained(kind="labels", draws=(1, 1))
    with pytest.raises(ValueError, match="at least one"):
        drawn(replicates_of(folds(), 1), "rewired", ())

"""The protocol on our fits and on plain modules: scores by slow sums, planted truth, both forms, bad input."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tests.planted import cohort, folds, wiring
from vnn._errors import AlignmentError
from vnn.interpret import attributions, node_scores
from vnn.interpret.protocol import DISJOINT, OVERLAPPING, Protocol, protocol
from vnn.models import Recipe
from vnn.training import Fit, Training, fit

N_GENES = 40
MARKERS = [f"g{i}" for i in range(3)]


@cache
def trained(target: str = "phenotype") -> Fit:
    return fit(wiring(), cohort(), target=target, splits=folds(), n_seeds=2, recipe=Recipe(units={"set 1": 2}),
               training=Training(epochs=3))  # fmt: skip


@cache
def of_fit(target: str = "phenotype", as_published: bool = False) -> Protocol:
    return protocol(trained(target), cohort(), as_published=as_published, top=0.1, most_samples=12)


@cache
def people() -> tuple[pd.DataFrame, list[int]]:
    """Two classes that differ in the first three genes; the last gene is expressed most."""
    rng = np.random.default_rng(2)
    labels = np.arange(60) % 2
    x = rng.normal(size=(60, N_GENES))
    x[:, :3] += 2 * labels[:, None]
    x[:, -1] += 9
    return pd.DataFrame(x, columns=[f"g{i}" for i in range(N_GENES)]), labels.tolist()


def module(seed: int, n_classes: int = 2) -> nn.Module:
    """A one-hidden-layer network that sums the first three genes, with noise of its own in every weight."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(N_GENES, 8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, n_classes))
        with torch.no_grad():
            network[0].weight.mul_(0.3)
            network[0].weight[:, :3] += 0.5
            network[3].weight[-1] += 1.0
    return network


@cache
def of_modules(as_published: bool = False) -> Protocol:
    frame, labels = people()
    lists = {"markers": MARKERS, "elsewhere": ["BRCA1"]}
    return protocol([module(i) for i in range(6)], frame, labels=labels, as_published=as_published, top=3, lists=lists,
                    n_draws=2, most_samples=8, dropout_repeats=2)  # fmt: skip


@pytest.mark.parametrize("target", ["phenotype", "thirds", "quantity"])
def test_the_score_of_a_network_is_its_part_of_the_node_score(target: str) -> None:
    """Against `node_scores`, which averages over networks on its own path: raw scores are taken from one network a split."""
    made = trained(target)
    found = of_fit(target).importance
    scores = node_scores(made, cohort()).table
    for contrast, level in {(c, "inputs") for c in found["contrast"]} | {(c, "level 1") for c in found["contrast"]}:
        slow = []
        label = str(contrast).split(" minus ")[0] if made.target.classes else None
        explained = attributions(made, cohort(), label=label)
        y = cohort().targets[target]
        for r, name in enumerate(made.replicates["split"]):
            ids = list(next(s for s in made.splits if s.name == name).test)
            a = explained.levels[level][cohort().index(ids), r].astype(float)
            if label is None:
                score = np.array([np.polyfit(y.loc[ids].astype(float), column, 1)[0] for column in a.T])
            else:
                inside = y.loc[ids].to_numpy() == label
                score = a[inside].mean(0) - a[~inside].mean(0)
            slow.append(score)
        raw = np.mean(slow, axis=0)
        shares = np.mean([s / np.abs(s).sum() for s in slow], axis=0)
        mine = found[(found["contrast"] == contrast) & (found["level"] == level)].set_index("node")["score"]
        theirs = scores[(scores["contrast"] == contrast) & (scores["level"] == level)].set_index("node")["score"]
        assert raw == pytest.approx(theirs.loc[list(explained.nodes[level])].to_numpy(), abs=1e-6)
        assert mine.loc[list(explained.nodes[level])].to_numpy() == pytest.approx(shares, abs=1e-5)


def test_as_published_ranks_samples_for_their_own_class() -> None:
    found = of_fit("thirds", as_published=True)
    assert found.n_explained == 12
    assert set(found.importance["contrast"]) == {"low", "middle", "high"}
    assert "universal" in found.words()
    assert set(found.curves["explainer"]) == {"DeepLIFT (universal)"}


def test_both_ways_to_draw_sets_stand_side_by_side() -> None:
    for found in (of_fit(), of_fit(as_published=True), of_modules(), of_modules(as_published=True)):
        n = found.curves.groupby("models")["n"].unique()
        assert n[DISJOINT].tolist() == [1, 2, 3]
        assert n[OVERLAPPING].tolist() == [1, 2, 3, 4, 5]
        assert (found.curves.loc[found.curves["models"] == DISJOINT, "shared"] == 0).all()
        sets = found.curves[found.curves["models"] == OVERLAPPING].drop_duplicates("n").set_index("n")["n_sets"]
        assert sets.to_dict() == {1: 60, 2: 30, 3: 20, 4: 15, 5: 12}
        assert (found.curves["overlap"].between(0, 1)).all()


def test_the_planted_genes_come_first_in_plain_models() -> None:
    found = of_modules()
    first = found.importance[found.importance["explainer"] == "DeepLIFT (mean)"].nsmallest(3, "rank")["node"]
    assert set(first) == set(MARKERS)
    apart = found.curves[(found.curves["explainer"] == "DeepLIFT (mean)") & (found.curves["models"] == DISJOINT)]
    assert apart.set_index("n").loc[3, "overlap"] > 0.9
    lists = found.lists[found.lists["explainer"] == "DeepLIFT (mean)"].set_index("list")
    assert lists.loc["markers", ["n_measured", "top", "found"]].tolist() == [3, 3, 3]
    assert lists.loc["markers", "expected"] == pytest.approx(9 / 40)
    assert lists.loc["most expressed", "n_measured"] == 3
    assert any("'elsewhere': none of its 1 genes" in reason for reason in found.left_out)


def test_every_explainer_has_its_row_and_completeness_where_it_is_defined() -> None:
    found = of_modules()
    names = set(found.completeness["explainer"])
    assert names == {
        f"{name}{on}"
        for on in ("", ", dropout on")
        for name in (
            "DeepLIFT (mean)", "integrated gradients (mean)", "gradient x input", "saliency", "guided backpropagation"
        )
    }  # fmt: skip
    errors = found.completeness.set_index("explainer")
    assert errors.loc["saliency"].isna().all()
    assert errors.loc["DeepLIFT (mean), dropout on", "largest_error"] < 1e-3 * errors.loc["DeepLIFT (mean)", "scale"]
    assert of_fit().completeness["largest_error"].max() < 1e-4


def test_the_matrix_is_symmetric_and_its_diagonal_is_one_on_the_same_models() -> None:
    matrix = of_modules().matrix
    for column in ("overlap", "spearman", "overlap_disjoint", "spearman_disjoint"):
        square = matrix.pivot(index="explainer", columns="other", values=column)
        assert np.allclose(square, square.T, equal_nan=True)
    own = matrix[matrix["explainer"] == matrix["other"]]
    assert np.allclose(own["overlap"], 1)
    assert (own["overlap_disjoint"] <= 1).all()


def test_trivial_rankings_are_those_of_the_data() -> None:
    trivial = of_fit().trivial
    assert set(trivial.loc[trivial["level"] == "level 1", "ranking"]) >= {"mean expression", "variance"}
    found = of_fit().importance
    mine = found[found["level"] == "inputs"].set_index("node")["score"].abs()
    samples = cohort().select(wiring().inputs)
    mean = pd.Series(samples.values.astype(float).mean(1), samples.features)
    row = trivial[(trivial["level"] == "inputs") & (trivial["ranking"] == "mean expression")]
    assert row["spearman"].item() == pytest.approx(mine.corr(mean.loc[mine.index], method="spearman"), abs=1e-6)


def test_the_same_call_gives_the_same_tables_and_another_seed_others() -> None:
    again = protocol(trained(), cohort(), top=0.1)
    for name, table in of_fit().tables().items():
        pd.testing.assert_frame_equal(table, again.tables()[name])
    other = protocol(trained(), cohort(), top=0.1, seed=1)
    assert not other.curves.equals(again.curves)
    assert other.importance.equals(again.importance)


def test_new_names_of_genes_change_no_number() -> None:
    frame, labels = people()
    models = [module(i) for i in range(4)]
    asked = {"labels": labels, "explainers": ["gradient x input"], "top": 3}
    one = protocol(models, frame, **asked)  # type: ignore[arg-type]
    other = protocol(models, frame.rename(columns=lambda name: f"x{name}"), **asked)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(one.curves, other.curves)
    order = np.random.default_rng(0).permutation(len(frame))
    shuffled = protocol(models, frame.iloc[order], **asked | {"labels": [labels[i] for i in order]})  # type: ignore[arg-type]
    assert np.allclose(one.curves["spearman"], shuffled.curves["spearman"])


def test_labels_may_be_names_predicted_or_a_column() -> None:
    frame, labels = people()
    models, asked = [module(0), module(1)], {"explainers": ["gradient x input"], "top": 3}
    numbers = protocol(models, frame, labels=labels, **asked)  # type: ignore[arg-type]
    named = pd.Series(["case" if i else "control" for i in labels], frame.index)[::-1]
    names = protocol(models, frame, labels=named, classes=["control", "case"], **asked)  # type: ignore[arg-type]
    assert np.allclose(numbers.importance["score"], names.importance["score"])
    assert set(names.importance["contrast"]) == {"case minus control"}
    for model in models:
        with torch.no_grad():
            model[3].bias += torch.tensor([float(np.median(logit_gaps(model, frame))), 0.0])
    predicted = protocol(models, frame, **asked)  # type: ignore[arg-type]
    assert "the class the models predict" in predicted.words()


def logit_gaps(model: nn.Module, frame: pd.DataFrame) -> np.ndarray:
    """Second logit minus first of every sample."""
    with torch.no_grad():
        found = model.eval()(torch.from_numpy(frame.to_numpy(dtype=np.float32).copy()))
    return (found[:, 1] - found[:, 0]).numpy()


def test_one_model_has_no_curve_and_says_why() -> None:
    frame, labels = people()
    found = protocol([module(0)], frame, labels=labels, explainers=["saliency"], top=3)
    assert found.curves.empty
    assert any(reason.startswith("curves: there is one model") for reason in found.left_out)
    assert found.matrix["overlap_disjoint"].isna().all()
    assert "Left out: curves" in found.words()


def test_small_levels_and_undefined_explainers_are_left_out_with_the_reason() -> None:
    assert any("level 3: it has 1 nodes" in reason for reason in of_fit().left_out)
    frame, labels = people()
    models = [nn.Sequential(module(i)[0], nn.GELU(), module(i)[3]) for i in range(2)]
    found = protocol(models, frame, labels=labels, explainers=["DeepLIFT", "saliency"], top=3, dropout_repeats=1)
    assert any(r.startswith("DeepLIFT (mean): model 0: Captum has no rule for GELU") for r in found.left_out)
    assert any("no dropout module" in reason for reason in found.left_out)
    with pytest.raises(ValueError, match=r"no explainer could be used.*no rule for GELU"):
        protocol(models, frame, labels=labels, explainers=["DeepLIFT"], top=3)
    with pytest.raises(ValueError, match="the top 30 of 40 nodes are more than half"):
        protocol(models, frame, labels=labels, top=30)


def bad(**changed: object) -> None:
    frame, labels = people()
    asked: dict[str, object] = {"models": [module(0), module(1)], "samples": frame, "labels": labels, "top": 3}
    protocol(**(asked | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"models": module(0)}, TypeError, "the models are a Sequential"),
        ({"samples": [[1.0, 2.0]]}, TypeError, "the samples are a list"),
        ({"samples": people()[0].iloc[:1]}, ValueError, "there are 1 samples; at least 2"),
        ({"samples": people()[0].assign(g3=np.nan)}, ValueError, "1 of 40 genes are missing or infinite: 'g3'"),
        ({"samples": people()[0].assign(g3="a")}, ValueError, "not a number"),
        ({"samples": people()[0].iloc[:, :9]}, ValueError, "model 0 cannot take values"),
        ({"labels": [0, 1]}, AlignmentError, "there are 2 labels for 60 samples"),
        ({"labels": [0, 5] * 30}, ValueError, "30 labels are not positions among the 2 logits: '5'"),
        ({"labels": ["a", "b"] * 30}, ValueError, "For names give classes="),
        ({"labels": [1] * 60}, ValueError, "are of one class"),
        ({"labels": [None, 1] * 30}, ValueError, "30 of 60 samples have no label"),
        ({"labels": pd.Series([0, 1], ["a", "b"])}, AlignmentError, "`labels` lacks 60 of 60"),
        ({"classes": ["only"]}, ValueError, "there are 1 classes"),
        ({"explainers": ["DeepLIFTs"]}, ValueError, "Did you mean 'DeepLIFT'"),
        ({"explainers": "DeepLIFT"}, TypeError, "lists of names"),
        ({"explainers": []}, ValueError, "no explainer is asked for"),
        ({"references": ["median"]}, ValueError, "the reference is 'median'"),
        ({"levels": ["inputs"]}, ValueError, "no named levels"),
        ({"top": 0}, ValueError, "`top` is 0"),
        ({"top": 2.5}, ValueError, r"`top` is 2\.5"),
        ({"n_draws": 0}, ValueError, "`n_draws` is 0"),
        ({"dropout_repeats": -1}, ValueError, "`dropout_repeats` is -1"),
        ({"background": people()[0].iloc[:, :5]}, AlignmentError, "the background has 5 genes and the samples 40"),
        ({"lists": {"one": "g1"}}, TypeError, "the list 'one' is a text"),
        ({"models": trained()}, ValueError, "a fit knows its labels"),
        ({"models": trained(), "labels": None}, TypeError, "the samples are a DataFrame; a fit needs"),
    ],
)
def test_bad_input(changed: dict[str, object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        bad(**changed)


def test_a_fit_needs_its_own_samples_and_known_levels() -> None:
    with pytest.raises(AlignmentError, match="the samples the fit was made from"):
        protocol(trained(), cohort(100))
    with pytest.raises(ValueError, match="Did you mean 'level 1'"):
        protocol(trained(), cohort(), levels=["level1"])

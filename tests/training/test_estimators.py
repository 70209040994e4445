"""Estimators against scikit-learn's own checks, against `fit`, and on planted cohorts."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from tests.planted import cohort, wiring
from vnn._errors import AlignmentError
from vnn.data import Samples, simulate_expression
from vnn.interpret import activities
from vnn.models import Recipe
from vnn.ontology import Ontology, load_ontology
from vnn.training import Training, fit
from vnn.training.estimators import NoOntologyWarning, VNNClassifier, VNNRegressor

X = cohort().to_frame()
Y = cohort().targets["phenotype"]
QUANTITY = cohort().targets["quantity"]
THIRDS = cohort().targets["thirds"]


def classifier(**settings: Any) -> VNNClassifier:
    return VNNClassifier(**{"topology": wiring(), "epochs": 3, "batch_size": 120} | settings)


def regressor(**settings: Any) -> VNNRegressor:
    return VNNRegressor(**{"topology": wiring(), "epochs": 3, "batch_size": 120} | settings)


@pytest.mark.filterwarnings("ignore::vnn.training.estimators.NoOntologyWarning")
@parametrize_with_checks([kind(epochs=30, batch_size=512, lr=0.02) for kind in (VNNClassifier, VNNRegressor)])
def test_scikit_learn_agrees(estimator: Any, check: Callable[[Any], None]) -> None:
    state = np.random.get_state()  # noqa: NPY002
    check(estimator)
    np.random.set_state(state)  # noqa: NPY002  scikit-learn's own checks draw from it


@pytest.mark.parametrize("kind", [VNNClassifier, VNNRegressor])
def test_defaults_are_those_of_recipe_and_training(kind: type) -> None:
    given = kind().get_params()
    known = dict(Recipe()) | dict(Training())
    shared = given.keys() & known.keys()
    assert {name: given[name] for name in shared} == {name: known[name] for name in shared}
    left_out = {"covariates", "min_gain", "dtype"} | ({"class_weight"} if kind is VNNRegressor else set())
    assert known.keys() - shared == left_out
    assert given.keys() - shared == {"topology", "n_networks", "validation", "random_state"}


@pytest.mark.parametrize("n_networks", [1, 2])
@pytest.mark.parametrize("target", ["phenotype", "thirds"])
def test_a_classifier_is_a_call_of_fit(target: str, n_networks: int) -> None:
    y = cohort().targets[target]
    settings = {"lr": 0.01, "clip": 1.0, "batch_size": 32}
    recipe = {"units": 2, "heads": "outputs", "dropout": 0.1}
    made = classifier(**settings, **recipe, n_networks=n_networks, random_state=3).fit(X, y)
    frame = X.set_axis(list(made.fit_.ids))
    samples = Samples.from_frame(frame, targets=pd.DataFrame({"y": y.to_numpy()}, index=frame.index))
    direct = fit(
        wiring(), samples, target="y", splits=made.fit_.splits, n_seeds=n_networks, recipe=Recipe(**recipe),
        training=Training(epochs=3, **settings), seed=3,
    )  # fmt: skip
    expected = direct.predict(samples).values.mean(axis=1)
    assert np.allclose(made.predict_proba(X), expected, rtol=1e-9, atol=1e-12)
    assert np.array_equal(made.predict(X), np.array(direct.target.classes)[expected.argmax(axis=1)])
    decision = np.log(expected[:, 1] / expected[:, 0]) if target == "phenotype" else np.log(expected)
    assert np.allclose(made.decision_function(X), decision, rtol=1e-6, atol=1e-9)


def test_probabilities_of_a_classifier_are_calibrated() -> None:
    samples = cohort(300)
    y = samples.targets["phenotype"].to_numpy()
    made = classifier(epochs=12, n_networks=2, lr=0.01).fit(samples.to_frame(), y)
    assert all(t.value != 1 and t.n_samples >= 50 for t in made.fit_.temperatures)
    z = made.fit_.predict(made._samples(samples.to_frame())).logits[:, :, 0]
    wanted = (1 / (1 + np.exp(-z / [t.value for t in made.fit_.temperatures]))).mean(1)
    assert np.allclose(made.predict_proba(samples.to_frame())[:, 1], wanted)


def test_a_regressor_is_a_call_of_fit() -> None:
    made = regressor(n_networks=2).fit(X, QUANTITY)
    frame = X.set_axis(list(made.fit_.ids))
    samples = Samples.from_frame(frame, targets=pd.DataFrame({"y": QUANTITY.to_numpy()}, index=frame.index))
    training = Training(epochs=3, batch_size=120)
    direct = fit(
        wiring(), samples, target="y", splits=made.fit_.splits, n_seeds=2, task="regression", training=training
    )  # fmt: skip
    assert np.array_equal(made.predict(X), direct.predict(samples).logits[:, :, 0].mean(axis=1))


def test_every_setting_reaches_the_networks() -> None:
    chosen = {
        "activation": "relu", "normalisation": "none", "units": {"root": 3}, "dropout": 0.3, "input_dropout": 0.1,
        "heads": "outputs", "head_weight": 0.7, "epochs": 2, "batch_size": 16, "optimiser": "sgd", "lr": 0.02,
        "weight_decay": 0.5, "schedule": "plateau", "patience": 7, "clip": 2.0, "class_weight": "none",
        "scaling": "minmax", "impute": "median",
    }  # fmt: skip
    made = classifier(**chosen).fit(X, Y).fit_
    kept = made.networks.recipe.model_dump() | made.training.model_dump()
    assert {name: kept[name] for name in chosen} == chosen
    assert classifier(class_weight=None, epochs=1).fit(X, Y).fit_.training.class_weight == "none"
    with pytest.raises(ValueError, match="lr"):
        classifier(lr=-1.0).fit(X, Y)


@cache
def small_pathways() -> tuple[Ontology, pd.DataFrame, pd.Series]:
    ontology = load_ontology("human-small")
    simulated = simulate_expression(
        ontology.gene_sets(), causal="Mismatch repair", n_samples=150, oracle_auc=0.99, r2=0.5, seed=1
    )
    return ontology, simulated.samples.to_frame(), simulated.samples.targets["phenotype"]


def test_a_planted_pathway_is_learnt_and_a_permuted_label_is_not() -> None:
    ontology, frame, y = small_pathways()
    learner = VNNClassifier(ontology, epochs=10, lr=0.02)
    assert cross_val_score(learner, frame, y, cv=3, scoring="roc_auc").mean() > 0.75
    shuffled = np.random.default_rng(1).permutation(y)
    assert cross_val_score(learner, frame, shuffled, cv=3, scoring="roc_auc").mean() < 0.65


def test_a_planted_quantity_is_learnt() -> None:
    assert cross_val_score(regressor(epochs=20, lr=0.05), X, QUANTITY, cv=3).mean() > 0.5


def test_features_join_by_name_and_the_others_are_counted() -> None:
    shuffled = X.sample(frac=1, axis=1, random_state=1)
    wide = shuffled.assign(unknown=1.0, another=2.0)
    plain, moved, more = (classifier().fit(frame, Y) for frame in (X, shuffled, wide))
    assert list(shuffled.columns) != list(X.columns)
    assert np.array_equal(plain.predict_proba(X), moved.predict_proba(shuffled))
    assert np.array_equal(plain.predict_proba(X), more.predict_proba(wide))
    assert (plain.n_unused_features_, more.n_unused_features_) == (0, 2)
    assert any("'another', 'unknown'" in line for line in more.fit_.about["log"])
    with pytest.raises(ValueError, match="same order"):
        plain.predict(shuffled)


def test_an_absent_feature_is_named() -> None:
    gene = wiring().inputs[4]
    with pytest.raises(AlignmentError, match=f"lacks 1 of the .* inputs of the topology: '{gene}'"):
        classifier().fit(X.drop(columns=gene), Y)


def test_arrays_follow_the_order_of_the_inputs() -> None:
    inputs = list(wiring().inputs)
    values = X[inputs].to_numpy()
    assert np.array_equal(classifier().fit(values, Y).predict_proba(values), classifier().fit(X, Y).predict_proba(X))
    with pytest.raises(AlignmentError, match=r"Pass a DataFrame .*set_output\(transform=\"pandas\"\)"):
        classifier().fit(np.c_[values, values[:, :1]], Y)


def test_an_ontology_needs_names_and_makes_the_topology() -> None:
    ontology, frame, y = small_pathways()
    made = VNNClassifier(ontology, epochs=1).fit(frame, y)
    assert made.topology_.fingerprint == ontology.topology(list(frame.columns)).fingerprint
    with pytest.raises(AlignmentError, match="Pass a DataFrame"):
        VNNClassifier(ontology, epochs=1).fit(frame.to_numpy(), y)
    with pytest.raises(TypeError, match="`topology` is a str"):
        VNNClassifier("human-small").fit(frame, y)


def test_without_a_topology_features_are_nodes_and_the_user_is_told() -> None:
    with pytest.warns(NoOntologyWarning, match="Pass `topology`") as told:
        made = VNNClassifier(epochs=1).fit(X, Y)
    assert told[0].filename == __file__
    assert made.topology_.level("level 1").nodes == tuple(sorted(X.columns))
    assert made.topology_.outputs == (("level 2", "root"),)


def test_a_column_may_have_the_name_of_the_root() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoOntologyWarning)
        made = VNNRegressor(epochs=1).fit(X.iloc[:, :2].set_axis(["root", "inputs"], axis=1), QUANTITY)
    assert made.topology_.level("level 1").nodes == ("inputs", "root")


@pytest.mark.parametrize("units", [1, 2])
def test_activities_are_those_of_the_fit(units: int) -> None:
    made = classifier(units=units, n_networks=2).fit(X, Y)
    expected = activities(made.fit_, cohort()).table(held_out=False)
    found = made.activities(X)
    assert list(found.index) == list(X.index)
    assert list(found.columns) == list(expected.columns)
    assert np.allclose(found, expected.loc[found.index], atol=1e-5)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        assert np.array_equal(made.activities(X.to_numpy()), found)


def test_labels_of_any_kind_come_back() -> None:
    for labels in (["b", "a"], [7, -1], [True, False], [2.0, 1.0], np.array(["b", "a"], dtype=object)):
        y = np.where(Y == "case", labels[0], labels[1])
        made = classifier(epochs=1).fit(X, y)
        assert made.classes_.tolist() == sorted(labels)
        assert set(made.predict(X)) <= set(labels)
        assert made.classes_.dtype == y.dtype == made.predict(X).dtype
    likely = classifier(epochs=30, lr=0.02).fit(X, np.where(Y == "case", "a", "b"))
    assert list(likely.classes_) == ["a", "b"]
    assert roc_auc_score(Y == "case", likely.predict_proba(X)[:, 0]) > 0.8


def test_weights_by_class_multiply_the_odds() -> None:
    plain = classifier().fit(X, THIRDS)
    weighed = classifier(class_weight={"high": 5.0, "low": 2.0}).fit(X, THIRDS)
    weight = np.array([5.0, 2.0, 1.0])
    expected = plain.predict_proba(X) * weight
    assert np.allclose(weighed.predict_proba(X), expected / expected.sum(axis=1, keepdims=True))
    odds = classifier(class_weight={"case": 3}).fit(X, Y).decision_function(X) - classifier().fit(
        X, Y
    ).decision_function(X)
    case_is_second = sorted(set(Y))[1] == "case"
    assert np.allclose(odds, np.log(3) * (1 if case_is_second else -1))
    with pytest.raises(ValueError, match="positive"):
        classifier(class_weight={"case": 0.0}).fit(X, Y)


def test_input_that_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(ValueError, match="`y` has 1 class, 'yes', in all of 120 samples"):
        classifier().fit(X, ["yes"] * len(X))
    with pytest.raises(ValueError, match="at least two different labels"):
        regressor().fit(X, np.ones(len(X)))
    with pytest.raises(ValueError, match="1 sample"):
        classifier().fit(X[:1], Y[:1])
    with pytest.raises(ValueError, match="1 feature"):
        classifier().fit(X[[wiring().inputs[0]]], Y)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        classifier().fit(sparse.csr_array(X.to_numpy()), Y)
    with pytest.raises(NotFittedError):
        classifier().activities(X)
    made = classifier(epochs=1).fit(X, Y)
    for method in (made.predict, made.predict_proba, made.decision_function, made.activities):
        with pytest.raises(ValueError, match="0 sample"):
            method(X[:0])


def test_missing_values_need_an_imputation() -> None:
    gappy = X.mask(np.random.default_rng(0).random(X.shape) < 0.1)
    with pytest.raises(ValueError, match="contains NaN"):
        classifier().fit(gappy, Y)
    with pytest.raises(ValueError, match="contains NaN"):
        classifier().fit(X, Y).predict(gappy)
    made = classifier(impute="mean").fit(gappy, Y)
    assert np.isfinite(made.predict_proba(gappy)).all()
    assert np.isfinite(made.activities(gappy)).to_numpy().all()
    assert made.__sklearn_tags__().input_tags.allow_nan
    assert not classifier().__sklearn_tags__().input_tags.allow_nan


def test_a_part_of_every_class_decides_when_to_stop() -> None:
    (split,) = classifier(validation=0.25).fit(X, THIRDS).fit_.splits
    labels = dict(zip([f"row {row:03}" for row in range(120)], THIRDS, strict=True))
    assert split.test == ()
    assert pd.Series([labels[name] for name in split.validation]).value_counts().to_dict() == {
        "low": 10, "middle": 10, "high": 10,
    }  # fmt: skip
    (none,) = classifier(validation=0).fit(X, Y).fit_.splits
    assert none.validation == ()
    assert classifier(epochs=30, lr=0.05, patience=1).fit(X, Y).n_iter_ < 30


def test_classes_too_small_to_divide_are_only_learnt_from() -> None:
    y = Y.to_numpy(dtype=object).copy()
    y[17] = "single"
    (split,) = classifier(epochs=1).fit(X, y).fit_.splits
    assert "row 017" in split.train
    assert len(split.validation) == 24
    few = pd.concat([X[Y == "case"][:4], X[Y == "control"][:5]])
    labels = ["case"] * 4 + ["control"] * 5
    made = classifier(patience=1, epochs=6).fit(few, labels)
    assert made.fit_.splits[0].validation == ()
    assert made.n_iter_ == 6
    (all_different,) = classifier(epochs=1).fit(X[:10], [f"class {i}" for i in range(10)]).fit_.splits
    assert len(all_different.train) == 10
    assert regressor(epochs=1).fit(X[:9], QUANTITY[:9]).fit_.splits[0].validation == ()


@pytest.mark.parametrize(("learner", "y"), [(classifier, Y), (regressor, QUANTITY)])
def test_the_same_random_state_gives_the_same_bits(learner: Callable[..., Any], y: pd.Series) -> None:
    def outcome(random_state: Any) -> np.ndarray:
        made = learner(random_state=random_state).fit(X, y)
        return made.predict_proba(X) if hasattr(made, "predict_proba") else made.predict(X)

    assert np.array_equal(outcome(1), outcome(np.int64(1)))
    assert not np.array_equal(outcome(1), outcome(2))
    assert np.array_equal(outcome(np.random.RandomState(5)), outcome(np.random.RandomState(5)))
    state = np.random.RandomState(5)
    assert not np.array_equal(outcome(state), outcome(state))
    assert not np.array_equal(outcome(None), outcome(None))


def test_numbers_are_taken_as_float32() -> None:
    single, double = X.astype(np.float32), X.astype(np.float64)
    made = classifier().fit(double, Y)
    assert np.array_equal(classifier().fit(single, Y).predict_proba(single), made.predict_proba(double))
    double.iloc[3, 4] = 1e300
    with pytest.raises(ValueError, match="too large"):
        made.predict(double)


def test_a_clone_and_a_pickle_are_the_same() -> None:
    learner = classifier(units={"root": 2}, class_weight={"case": 2.0})
    again = clone(learner)
    assert again.topology.fingerprint == learner.topology.fingerprint
    made = learner.fit(X, Y)
    assert np.array_equal(again.fit(X, Y).predict_proba(X), made.predict_proba(X))
    revived = pickle.loads(pickle.dumps(made))
    assert np.array_equal(revived.predict_proba(X), made.predict_proba(X))
    assert revived.activities(X).equals(made.activities(X))


def test_a_pipeline_keeps_the_names() -> None:
    pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), classifier()).fit(X, Y)
    assert list(pipeline[-1].feature_names_in_) == list(X.columns)
    assert np.allclose(pipeline.predict_proba(X), classifier().fit(X, Y).predict_proba(X), atol=1e-2)
    with pytest.raises(AlignmentError, match="set_output"):
        make_pipeline(StandardScaler(), VNNClassifier(small_pathways()[0])).fit(X, Y)


def test_a_grid_search_finds_the_better_rate() -> None:
    search = GridSearchCV(regressor(start="random", epochs=15), {"lr": np.array([1e-6, 0.02])}, cv=2).fit(X, QUANTITY)
    assert search.best_params_ == {"lr": 0.02}
    assert search.best_estimator_.fit_.training.lr == 0.02
    assert np.array_equal(search.predict(X), regressor(start="random", epochs=15, lr=0.02).fit(X, QUANTITY).predict(X))


def test_other_processes_give_the_same_scores() -> None:
    alone = cross_val_score(classifier(), X, Y, cv=2, scoring="neg_log_loss")
    together = cross_val_score(classifier(), X, Y, cv=2, scoring="neg_log_loss", n_jobs=2)
    assert np.allclose(alone, together, rtol=1e-4)

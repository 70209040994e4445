"""Visible networks as scikit-learn estimators, for pipelines, grid searches and cross-validation."""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import log_softmax, logsumexp
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from vnn._errors import AlignmentError, culprits
from vnn.data.samples import Samples
from vnn.data.splits import Split, hold_out
from vnn.models import Recipe
from vnn.ontology.ontology import Ontology
from vnn.ontology.topology import Topology
from vnn.training.fitting import fit
from vnn.training.settings import Training

FEWEST = 10
FLAT = 1e-12
TARGET = "target"


class NoOntologyWarning(UserWarning):
    """A network was made without an ontology, so that its nodes are no pathways."""


@dataclass(eq=False, repr=False)
class _VisibleEstimator(BaseEstimator):
    """What the classifier and the regressor share: their settings, the topology, the data and the activities."""

    topology: Topology | Ontology | None = None
    _: KW_ONLY
    activation: str = "tanh"
    normalisation: str = "batch"
    units: int | Mapping[str, int] = 1
    dropout: float = 0.2
    input_dropout: float = 0.5
    heads: str = "levels"
    head_weight: float = 0.3
    start: str = "associations"
    epochs: int = 200
    batch_size: int = 64
    optimiser: str = "adamw"
    lr: float = 3e-3
    weight_decay: float = 1.0
    l1_weights: float = 0.0
    l1_activities: float = 0.0
    schedule: str = "constant"
    patience: int = 20
    clip: float = 0.0
    scaling: str = "standard"
    impute: str = "none"
    n_networks: int = 1
    validation: float = 0.2
    random_state: int | np.random.RandomState | None = 0

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.impute != "none"
        return tags

    def activities(self, X: ArrayLike) -> pd.DataFrame:
        """The activity of every node in every sample.

        Oriented without labels, in standard deviations of the samples the networks learnt from, averaged over
        the networks. Activities of the samples given to `fit` are not held out; take them from a fold that left
        them out, or from new samples.

        Returns
        -------
        A row per sample and a column `level/node` per node; the index of `X` if it has one.
        """
        check_is_fitted(self)
        fit, sound = self.fit_, self.fit_.sound
        tables = []
        for level, values in fit.read(self._samples(X)).items():
            mean, sd = (part.T[sound] for part in (fit.readings[level].mean, fit.readings[level].sd))
            standard = (values - mean) / np.where(sd > FLAT, sd, np.inf)
            tables.append(pd.DataFrame(standard.mean(axis=1), columns=[f"{level}/{node}" for node in fit.nodes(level)]))
        table = pd.concat(tables, axis=1)
        return table.set_axis(X.index, axis=0) if isinstance(X, pd.DataFrame) else table

    def _checked(self, X: ArrayLike, **asked: Any) -> Any:
        """`X`, and a `y` among what is asked, as scikit-learn's checks leave them."""
        finite = True if self.impute == "none" else "allow-nan"
        with np.errstate(over="ignore"):  # what overflows becomes infinite, which is refused
            return validate_data(self, X, dtype=np.float32, ensure_all_finite=finite, **asked)

    def _samples(self, X: ArrayLike) -> Samples:
        """Samples that may be new, with the inputs of the fitted topology."""
        return _samples_of(self._checked(X, reset=False), self._columns, self.topology_, "new row")

    def _learn(
        self, X: np.ndarray, y: np.ndarray, *, task: str, names: tuple[str, ...] | None, class_weight: str = "none"
    ) -> None:
        """Train on checked `X` and `y`: numbers, or names of classes."""
        settings = self.get_params(deep=False) | {"class_weight": class_weight}
        recipe = Recipe(**{name: settings[name] for name in Recipe.model_fields if name in settings})
        training = Training(**{name: settings[name] for name in Training.model_fields if name in settings})
        seed = _seed_of(self.random_state)
        features = self._features()
        self.topology_ = self._wired(features)
        place = {name: column for column, name in enumerate(features)}
        if absent := [name for name in self.topology_.inputs if name not in place]:
            raise AlignmentError(
                f"`X` lacks {len(absent):,} of the {len(self.topology_.inputs):,} inputs of the topology: {culprits(absent)}; "
                f"its columns look like {culprits(features[:3])}. Make the topology from the columns, "
                "`ontology.topology(list(X.columns))`, or pass the ontology itself."
            )
        self._columns = np.array([place[name] for name in self.topology_.inputs])
        unused = sorted(set(features) - set(self.topology_.inputs))
        self.n_unused_features_ = len(features) - len(self._columns)
        log = (f"X: {len(unused):,} of {len(features):,} columns are not in the topology: {culprits(unused)}",)
        samples = _samples_of(X, self._columns, self.topology_, "row", labels=y, log=log if unused else ())
        split = _split(samples, y, None if names is None else samples.targets[TARGET], self.validation, seed)
        self.fit_ = fit(
            self.topology_, samples, target=TARGET, splits=[split], n_seeds=self.n_networks, recipe=recipe,
            training=training, task=task, classes=names, seed=seed,
        )  # fmt: skip
        self.n_iter_ = len(self.fit_.history["epoch"].unique())
        _ = self.fit_.sound  # raises if all diverged

    def _features(self) -> tuple[str, ...]:
        """Names of the columns: their own, those of the inputs of a topology, or numbers."""
        if hasattr(self, "feature_names_in_"):
            return tuple(map(str, self.feature_names_in_))
        advice = (
            "Pass a DataFrame with a column per feature; a transformer of a pipeline returns one after "
            '`.set_output(transform="pandas")`.'
        )
        if isinstance(self.topology, Ontology):
            raise AlignmentError(
                f"`X` has {self.n_features_in_:,} columns without names, and an ontology wires features by name. {advice}"
            )
        if isinstance(self.topology, Topology):
            inputs = self.topology.inputs
            if self.n_features_in_ != len(inputs):
                raise AlignmentError(
                    f"`X` has {self.n_features_in_:,} columns without names; they must be exactly the {len(inputs):,} inputs "
                    f"of the topology, in the order of `topology.inputs`. {advice}"
                )
            return inputs
        return tuple(f"x{column}" for column in range(self.n_features_in_))

    def _wired(self, features: tuple[str, ...]) -> Topology:
        if isinstance(self.topology, Topology):
            return self.topology
        if isinstance(self.topology, Ontology):
            return self.topology.topology(features)
        if self.topology is not None:
            raise TypeError(
                f"`topology` is a {type(self.topology).__name__}; pass a vnn.Topology, or a vnn.Ontology such as "
                'vnn.load_ontology("human-small").'
            )
        warnings.warn(
            f"{type(self).__name__} has no topology, so each of its {len(features):,} features is a node of its own and "
            "no node is a pathway. Pass `topology`: a vnn.Topology, or a vnn.Ontology such as "
            'vnn.load_ontology("human-small").',
            NoOntologyWarning,
            stacklevel=4,
        )
        edges = pd.DataFrame(
            [("inputs", name, "level 1", name) for name in features]
            + [("level 1", name, "level 2", "root") for name in features],
            columns=["source_level", "source", "target_level", "target"],
        )
        return Topology.from_edges({"inputs": features, "level 1": features, "level 2": ["root"]}, edges)


@dataclass(eq=False, repr=False, kw_only=True)
class VNNClassifier(ClassifierMixin, _VisibleEstimator):
    """A visible network that tells classes apart.

    It does what `vnn.fit` does with one split, whose test part is empty: scikit-learn deals out the folds.
    A study of its own, with several splits and held-out activities, is `vnn.fit` or `vnn.run_study`.

    Parameters
    ----------
    topology
        A `Topology`, or an `Ontology` from which one is made of the columns of `X`. Without it every feature is a
        node of its own under one root, with a warning. A DataFrame meets the topology by name, its columns in any
        order, and columns the topology does not use are counted in `n_unused_features_`. An array
        must have exactly the inputs of the topology, in the order of `topology.inputs`, and no array meets an ontology.
    activation, normalisation, units, dropout, input_dropout, heads, head_weight
        As in `Recipe`.
    start, epochs, batch_size, optimiser, lr, weight_decay, l1_weights, l1_activities, schedule, patience, clip, scaling, impute
        As in `Training`. Missing values are refused unless `impute` says what replaces them.
    n_networks
        Networks that differ only in chance; their probabilities are averaged.
    validation
        Share of the samples that decides when to stop, drawn within every class; 0 for none. A class of
        one sample is only learnt from. With fewer than 10 samples, or no class of two, none is held out and all
        `epochs` are run.
    random_state
        The seed of `vnn.fit` if it is an integer; with a `RandomState` a seed is drawn from it, with None from
        the operating system.
    class_weight
        "balanced" weighs the classes equally in training and "none" (or None) does not; either way probabilities speak
        of classes as frequent as they were in training. A table of weights by class trains as "balanced" does and
        multiplies the odds of each class by its weight, 1 where the table has none; weights must be positive.

    Attributes
    ----------
    fit_
        The trained networks as a `Fit`. Its samples are called by their row: "row 000".
    classes_
        The labels, sorted.
    topology_
        The wiring.
    n_features_in_, feature_names_in_
        Number of columns of `X`, and their names if it was a DataFrame. As everywhere in scikit-learn, a later
        DataFrame needs the same columns in the same order.
    n_unused_features_
        Columns that the topology does not use.
    n_iter_
        Epochs until the last network stopped.

    Examples
    --------
    >>> import vnn
    >>> ontology = vnn.load_ontology("human-small")
    >>> cohort = vnn.simulate_expression(ontology.gene_sets(), causal="Mismatch repair", n_samples=60, seed=1)
    >>> X, y = cohort.samples.to_frame(), cohort.samples.targets["phenotype"]
    >>> classifier = VNNClassifier(ontology, epochs=3).fit(X, y)
    >>> classifier.predict_proba(X).shape
    (60, 2)
    >>> classifier.activities(X).columns[-1]
    'level 3/Signal transduction'
    """

    class_weight: str | Mapping[Any, float] | None = "balanced"

    def fit(self, X: ArrayLike, y: ArrayLike) -> VNNClassifier:
        """Train the networks.

        Raises
        ------
        ValueError
            If `X` or `y` is not what scikit-learn takes, or `y` has fewer than two classes.
        AlignmentError
            If an input of the topology is not a column of `X`, or `X` has no names and needs them.
        FitError
            If all networks diverged.
        """
        values, labels = self._checked(X, y=y, ensure_min_samples=2, ensure_min_features=2)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"`y` has 1 class, {culprits(self.classes_)}, in all of {len(labels):,} samples; at least 2 classes are "
                "needed. Check the labels, or stratify the folds."
            )
        class_weight, self._log_weight = self._weighed(labels)
        names = tuple(map(str, self.classes_.tolist()))
        named = np.array(names, dtype=object)[codes]
        task = "binary" if len(names) == 2 else "multiclass"
        self._learn(values, named, task=task, names=names, class_weight=class_weight)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The most probable class of each sample."""
        most_probable = self.predict_log_proba(X).argmax(axis=1)
        return self.classes_[most_probable]

    def predict_proba(self, X: ArrayLike) -> np.ndarray:
        """Probability of each class, shape (n_samples, n_classes), averaged over the networks."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: ArrayLike) -> np.ndarray:
        """Logarithm of the probability of each class, shape (n_samples, n_classes)."""
        check_is_fitted(self)
        log = log_softmax(self.fit_.predict(self._samples(X)).log_values + self._log_weight, axis=2)
        return logsumexp(log, axis=1) - np.log(log.shape[1])

    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Log-odds of the second of two classes, shape (n_samples,), or log-probabilities, (n_samples, n_classes)."""
        log = self.predict_log_proba(X)
        return log[:, 1] - log[:, 0] if len(self.classes_) == 2 else log

    def _weighed(self, y: np.ndarray) -> tuple[str, np.ndarray]:
        """How classes are weighed in training, and the logarithm of the weight of each when predicting."""
        if self.class_weight is None or isinstance(self.class_weight, str):
            return self.class_weight or "none", np.zeros(len(self.classes_))
        weight = compute_class_weight(dict(self.class_weight), classes=self.classes_, y=y)
        if not ((weight > 0) & np.isfinite(weight)).all():
            raise ValueError(f"the class weights are {culprits(weight)}; they must be positive numbers.")
        return "balanced", np.log(weight)


@dataclass(eq=False, repr=False)
class VNNRegressor(RegressorMixin, _VisibleEstimator):
    """A visible network that predicts a quantity.

    Parameters, attributes and what `fit` raises are those of `VNNClassifier`, less the classes and their weights;
    predictions of several networks are averaged. `y` must vary.

    Parameters
    ----------
    validation
        Share of the samples that decides when to stop; 0 for none. With fewer than 10 samples none is held out
        and all `epochs` are run.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> VNNRegressor:
        """Train the networks."""
        values, quantity = self._checked(X, y=y, ensure_min_samples=2, ensure_min_features=2, y_numeric=True)
        self._learn(values, quantity.astype(np.float64), task="regression", names=None)
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The quantity of each sample, averaged over the networks."""
        check_is_fitted(self)
        return self.fit_.predict(self._samples(X)).values[:, :, 0].mean(axis=1)


def _samples_of(
    X: np.ndarray,
    columns: np.ndarray,
    topology: Topology,
    role: str,
    labels: np.ndarray | None = None,
    log: tuple[str, ...] = (),
) -> Samples:
    """Rows of `X` as samples named by their position, sorted as they stand."""
    width = len(str(len(X) - 1))
    ids = tuple(f"{role} {row:0{width}}" for row in range(len(X)))
    values = np.ascontiguousarray(X[:, columns].T)
    values.flags.writeable = False
    index = pd.Index(ids, dtype=object)
    empty = pd.DataFrame(index=index)
    targets = empty if labels is None else pd.DataFrame({TARGET: labels}, index=index)
    return Samples(values, topology.inputs, ids, targets, empty, empty, log=log)


def _split(samples: Samples, y: np.ndarray, classes: pd.Series | None, share: float, seed: int) -> Split:
    """All samples in training and validation; classes of one sample are only trained on."""
    ids = list(samples.ids if classes is None else classes.index[classes.map(classes.value_counts()) > 1])
    if len(y) < FEWEST or not ids:
        return hold_out(samples.ids, test=0, validation=0, seed=seed)
    part = hold_out(ids, test=0, validation=share, seed=seed, stratify=classes)
    return Split(part.name, tuple(sorted({*samples.ids} - {*part.validation})), part.validation, ())


def _seed_of(random_state: int | np.random.RandomState | None) -> int:
    """The seed of a study; None asks the operating system, so that numpy's global generator stays as it is."""
    if random_state is None:
        return secrets.randbelow(2**31)
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))

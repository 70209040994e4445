"""Plain torch models, explained through Captum for the protocol of Zhao."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd
from torch import nn

from vnn._errors import AlignmentError, choose, culprits
from vnn.data.samples import Samples
from vnn.data.targets import Target, encode_target
from vnn.interpret.baseline import _draws
from vnn.interpret.contrast import Contrast, contrasts
from vnn.interpret.explained import ExplainedModels, Scored, Variant, drawn_samples, moments_of
from vnn.interpret.plain import PLAIN, check_plain, dropout_masks, explain_plain, outputs

OF_PLAIN = {
    "mean": "the mean of each gene over the background",
    "zero": "0 in every gene",
    "normal": "{n} draws per model, each gene normal with its mean and standard deviation in the background",
    "universal": "{n} draws per model, every gene normal with the sigma of all background values, truncated to [0, sigma]",
    "specific": "{n} draws per model, each gene normal with its own standard deviation in the background, truncated to [0, sigma]",
}


class OfPlain(ExplainedModels):
    """Plain modules, explained through Captum."""

    levels = ("inputs",)

    def __init__(
        self,
        models: Sequence[nn.Module],
        samples: Samples | pd.DataFrame,
        as_published: bool,
        labels: str | pd.Series | Sequence[object] | None,
        classes: Sequence[str] | None,
        background: Samples | pd.DataFrame | None,
        n_draws: int,
        most_samples: int,
        seed: int,
    ) -> None:
        self.networks, self.as_published, self.n_draws, self.seed = list(models), as_published, n_draws, seed
        self.x, genes, ids, targets = _values(samples, "samples")
        self.nodes, self.names = {"inputs": genes}, {}
        self.models = tuple(f"model {i}" for i in range(len(models)))
        n_outputs = check_plain(self.networks, self.x)
        self.n_outputs = n_outputs
        self.explainers = {name: one.compares for name, one in PLAIN.items()}
        self.left_out: list[str] = []
        known = _class_names(classes, n_outputs)
        self.predicted = labels is None
        if labels is None:
            mean = np.mean([outputs(model, self.x) for model in self.networks], axis=0)
            codes = mean.argmax(1) if n_outputs > 1 else (mean[:, 0] > 0).astype(int)
        else:
            codes = _codes(labels, known, classes is not None, ids, targets)
        self.target = Target("class", "multiclass" if len(known) > 2 else "binary", codes, known)
        self.reference_x = self.x
        if background is not None:
            self.reference_x, others, _, _ = _values(background, "background")
            if others != genes:
                raise AlignmentError(
                    f"the background has {len(others):,} genes and the samples {len(genes):,}; they must be the same, in the "
                    "same order."
                )
        if as_published:
            groups = drawn_samples(self.target, ids, most_samples, seed)
            position = {name: i for i, name in enumerate(ids)}
            self.groups = {name: np.array([position[i] for i in chosen]) for name, chosen in groups.items()}
            self.rankings = tuple(name for name, rows in self.groups.items() for _ in rows)
            self.n_explained = len(self.rankings)
        else:
            self.asked = self._contrasts()
            self.rankings = tuple(contrast.name for contrast in self.asked)
            self.n_explained = len(self.x)

    def _contrasts(self) -> tuple[Contrast, ...]:
        found = []
        for contrast in contrasts(self.target):
            if contrast.sample_weights(self.target) is None:
                self.left_out.append(f"the contrast {contrast.name!r}: all samples are on one side of it.")
            elif self.n_outputs == 2:
                found.append(replace(contrast, logits=np.array([-1.0, 1.0])))
            else:
                found.append(contrast)
        if not found:
            labelled = "are predicted to be" if self.predicted else "are"
            raise ValueError(
                f"all {len(self.x):,} samples {labelled} of one class, so there is no difference between classes to score; "
                "give samples of at least two classes, with their labels."
            )
        return tuple(found)

    @property
    def settings(self) -> tuple[str, ...]:
        """What was explained, in words."""
        of = "the class the models predict" if self.predicted else "its class"
        if self.as_published:
            return (f"Every sample is explained for the logit of {of}.",)
        return (
            f"Scores are differences between classes of attributions, as shares of all genes; a sample counts for {of}.",
        )

    @cached_property
    def trivial(self) -> dict[str, dict[str, np.ndarray]]:
        """Trivial rankings of the genes."""
        mean, variance = moments_of(self.x.T)
        return {"inputs": {"mean expression": mean, "variance": variance}}

    def reference_text(self, kind: str) -> str:
        """What a reference is, in words; the background stands for the training samples."""
        return OF_PLAIN[kind].format(n=self.n_draws)

    def _points(self, kind: str, model: int) -> np.ndarray:
        x = self.reference_x
        if not kind or kind == "zero":
            return np.zeros((1, x.shape[1]))
        if kind == "mean":
            return x.mean(0, keepdims=True)
        return _draws(kind, x.mean(0), x.std(0), self.seed, f"model {model}", self.n_draws)

    def scored(self, variant: Variant) -> Scored | str:
        """Scores of every model, or why there are none."""
        values, missed, scale = [], [], []
        for i, model in enumerate(self.networks):
            points = self._points(variant.reference, i)
            try:
                masks = dropout_masks(model, variant.repeats, self.seed, i)
                if variant.repeats and not masks:
                    return f"model {i} has no dropout module that drops anything, so there is none to leave on"
                rows, gaps, scales = [], [], []
                for u, x, contrast in self._questions():
                    found = explain_plain(model, variant.explainer, x, points, contrast, masks=masks)
                    if u is None:
                        rows.append(found.values)
                    elif PLAIN[variant.explainer].by_size:
                        rows.append(np.abs(found.values).mean(0, keepdims=True))
                    else:
                        rows.append(u[None] @ found.values)
                    gaps.append(found.missed)
                    scales.append(found.scale)
            except (NotImplementedError, RuntimeError, AssertionError) as error:
                return f"model {i}: {error}"
            values.append(np.concatenate(rows))
            missed.append(max(gaps))
            scale.append(max(scales))
        return Scored({"inputs": np.stack(values)}, max(missed), max(scale))

    def _questions(self) -> Iterable[tuple[np.ndarray | None, np.ndarray, np.ndarray]]:
        """Weights of the samples (None where each is a ranking), the samples, and the contrast that is explained."""
        if not self.as_published:
            for contrast in self.asked:
                yield contrast.sample_weights(self.target), self.x, contrast.logits
            return
        for name, rows in self.groups.items():
            at = self.target.classes.index(name)
            logits = np.eye(self.n_outputs)[at] if self.n_outputs > 1 else np.array([1.0 if at else -1.0])
            yield None, self.x[rows], logits


def _values(
    samples: Samples | pd.DataFrame, what: str
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...], pd.DataFrame]:
    """Values (n_samples, n_genes) with their names, complete."""
    if isinstance(samples, Samples):
        x, genes, ids, targets = samples.values.T, samples.features, samples.ids, samples.targets
    elif isinstance(samples, pd.DataFrame):
        try:
            x = samples.to_numpy(dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the {what} hold what is not a number: {error}. Keep only columns of genes.") from error
        genes, ids = tuple(map(str, samples.columns)), tuple(map(str, samples.index))
        targets = pd.DataFrame(index=list(ids))
        for axis, names in (("columns", genes), ("rows", ids)):
            if len(set(names)) < len(names):
                raise AlignmentError(f"the {what} have {axis} of the same name; names must be unique.")
    else:
        raise TypeError(f"the {what} are a {type(samples).__name__}; give `Samples`, or a frame with samples in rows.")
    if len(x) < 2:
        raise ValueError(f"there are {len(x)} {what}; at least 2 are needed.")
    x = np.asarray(x, dtype=np.float64)
    if not np.isfinite(x).all():
        wrong = [genes[j] for j in np.flatnonzero(~np.isfinite(x).all(0)).tolist()]
        raise ValueError(
            f"values of {len(wrong):,} of {len(genes):,} genes are missing or infinite: {culprits(wrong)}. Plain models "
            "cannot take them: fill them as they were filled in training."
        )
    return x, genes, ids, targets


def _class_names(classes: Sequence[str] | None, n_outputs: int) -> tuple[str, ...]:
    n = max(n_outputs, 2)
    if classes is None:
        return tuple(f"class {i}" for i in range(n))
    names = tuple(map(str, classes))
    if len(names) != n or len(set(names)) < n:
        raise ValueError(
            f"there are {len(names):,} classes, {culprits(names)}, and the models tell {n:,} apart; name each once, in the "
            "order of the logits."
        )
    return names


def _codes(
    labels: str | pd.Series | Sequence[object],
    known: tuple[str, ...],
    named: bool,
    ids: tuple[str, ...],
    targets: pd.DataFrame,
) -> np.ndarray:
    """The position of the class of every sample among the logits."""
    if isinstance(labels, str):
        column = targets[choose("the column of labels", labels, map(str, targets.columns))]
    elif isinstance(labels, pd.Series):
        labels = labels.rename(index=str)
        if missing := [i for i in ids if i not in labels.index]:
            raise AlignmentError(f"`labels` lacks {len(missing):,} of {len(ids):,} samples: {culprits(missing)}.")
        column = labels.loc[list(ids)]
    else:
        if len(labels) != len(ids):
            raise AlignmentError(f"there are {len(labels):,} labels for {len(ids):,} samples; each needs one.")
        column = pd.Series(list(labels), index=list(ids), dtype=object)
    if column.isna().any():
        raise ValueError(f"{int(column.isna().sum()):,} of {len(ids):,} samples have no label; leave them out.")
    if named and column.map(lambda value: isinstance(value, str)).all():
        return encode_target(column.rename("class"), "multiclass" if len(known) > 2 else "binary", known).values
    codes = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    wrong = [str(value) for value, code in zip(column, codes, strict=True) if code not in range(len(known))]
    if wrong:
        raise ValueError(
            f"{len(wrong):,} labels are not positions among the {len(known):,} logits: {culprits(dict.fromkeys(wrong))}. For names "
            "give classes=, in the order of the logits."
        )
    return codes.astype(np.int64)

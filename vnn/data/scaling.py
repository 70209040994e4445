"""Scaling and imputation as one affine map and one fill value per feature, fitted on a training part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vnn._errors import choose, culprits

METHODS = ("standard", "minmax", "none")
IMPUTATIONS = ("mean", "median", "zero")
ROWS = 1024


@dataclass(frozen=True, eq=False)
class Scaling:
    """What brings raw values of each feature to the scale a network is trained on.

    A value x becomes ((x, or the fill where x is missing) - centre) / scale. The map is folded into the
    first product of a network, so that raw values are shared by all replicates; `apply` is the plain form.

    Parameters
    ----------
    centre, scale
        Shape (n_features,), float64; scale > 0. Read-only.
    fill
        Shape (n_features,) in raw units, or None where no value may be missing.
    """

    centre: np.ndarray
    scale: np.ndarray
    fill: np.ndarray | None

    def __post_init__(self) -> None:
        for name in ("centre", "scale", "fill"):
            if getattr(self, name) is None and name == "fill":
                continue
            numbers = np.array(getattr(self, name), dtype=np.float64)
            if numbers.shape != (len(self.centre),) or not np.isfinite(numbers).all():
                raise ValueError(f"{name} has shape {numbers.shape}; {len(self.centre):,} finite numbers are needed.")
            numbers.flags.writeable = False
            object.__setattr__(self, name, numbers)
        if (self.scale <= 0).any():
            raise ValueError(f"{(self.scale <= 0).sum():,} features have a scale that is not above 0.")

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The scaled values of the same features in any samples, shape (n_features, n_samples), float64."""
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or len(values) != len(self.centre):
            raise ValueError(
                f"the values have shape {values.shape}; {len(self.centre):,} features need that many rows."
            )
        missing = np.isnan(values)
        if missing.any():
            if self.fill is None:
                raise ValueError(
                    f"{missing.sum():,} values of {missing.any(axis=1).sum():,} features are missing and the scaling "
                    f"was fitted without imputation. Fit it with impute={_options()}."
                )
            values = np.where(missing, self.fill[:, None], values)
        return (values - self.centre[:, None]) / self.scale[:, None]


def fit_scaling(
    values: np.ndarray,
    *,
    method: str = "standard",
    impute: str | None = None,
    features: Sequence[str] | None = None,
) -> Scaling:
    """The scaling of exactly these columns, which must be the training part and nothing else.

    Centre and scale are those of the values that are there. A feature that never varies has scale 1; one
    that is entirely missing has centre and fill 0.

    Parameters
    ----------
    values
        Shape (n_features, n_samples), NaN where missing.
    method
        "standard" (mean and standard deviation over n), "minmax" (to 0..1), or "none" (as they are).
    impute
        What a missing value becomes: "mean", "median" or "zero", in raw units and also for features that
        are complete here. None allows no missing value.
    features
        Names for error messages; positions unless given.

    Returns
    -------
    A `Scaling`.

    Raises
    ------
    ValueError
        If values are missing and impute is None, or values are infinite.
    """
    choose("method", method, METHODS)
    if impute is not None:
        choose("impute", impute, IMPUTATIONS)
    values = np.asarray(values)
    if values.ndim != 2 or not values.shape[1]:
        raise ValueError(
            f"the values have shape {values.shape}; a scaling needs (n_features, n_samples), n_samples > 0."
        )
    blocks = [
        _fit_block(values[start : start + ROWS].astype(np.float64), method, impute)
        for start in range(0, len(values), ROWS)
    ]
    counts = np.concatenate([block[0] for block in blocks]) if blocks else np.empty(0, dtype=np.int64)
    if impute is None and counts.any():
        where = np.flatnonzero(counts)
        names = [f"row {row}" if features is None else features[row] for row in where[:6]]
        more = f" and {len(where) - 5:,} more" if len(where) > 5 else ""
        raise ValueError(
            f"{counts.sum():,} values of {len(where):,} of {len(values):,} features are missing in these "
            f"{values.shape[1]:,} samples: {culprits(names[:5])}{more}. Choose impute={_options()}, or leave these "
            "features or samples out."
        )
    centre, scale, fill = (np.concatenate([block[i] for block in blocks]) if blocks else np.empty(0) for i in (1, 2, 3))
    return Scaling(centre, scale, None if impute is None else fill)


def _fit_block(values: np.ndarray, method: str, impute: str | None) -> tuple[np.ndarray, ...]:
    """Missing values, centre, scale and fill of some features."""
    if np.isinf(values).any():
        raise ValueError(f"{np.isinf(values).sum():,} values are infinite; repair them or make them NaN.")
    missing = np.isnan(values)
    n_missing = missing.sum(axis=1)
    n_present = values.shape[1] - n_missing
    empty = n_present == 0
    count = np.maximum(n_present, 1)
    zeroed = np.where(missing, 0.0, values)
    mean = zeroed.sum(axis=1) / count
    low = np.where(empty, 0.0, np.where(missing, np.inf, values).min(axis=1))
    high = np.where(empty, 0.0, np.where(missing, -np.inf, values).max(axis=1))
    mean = np.clip(mean, low, high)

    def deviation() -> np.ndarray:
        return np.sqrt((np.where(missing, 0.0, values - mean[:, None]) ** 2).sum(axis=1) / count)

    centre, scale = centre_and_scale(method, mean, deviation, low, high)
    fill = np.zeros(len(values))
    if impute == "mean":
        fill = mean
    elif impute == "median":
        fill[~empty] = np.nanmedian(values[~empty], axis=1)
    return n_missing, centre, scale, fill


def centre_and_scale(
    method: str, mean: np.ndarray, deviation: Callable[[], np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What a method subtracts from features and divides them by; a feature that never varies is divided by 1.

    Parameters
    ----------
    mean, low, high
        Of each feature.
    deviation
        Gives the standard deviations, where the method asks for them.
    """
    centre, scale = np.zeros(len(mean)), np.ones(len(mean))
    if method == "standard":
        centre, scale = mean, deviation()
    elif method == "minmax":
        centre, scale = low, high - low
    return centre, np.where((low == high) | (scale == 0), 1.0, scale)


def _options() -> str:
    return " or ".join(f'"{name}"' for name in IMPUTATIONS)

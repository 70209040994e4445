"""Counts of reads or molecules: recognised, and brought to a common library size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vnn._errors import culprits
from vnn.data.samples import Samples

LARGEST_CATEGORY = 20
PER_MILLION = 1e6
ROWS = 1024


def are_counts(values: np.ndarray) -> bool:
    """Whether all values that are there are whole numbers, none below 0 and some above 20.

    Genotypes, copy-number states and scores, which are whole numbers too, do not reach 20.
    """
    largest = 0.0
    for start in range(0, len(values), ROWS):
        block = values[start : start + ROWS]
        present = block[~np.isnan(block)]
        if (present < 0).any() or (present % 1 != 0).any():
            return False
        largest = max(largest, float(present.max(initial=0)))
    return largest > LARGEST_CATEGORY


def log_cpm(samples: Samples) -> Samples:
    """Counts as log(1 + counts per million) of their sample, natural logarithm.

    Each sample is divided by its own sum, so nothing is learned from other samples and no held-out sample is
    seen. Missing values stay missing and count as nothing in the sum.

    Parameters
    ----------
    samples
        Counts; fractions, as estimated counts have, are taken too.

    Returns
    -------
    New `Samples` with a line in the log.

    Raises
    ------
    ValueError
        If a value is negative, or a sample has no counts at all.
    """
    if (samples.values < 0).any():
        found = [f"{samples.features[row]} in {samples.ids[column]}" for row, column in np.argwhere(samples.values < 0)]
        raise ValueError(
            f"{len(found):,} values are below 0: {culprits(found)}. These are no counts; take them as they are."
        )
    library = np.asarray(np.nansum(samples.values, axis=0, dtype=np.float64))
    if empty := [name for name, total in zip(samples.ids, library, strict=True) if total == 0]:
        raise ValueError(
            f"{len(empty):,} of {samples.n_samples:,} samples have no counts at all: {culprits(empty)}. "
            "Leave them out with `samples.select(ids=...)`."
        )
    values = np.log1p(samples.values * (PER_MILLION / library)).astype(samples.values.dtype)
    values.flags.writeable = False
    sizes = f"typical library size {np.median(library):,.0f}" if len(library) else "no samples"
    return replace(samples, values=values, log=(*samples.log, f"log_cpm: log(1 + counts per million), {sizes}"))

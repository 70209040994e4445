"""What a genotype study keeps for people it has not met: its variants with their coding, and the loadings of its components."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd

from vnn._atomic import replacing, write_csv
from vnn._errors import StudyError
from vnn.data.genotypes import Components, Genotypes
from vnn.data.genotypes.matching import Matched

VARIANTS, COMPONENTS = "variants.tsv.gz", "components.tsv.gz"
QUALITY, QUALITY_VARIANTS, QUALITY_PEOPLE = "quality.csv", "quality_variants.tsv.gz", "quality_people.csv.gz"
WORDS = ("input", "variant", "chromosome", "counted", "other", "minor", "removed")


def component_table(genotypes: Genotypes, found: Components) -> pd.DataFrame:
    """The loadings with the place and both alleles of each variant."""
    places = genotypes.variants.loc[found.loadings.index, ["chromosome", "position", "other"]]
    table = pd.concat([places, found.loadings], axis=1).assign(frequency=found.loadings["mean"] / 2)
    return table.rename_axis("variant")


def projected(matched: Matched, table: pd.DataFrame) -> pd.DataFrame:
    """Scores of other people, by the loadings of a study; where their file counts the other allele, means and weights are turned.

    Parameters
    ----------
    matched
        Their genotypes at the variants of `table`.
    table
        As `component_table` made it.
    """
    names = [name for name in table if name.startswith("PC")]
    sign = np.where(matched.swapped, -1.0, 1.0)
    own = table.iloc[matched.at]
    loadings = own[names].mul(sign, axis=0).assign(
        counted=matched.genotypes.variants["counted"], scale=own["scale"],
        mean=np.where(matched.swapped, 2 - own["mean"], own["mean"]),
    )  # fmt: skip
    scores = pd.DataFrame(columns=names, dtype=float)
    return Components(scores, np.empty(0), loadings, ()).of(matched.genotypes)


def write_kept(path: Path, table: pd.DataFrame) -> None:
    """Put a table at a path, whole or not at all; in a .tsv.gz names and alleles stand as they are."""
    if not path.name.endswith(".tsv.gz"):
        write_csv(path, table, index=table.index.name is not None)
        return
    with replacing(path) as part, part.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        table.to_csv(packed, sep="\t", lineterminator="\n")


def read_kept(path: Path) -> pd.DataFrame:
    """A .tsv.gz that `write_kept` wrote, to the bit.

    Raises
    ------
    StudyError
        If it is not there.
    """
    if not path.exists():
        raise StudyError(
            f"{path.parent} holds no {path.name}, which says what its inputs are: the study was run before such files were kept. "
            "Run it again."
        )
    kinds = dict.fromkeys(WORDS, str)
    table = pd.read_csv(path, sep="\t", dtype=kinds, keep_default_na=False, na_values={}, float_precision="round_trip")
    numbers = [name for name in table if name not in WORDS]
    table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce")
    return table.set_index(table.columns[0])

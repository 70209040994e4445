"""Several omics of the same samples as one table, every gene with one feature for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, choose, culprits
from vnn.data.samples import Samples, unique

ROLES = ("targets", "covariates", "groups")


@dataclass(frozen=True, eq=False)
class Joined:
    """Several tables of the same samples as one.

    Parameters
    ----------
    samples
        Features called "rna:TP53", table by table.
    genes
        The gene of each feature, as `Ontology.topology` takes it; with gene_level=True a gene is one node over
        all its omics.
    """

    samples: Samples
    genes: Mapping[str, tuple[str, ...]]


def join_omics(tables: Mapping[str, Samples], *, unmatched: str = "error") -> Joined:
    """Tables of different omics, joined by sample id.

    Features of each table are genes, by the names its ontology uses; resolve identifiers and merge several
    features of a gene (`merge_features`) before. A gene that only some tables measure keeps the features it
    has, which is counted in the log. Targets, covariates and groups may be in any of the tables; a column
    that is in several must say the same in all of them.

    Parameters
    ----------
    tables
        Samples by the name of their omics, such as {"rna": ..., "cna": ...}.
    unmatched
        What happens to samples that are not in all tables: "error", or "drop", which is logged.

    Returns
    -------
    `Joined`, its samples in the order of the first table.

    Raises
    ------
    AlignmentError
        If the tables do not hold the same samples and unmatched="error", or have none in common.
    ValueError
        If there is no table, a name cannot be told from a gene, or two tables contradict each other.

    Examples
    --------
    >>> rna = Samples.from_frame(pd.DataFrame({"TP53": [1.5, 2.5]}, index=["a", "b"]))
    >>> cna = Samples.from_frame(pd.DataFrame({"TP53": [0, -2]}, index=["b", "a"]))
    >>> joined = join_omics({"rna": rna, "cna": cna})
    >>> joined.genes
    {'rna:TP53': ('TP53',), 'cna:TP53': ('TP53',)}
    >>> joined.samples.values.tolist()
    [[1.5, 2.5], [-2.0, 0.0]]
    """
    choose("unmatched", unmatched, ("error", "drop"))
    _named(tables)
    first = next(iter(tables.values()))
    common = set(first.ids).intersection(*(table.ids for table in tables.values()))
    kept = tuple(name for name in first.ids if name in common)
    dropped = _losses(tables, common, unmatched)
    chosen = {omics: table.select(ids=kept) for omics, table in tables.items()}
    features = {f"{omics}:{gene}": (gene,) for omics, table in chosen.items() for gene in table.features}
    values = np.concatenate([table.values for table in chosen.values()])
    values.flags.writeable = False
    known = {role: _known(chosen, role) for role in ROLES}
    if both := [name for name in known["targets"].columns if name in known["covariates"].columns]:
        raise ValueError(
            f"{culprits(both)} is a target in one table and a covariate in another; a covariate would give the "
            "answer away. Leave it out of one of them."
        )
    samples = Samples(
        values,
        tuple(features),
        kept,
        **known,
        sources=tuple({tuple(record.items()): record for t in tables.values() for record in t.sources}.values()),
        log=(
            *(f"{omics}: {line}" for omics, table in tables.items() for line in table.log),
            *dropped,
            *_partial(tables),
        ),
    )
    return Joined(samples, features)


def _named(tables: Mapping[str, Samples]) -> None:
    if not tables:
        raise ValueError('no table was given; pass them by the name of their omics, such as {"rna": samples}.')
    unique(tables, "names of the tables")
    if wrong := [omics for omics in tables if ":" in omics]:
        raise ValueError(
            f"{culprits(wrong)} has a colon, which stands between omics and gene in the name of a feature; rename it."
        )


def _losses(tables: Mapping[str, Samples], common: set[str], unmatched: str) -> tuple[str, ...]:
    """A line for each table with samples that are not in all tables."""
    apart = {omics: [name for name in table.ids if name not in common] for omics, table in tables.items()}
    losses = [
        f"{len(names):,} of {tables[omics].n_samples:,} samples of {omics!r} are not in all {len(tables):,} tables: "
        f"{culprits(names)}"
        for omics, names in apart.items()
        if names
    ]
    if not common:
        looks = "; ".join(f"{omics!r} {culprits(table.ids[:3])}" for omics, table in tables.items())
        raise AlignmentError(
            f"no sample is in all {len(tables):,} tables. Ids look like this: {looks}. Rename them first."
        )
    if losses and unmatched == "error":
        raise AlignmentError(
            f'{". ".join(losses)}. All tables need the same samples; pass unmatched="drop" to go on with the '
            f"{len(common):,} that are in all of them."
        )
    return tuple(f"join_omics: {line}; dropped" for line in losses)


def _partial(tables: Mapping[str, Samples]) -> tuple[str, ...]:
    """A line for each table without some gene of the others."""
    genes = dict.fromkeys(gene for table in tables.values() for gene in table.features)
    lines = []
    for omics, table in tables.items():
        here = set(table.features)
        if lacking := [gene for gene in genes if gene not in here]:
            lines.append(
                f"join_omics: {len(lacking):,} of {len(genes):,} genes are not in {omics!r} and have the features of "
                f"the other tables only: {culprits(lacking)}"
            )
    return tuple(lines)


def _known(tables: Mapping[str, Samples], role: str) -> pd.DataFrame:
    """All columns of one role; a column that is in several tables must be the same in them."""
    index = pd.Index(next(iter(tables.values())).ids, dtype=object)
    columns: dict[str, pd.Series] = {}
    home: dict[str, str] = {}
    for omics, table in tables.items():
        for name, column in getattr(table, role).items():
            if name not in columns:
                columns[name], home[name] = column, omics
                continue
            held = columns[name]
            differ = (column != held) & ~(column.isna() & held.isna())
            if differ.any():
                found = [f"{held[sample]} and {column[sample]} in {sample}" for sample in index[differ.to_numpy()]]
                raise ValueError(
                    f"the column {name!r} differs between {home[name]!r} and {omics!r} in {len(found):,} of "
                    f"{len(index):,} samples: {culprits(found)}. Repair it, or keep it in one table."
                )
    return pd.DataFrame(columns, index=index)

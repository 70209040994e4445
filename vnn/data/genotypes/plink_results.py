"""Result files of PLINK and KING, joined to genotypes by id: components, lists of variants and people, kinship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vnn._errors import AlignmentError, GenotypeError, choose, culprits
from vnn.data.genotypes.genotypes import Genotypes
from vnn.data.samples import unique

_KING = {
    "N_SNP": "NSNP", "HetHet": "HETHET", "Kinship": "KINSHIP", "ID1": "IID1", "ID2": "IID2", "FID": "FID1", "#FID": "FID1",
}  # fmt: skip


def read_eigenvec(path: Path | str, genotypes: Genotypes, *, unmatched: str = "error") -> pd.DataFrame:
    """Principal components of a .eigenvec of plink2 (with a header) or plink 1.9 (without one).

    Parameters
    ----------
    unmatched
        What happens to people of the file who are not in the genotypes: "error", or "drop".

    Returns
    -------
    One row per person, by the ids of the genotypes, in the order of the file; columns PC1, PC2, ...

    Raises
    ------
    GenotypeError
        If the file is no .eigenvec.
    AlignmentError
        If people do not match.
    """
    table = _table(path)
    if table.shape[1] > 2 and not {"IID", "#IID"} & set(table.columns):
        table = _table(path, header=False)
        table.columns = pd.Index(["#FID", "IID", *(f"PC{at}" for at in range(1, table.shape[1] - 1))])
    components = [name for name in table if str(name).startswith("PC")]
    if not components:
        raise GenotypeError(f"{Path(path).name} has no columns PC1, PC2, ...; it has {culprits(table.columns, 12)}.")
    ids, here = _people(genotypes, table, "", Path(path).name, unmatched)
    unique(ids[here], f"people of {Path(path).name}")
    values = _numbers(table.loc[here, components], Path(path).name)
    return values.set_axis(pd.Index(ids[here], dtype=object, name="person"), axis=0)


def read_variant_list(path: Path | str, genotypes: Genotypes, *, unmatched: str = "error") -> tuple[str, ...]:
    """Variants of a .prune.in, .prune.out or .snplist, in the order of the genotypes.

    Parameters
    ----------
    unmatched
        What happens to variants of the file that are not in the genotypes: "error", or "drop".

    Raises
    ------
    AlignmentError
        If variants do not match.
    """
    named = pd.Index(Path(path).read_text(encoding="utf-8-sig").split(), dtype=object)
    here = genotypes.variants.index.isin(named)
    lost = named[~named.isin(genotypes.variants.index)]
    _matched("variants", Path(path).name, named, lost, genotypes.variants.index, unmatched)
    return tuple(genotypes.variants.index[here])


def read_people_list(path: Path | str, genotypes: Genotypes, *, unmatched: str = "error") -> tuple[str, ...]:
    """People of a .king.cutoff.out.id, .king.cutoff.in.id or another list for --keep, by the ids of the genotypes, in their order.

    Raises
    ------
    AlignmentError
        If people do not match, see `read_variant_list`.
    """
    table = _table(path, header=False)
    first = str(table.iloc[0, 0]) if len(table) else ""
    if first in ("#FID", "FID", "#IID", "IID"):
        table = _table(path)
    else:
        table.columns = pd.Index(
            ["#FID", "IID"][-min(table.shape[1], 2) :] + [f"more{at}" for at in range(table.shape[1] - 2)]
        )
    ids, here = _people(genotypes, table, "", Path(path).name, unmatched)
    return tuple(genotypes.people.index[genotypes.people.index.isin(ids[here])])


def read_kinship(path: Path | str, genotypes: Genotypes, *, unmatched: str = "error") -> pd.DataFrame:
    """Pairs of a .kin0 of plink2 or KING, or a .kin of KING (pairs within families), as `relatives` gives them.

    Parameters
    ----------
    unmatched
        What happens to pairs with a person who is not in the genotypes: "error", or "drop".

    Returns
    -------
    `first`, `second`, `variants`, `het_het`, `ibs0`, `kinship`; NaN where the file has no such column. Counts are made shares.

    Raises
    ------
    GenotypeError
        If the file has no kinship.
    AlignmentError
        If people do not match.
    """
    name = Path(path).name
    table = _table(path).rename(columns=_KING)
    table.columns = table.columns.str.removeprefix("#")
    if lacking := [column for column in ("IID1", "IID2", "KINSHIP") if column not in table]:
        raise GenotypeError(
            f"{name} lacks {culprits(lacking)}; it has {culprits(table.columns, 12)}. A .kin0 of plink2 or of "
            "KING is needed."
        )
    if "FID1" in table and "FID2" not in table:
        table["FID2"] = table["FID1"]
    one, here = _people(genotypes, table, "1", name, unmatched)
    two, there = _people(genotypes, table, "2", name, unmatched)
    kept = here & there
    asked = {"variants": "NSNP", "het_het": "HETHET", "ibs0": "IBS0", "kinship": "KINSHIP"}
    told = pd.DataFrame({new: table.get(old, np.nan) for new, old in asked.items()})[kept]
    told = _numbers(told, name).reset_index(drop=True)
    for share in ("het_het", "ibs0"):
        if (told[share] > 1).any():
            told[share] /= told["variants"]
    return pd.concat([pd.DataFrame({"first": one[kept], "second": two[kept]}, dtype=object), told], axis=1)


def _table(path: Path | str, *, header: bool = True) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep=r"\s+", dtype=str, header=0 if header else None, keep_default_na=False)
    except pd.errors.EmptyDataError:
        raise GenotypeError(f"{Path(path).name} is empty.") from None


def _numbers(table: pd.DataFrame, name: str) -> pd.DataFrame:
    try:
        return table.replace({"nan": np.nan, "NA": np.nan, "-nan": np.nan}).astype(float)
    except ValueError as error:
        error.add_note(f"reading {name}")
        raise GenotypeError(f"{name} has a value that is no number: {error}.") from error


def _people(
    genotypes: Genotypes, table: pd.DataFrame, which: str, name: str, unmatched: str
) -> tuple[np.ndarray, np.ndarray]:
    """The id of the person each row names, and which rows name one who is here."""
    columns = {str(column).removeprefix("#"): column for column in table.columns}
    if f"IID{which}" not in columns:
        raise GenotypeError(f"{name} has no column IID{which}; it has {culprits(table.columns, 12)}.")
    individual = table[columns[f"IID{which}"]].to_numpy()
    family = table[columns[f"FID{which}"]].to_numpy() if f"FID{which}" in columns else None
    people = genotypes.people
    own = (people["individual"] if "individual" in people else people.index.to_series()).map(str)
    alone = pd.Series(people.index, index=own.to_numpy(), dtype=object)
    twice = set(alone.index[alone.index.duplicated()])
    of_both = dict(zip(zip(people["family"].replace("", "0"), own, strict=True), people.index, strict=True))
    no_family = set(people.index[people["family"] == ""])
    alone_of = alone[~alone.index.isin(twice)].to_dict()
    found: list[str | None] = []
    for at, person in enumerate(individual):
        told = "0" if family is None else family[at]
        known = of_both.get((told, person))
        if known is None and (told == "0" or alone_of.get(person) in no_family):
            known = alone_of.get(person)
        if known is None and family is None and person in twice:
            raise AlignmentError(
                f"{name} names people by their individual id only, and {person!r} is the id of several people of the genotypes. "
                "Write it with family ids (FID)."
            )
        found.append(known)
    ids = np.array(found, dtype=object)
    here = np.array([known is not None for known in found], dtype=bool)
    _matched("people", name, individual, individual[~here], people.index, unmatched)
    return ids, here


def _matched(what: str, name: str, named: Sequence[str], lost: Sequence[str], index: pd.Index, unmatched: str) -> None:
    choose("unmatched", unmatched, ("error", "drop"))
    if len(lost) and (unmatched == "error" or len(lost) == len(named)):
        hint = ' or leave them out with unmatched="drop"' if len(lost) < len(named) else ""
        raise AlignmentError(
            f"{len(lost):,} of the {len(named):,} {what} of {name} are not in the genotypes: {culprits(lost)}; theirs are called "
            f"like {culprits(index[:3])}. Read the file that belongs to them{hint}."
        )

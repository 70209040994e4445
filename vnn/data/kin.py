"""Kin of a gene set: which other sets a finding of it may rightly be called by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from vnn._errors import culprits

RELATED = 0.2


@dataclass(frozen=True)
class Kin:
    """Sets that tell of the same finding as one set.

    Parameters
    ----------
    family
        The set itself, those with exactly its genes, and its direct parents and children. A root, that is a
        set without a parent that has a child, is never family of another.
    related
        The family, all ancestors and descendants, and every set whose genes overlap with a Jaccard index of at least 0.2.
    """

    family: frozenset[str]
    related: frozenset[str]


def kin(
    gene_sets: Mapping[str, Collection[str]],
    relations: Iterable[tuple[str, str]],
    name: str,
    *,
    jaccard: float = RELATED,
) -> Kin:
    """The kin of one of the gene sets.

    Parameters
    ----------
    gene_sets
        Measured genes of each set, those of its descendants included.
    relations
        Pairs of child and parent.
    name
        The set whose kin is asked for.
    jaccard
        From which overlap on sets are related.

    Returns
    -------
    Its `Kin`, named as in `gene_sets`.

    Raises
    ------
    ValueError
        If a relation names a set that is not there.

    Examples
    --------
    >>> sets = {"low": ["a"], "high": ["a", "b"], "root": ["a", "b", "c", "d", "e", "f"]}
    >>> found = kin(sets, [("low", "high"), ("high", "root")], "low")
    >>> sorted(found.family), sorted(found.related)
    (['high', 'low'], ['high', 'low', 'root'])
    """
    pairs = sorted(set(relations))
    if unknown := sorted({end for pair in pairs for end in pair} - set(gene_sets)):
        raise ValueError(
            f"{len(unknown):,} terms of the relations are not among the {len(gene_sets):,} gene sets: {culprits(unknown)}. "
            "Give their genes, or leave these relations out."
        )
    parents: dict[str, list[str]] = {}
    children: dict[str, list[str]] = {}
    for child, parent in pairs:
        parents.setdefault(child, []).append(parent)
        children.setdefault(parent, []).append(child)
    own = frozenset(gene_sets[name])
    sets = {other: frozenset(genes) for other, genes in gene_sets.items()}
    same = {other for other, genes in sets.items() if genes == own}
    direct = {*parents.get(name, ()), *children.get(name, ())}
    roots = {other for other in children if other not in parents}
    overlapping = {other for other, genes in sets.items() if len(genes & own) >= jaccard * len(genes | own)}
    family = frozenset(((same | direct) - roots) | {name})
    return Kin(family, family | direct | overlapping | _reached(name, parents) | _reached(name, children))


def _reached(name: str, steps: Mapping[str, Collection[str]]) -> frozenset[str]:
    found: set[str] = set()
    front = {name}
    while front:
        front = {there for here in front for there in steps.get(here, ())} - found
        found |= front
    return frozenset(found)

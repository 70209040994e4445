"""Errors a caller can act on, and the words every error message shares."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class OntologyError(ValueError):
    """An ontology or a topology that contradicts itself or leaves nothing to train on."""


class AlignmentError(ValueError):
    """Names on two sides that do not meet: samples, features, identifiers."""


class GenotypeError(ValueError):
    """A file of genotypes that is not what it must be, or genotypes that do not fit a study."""


class KernelError(RuntimeError):
    """A kernel backend that is missing, broken, or was given tensors it cannot take."""


class FitError(ValueError):
    """A saved fit that does not belong to this topology, data or study."""


class StudyError(ValueError):
    """A study file or output folder that cannot be run as it stands."""


MOST_LISTED = 40


def culprits(names: Iterable[object], most: int = 5) -> str:
    """The first few of `names`, quoted, with the number left out."""
    listed = [repr(str(name)) for name in names]
    shown = ", ".join(listed[:most])
    return shown if len(listed) <= most else f"{shown} and {len(listed) - most:,} more"


def choose(what: str, given: object, known: Iterable[str]) -> str:
    """`given` if it is one of `known`; otherwise an error that lists them and the nearest."""
    options = list(known)
    if given in options:
        return str(given)
    folded = {option.casefold(): option for option in reversed(options)}
    near = get_close_matches(str(given).casefold(), folded, n=1)
    hint = f" Did you mean {folded[near[0]]!r}?" if near else ""
    raise ValueError(f"{what} is {given!r}; known are {culprits(options, MOST_LISTED)}.{hint}")

"""Topologies that were made before, in the user's cache."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from vnn._atomic import sha256
from vnn._errors import OntologyError
from vnn.ontology.catalogue import wanted
from vnn.ontology.download import cache_folder
from vnn.ontology.identifiers import Identifiers
from vnn.ontology.topology import Topology
from vnn.ontology.translation import translated

MOST = 64


def load_topology(
    name: str | Path,
    features: Sequence[str] | Mapping[str, Sequence[str]],
    *,
    folder: Path | str | None = None,
    release: str | None = None,
    recipes: Path | str | None = None,
    choices: Mapping[str, Any] | None = None,
    identifiers: Path | str | None = None,
    **options: Any,
) -> Topology:
    """The wiring of `load_ontology(name, ...).topology(features, ...)`, kept in the user's cache from the first time on.

    What is kept stands under a hash of everything that decides it: the files, the recipe, the choices, the features, the options
    and the code of this station. What is damaged or was changed is made anew, a full or read-only disk costs time only, a
    wiring that came with a warning is not kept, and of more than 64 the ones used longest ago leave.

    Parameters
    ----------
    name, folder, release, recipes, choices
        As in `load_ontology`.
    features, options
        As in `Ontology.topology`.
    identifiers
        HGNC's table, through which the genes of the ontology become approved symbols.

    Raises
    ------
    OntologyError
        As `load_ontology` and `Ontology.topology` do.
    """
    asked = wanted(name, folder=folder, release=release, recipes=recipes, **(choices or {}))
    decides = {
        "code": _code(),
        "ontology": asked.identity(),
        "features": {key: list(genes) for key, genes in features.items()}
        if isinstance(features, Mapping)
        else list(features),
        "identifiers": None if identifiers is None else (Path(identifiers).name, sha256(identifiers)),
        "options": options,
    }
    key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
    kept = cache_folder() / "topologies" / f"{key}.npz"
    with suppress(OSError, OntologyError):
        topology = Topology.load(kept)
        kept.touch()
        return topology
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ontology = asked.read()
        if identifiers is not None:
            ontology = translated(ontology, Identifiers.read(identifiers))
        topology = ontology.topology(features, **options)
    for warning in said:
        warnings.warn(warning.message, stacklevel=2)
    if said:
        return topology
    with suppress(OSError):
        topology.save(kept)
        for old in sorted(kept.parent.glob("*.npz"), key=lambda path: path.stat().st_mtime)[:-MOST]:
            old.unlink(missing_ok=True)
    return topology


@cache
def _code() -> str:
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()

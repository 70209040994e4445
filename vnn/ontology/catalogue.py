"""The catalogue: recipes that tell where an ontology comes from, and reading it by name.

A recipe is a TOML file of the folder `ontologies/`, or one of the user's own. It holds no knowledge itself, except
for small snapshots that lie in a folder of the same name beside it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date as Day
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from vnn._errors import OntologyError, choose, culprits
from vnn.ontology.edges import read_edges
from vnn.ontology.gmt import read_gmt
from vnn.ontology.go import read_go
from vnn.ontology.obo import read_obo
from vnn.ontology.ontology import Ontology
from vnn.ontology.reactome import read_reactome

Files = Mapping[str, Path]

READERS: dict[str, tuple[Callable[..., Ontology], tuple[str, ...]]] = {
    "edges": (lambda files, **options: read_edges(files["edges"], **options), ("direction", "genes")),
    "gmt": (lambda files, **options: read_gmt(files["gmt"], relations=files.get("relations"), **options), ("ids",)),
    "go": (
        lambda files, **options: read_go(files["obo"], files["gaf"], **options),
        ("taxon", "gene", "relations", "cross_namespace", "without_qualifiers", "objects"),
    ),
    "obo": (lambda files, **options: read_obo(files["obo"], **options), ("relations", "cross_namespace")),
    "reactome": (
        lambda files, **options: read_reactome(files["gmt"], files["relations"], files.get("names"), **options),
        ("species",),
    ),
}

OPERATIONS: dict[str, Callable[[Ontology, Sequence[str]], Ontology]] = {
    "evidence": lambda ontology, names: ontology.with_evidence(*names) if names else ontology,
    "roots": lambda ontology, names: ontology.roots(*names) if names else ontology,
    "without_branch": lambda ontology, names: _without_branches(ontology, names),
}


class Needed(BaseModel):
    """A file a release consists of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    name: str
    format: str
    address: str
    sha256: str | None = None
    optional: bool = False


class Release(BaseModel):
    """One release of an ontology; the hashes of its files are known where it is fixed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    release: str
    date: Day | None = None
    note: str = ""
    files: tuple[Needed, ...]


class Recipe(BaseModel):
    """Where an ontology comes from, what may be done with it, and how it is read by default.

    `choices` are the arguments of the reader and of the operations after it ("without_branch", "roots", "evidence");
    `load_ontology` takes the same names to override them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    reader: str
    species: str
    identifier: str
    licence: str
    citation: str
    redistributable: bool
    choices: dict[str, Any] = {}
    releases: tuple[Release, ...]

    @classmethod
    def read(cls, path: Path | str) -> Recipe:
        """Read a recipe from its TOML file."""
        try:
            recipe = cls.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
            choose("reader", recipe.reader, READERS)
        except (tomllib.TOMLDecodeError, ValidationError, UnicodeDecodeError, ValueError) as error:
            raise OntologyError(f"{path} is no recipe of an ontology: {error}") from error
        return recipe


def catalogue() -> list[Recipe]:
    """The recipes that come with `vnn`, by name."""
    return [Recipe.read(path) for path in sorted(_shelf().glob("*.toml"))]


def load_ontology(
    name: str | Path, *, folder: Path | str | None = None, release: str | None = None, **choices: Any
) -> Ontology:
    """An ontology of the catalogue, or of a recipe of your own.

    Files are found by the names in the recipe, with or without `.gz`. Nothing is downloaded.

    Parameters
    ----------
    name
        Name of a recipe of the catalogue ("reactome", "go", "hallmark", "human-small"), path of a recipe (.toml), or
        path of a gene-set file (.gmt), whose `choices` are those of `read_gmt`.
    folder
        Where the files lie; may be left out for snapshots that are shipped.
    release
        Release the files must be, checked by their hashes. By default the one whose hashes they have, or "current",
        unchecked, where the recipe has such a release.
    choices
        Instead of the recipe's default choices: arguments of its reader, and `without_branch`, `roots`, `evidence`
        (each a name or a sequence of names; empty for none).

    Returns
    -------
    The ontology; its provenance tells recipe, release, licence, citation and the hash of every file read.

    Raises
    ------
    OntologyError
        If a file is missing (the message tells its role, name and address) or is not of the release.

    Examples
    --------
    >>> load_ontology("human-small").find("Mismatch repair")
    'Mismatch repair'
    """
    if str(name).endswith((".gmt", ".gmt.gz")):
        if folder is not None or release is not None:
            raise OntologyError(
                f"`folder` and `release` are for recipes; {Path(name).name} is a gene-set file. Leave them out."
            )
        return read_gmt(Path(name), **choices)
    path = _recipe_path(name)
    recipe = Recipe.read(path)
    reader, options = READERS[recipe.reader]
    chosen = {**recipe.choices, **choices}
    for choice in chosen:
        choose(f"a choice of the recipe {recipe.name!r}", choice, (*options, *OPERATIONS))
    named = {entry.release: entry for entry in recipe.releases}
    if release is not None:
        choose(f"the release of {recipe.name!r}", release, named)
    candidates = list(recipe.releases) if release is None else [named[release]]
    snapshot = path.parent / recipe.name
    where = Path(folder) if folder is not None else snapshot if snapshot.is_dir() else None
    files = _find(recipe, candidates, where)
    read = reader(files, **{choice: value for choice, value in chosen.items() if choice in options})
    origin = dict(read.provenance[0])
    found = _release(recipe, candidates, origin["files"], strict=release is not None)
    origin |= {
        "source": recipe.title,
        "recipe": recipe.name,
        "release": found if found != "current" or not origin["release"] else f"current ({origin['release']})",
        "species": recipe.species,
        "licence": recipe.licence,
        "citation": recipe.citation,
    }
    ontology = replace(read, provenance=(origin,))
    for choice, operation in OPERATIONS.items():
        if choice in chosen:
            value = chosen[choice]
            ontology = operation(ontology, [value] if isinstance(value, str) else list(value or ()))
    return ontology


def _shelf() -> Path:
    """The folder of recipes: inside an installed package, beside it in a source tree."""
    inside = Path(str(resources.files("vnn").joinpath("ontologies")))
    beside = Path(__file__).parents[2] / "ontologies"
    for shelf in (inside, beside):
        if shelf.is_dir():
            return shelf
    raise OntologyError(f"the catalogue is neither at {inside} nor at {beside}; install vnn again.")


def _recipe_path(name: str | Path) -> Path:
    if isinstance(name, Path) or name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise FileNotFoundError(f"there is no recipe at {path}.")
        return path
    known = {path.stem: path for path in sorted(_shelf().glob("*.toml"))}
    return known[choose("the ontology", name, known)]


def _find(recipe: Recipe, candidates: Sequence[Release], folder: Path | None) -> dict[str, Path]:
    """The files in `folder`, by role."""
    files: dict[str, Path] = {}
    missing: dict[str, Needed] = {}
    for needed in (needed for release in candidates for needed in release.files):
        plain = needed.name.removesuffix(".gz")
        names = (needed.name, plain, f"{plain}.gz")
        present = [folder / name for name in names if (folder / name).is_file()] if folder is not None else []
        if present:
            files.setdefault(needed.role, present[0])
        elif not needed.optional:
            missing.setdefault(needed.role, needed)
    lost = [needed for role, needed in missing.items() if role not in files]
    if lost:
        listed = "; ".join(f"{needed.role}: {needed.name} from {needed.address}" for needed in lost)
        place = f"{folder} lacks" if folder is not None else "load_ontology needs folder=..., a folder with"
        raise OntologyError(
            f"{place} {len(lost)} of the files of {recipe.title!r}: {listed}. Download them into one folder "
            "(plain or .gz) and give it as folder."
        )
    return files


def _release(recipe: Recipe, candidates: Sequence[Release], read: Sequence[Mapping[str, str]], *, strict: bool) -> str:
    """The release whose hashes the files have."""
    hashes = {record["role"]: {record["sha256"], record.get("content_sha256", "")} for record in read}

    def wrong(release: Release) -> list[str]:
        return [f.name for f in release.files if f.sha256 and f.role in hashes and f.sha256 not in hashes[f.role]]

    fixed = [release for release in candidates if any(needed.sha256 for needed in release.files)]
    for release in fixed:
        if not wrong(release):
            return release.release
    loose = [release.release for release in candidates if release not in fixed]
    if loose:
        return loose[0]
    nearest = min(fixed, key=lambda release: len(wrong(release)))
    rest = "" if not strict else f" Other releases: {culprits([r.release for r in recipe.releases if r not in fixed])}."
    raise OntologyError(
        f"{len(wrong(nearest))} files are not those of {recipe.title!r}, release {nearest.release!r}: "
        f"{culprits(wrong(nearest))} have another SHA-256. "
        f"Download them again, or write a recipe for your release.{rest}"
    )


def _without_branches(ontology: Ontology, names: Sequence[str]) -> Ontology:
    for name in names:
        ontology = ontology.without_branch(name)
    return ontology

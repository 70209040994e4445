"""The catalogue: recipes that tell where an ontology comes from, fetching its files, and reading it by name.

A recipe is a TOML file of the folder `ontologies/`, or one of the user's own. It holds no knowledge itself, except
for small snapshots that lie in a folder of the same name beside it.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as Day
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from vnn._atomic import sha256 as hash_of
from vnn._errors import OntologyError, choose, culprits
from vnn.ontology.annotations import read_annotations
from vnn.ontology.download import Fetched, Tell, UnreachableError, cache_folder, fetch, origin_of, present, silent
from vnn.ontology.edges import read_edges
from vnn.ontology.gmt import read_gmt
from vnn.ontology.go import read_go
from vnn.ontology.kegg import read_kegg
from vnn.ontology.obo import read_obo
from vnn.ontology.ontology import Ontology
from vnn.ontology.reactome import read_reactome, read_reactome_mapping

RECIPES = "VNN_RECIPES"

Files = Mapping[str, Path]


@dataclass(frozen=True)
class Reader:
    """How the files of a recipe become an ontology.

    Parameters
    ----------
    read
        Called with the files by role, and with the choices it knows by name.
    roles
        The files it needs.
    choices
        The arguments a recipe or a caller may choose.
    optional
        The files it takes where they are there.
    """

    read: Callable[..., Ontology]
    roles: tuple[str, ...]
    choices: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


# The one place where the name a recipe gives as its `reader` meets a function: a new reader is one more entry.
READERS: dict[str, Reader] = {
    "annotations": Reader(
        lambda files, columns=None, **choices: read_annotations(
            files["annotations"], _columns(columns), hierarchy=files.get("hierarchy"), **choices
        ),
        roles=("annotations",),
        choices=("columns", "several", "taxon", "without_qualifiers", "relations", "cross_namespace"),
        optional=("hierarchy",),
    ),
    "edges": Reader(
        lambda files, **choices: read_edges(files["edges"], **choices),
        roles=("edges",),
        choices=("direction", "genes"),
    ),
    "gmt": Reader(
        lambda files, **choices: read_gmt(files["gmt"], relations=files.get("relations"), **choices),
        roles=("gmt",),
        choices=("ids", "form", "species"),
        optional=("relations",),
    ),
    "go": Reader(
        lambda files, **choices: read_go(files["obo"], files["gaf"], **choices),
        roles=("obo", "gaf"),
        choices=("taxon", "gene", "relations", "cross_namespace", "without_qualifiers", "objects"),
    ),
    "kegg": Reader(
        lambda files, **choices: read_kegg(
            files["links"], files["pathways"], files.get("genes"), files.get("hierarchy"), **choices
        ),
        roles=("pathways", "links"),
        choices=("organism",),
        optional=("genes", "hierarchy"),
    ),
    "obo": Reader(
        lambda files, **choices: read_obo(files["obo"], **choices),
        roles=("obo",),
        choices=("relations", "cross_namespace"),
    ),
    "reactome": Reader(
        lambda files, **choices: read_reactome(files["gmt"], files["relations"], files.get("names"), **choices),
        roles=("gmt", "relations"),
        choices=("species",),
        optional=("names",),
    ),
    "reactome mapping": Reader(
        lambda files, **choices: read_reactome_mapping(
            files["mapping"], files.get("relations"), files.get("names"), **choices
        ),
        roles=("mapping",),
        choices=("species",),
        optional=("relations", "names"),
    ),
}

OPERATIONS: dict[str, Callable[[Ontology, Sequence[str]], Ontology]] = {
    "evidence": lambda ontology, names: ontology.with_evidence(*names) if names else ontology,
    "roots": lambda ontology, names: ontology.roots(*names) if names else ontology,
    "without_branch": lambda ontology, names: _without_branches(ontology, names),
}


def _bare(name: str) -> str:
    """A name that is safe as the name of a file or folder."""
    if not re.fullmatch(r"[\w{}][\w.{}@+-]*", name):
        raise ValueError(
            f"{name!r} cannot be the name of a file: letters, digits, '_', '-' and '.' only, and no folders"
        )
    return name


FileName = Annotated[str, AfterValidator(_bare)]


class Needed(BaseModel):
    """A file a release consists of.

    `name` is what it is called here, `aliases` are other names under which people have it; `sha256` is that of the
    file, or of its content where it is compressed. A file whose address is a zip archive is unpacked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: str
    name: FileName
    format: str
    address: str
    aliases: tuple[FileName, ...] = ()
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    optional: bool = False


class Release(BaseModel):
    """One release of an ontology; the hashes of its files are known where it is fixed.

    With a `pattern`, a regular expression, it stands for all releases whose names match; "{release}" in the names and
    addresses of its files is that name, and `release` shows its form ("YYYY-MM-DD").
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    release: FileName
    date: Day | None = None
    note: str = ""
    pattern: str = ""
    files: Annotated[tuple[Needed, ...], Field(min_length=1)]

    def called(self, release: str) -> Release:
        """The release of this name, out of those the pattern stands for."""
        files = [
            needed.model_copy(
                update={
                    "name": needed.name.replace("{release}", release),
                    "address": needed.address.replace("{release}", release),
                }
            )
            for needed in self.files
        ]
        return self.model_copy(update={"release": _bare(release), "pattern": "", "files": tuple(files)})


class Recipe(BaseModel):
    """Where an ontology comes from, what may be done with it, and how it is read by default.

    `choices` are the arguments of the reader and of the operations after it ("without_branch", "roots", "evidence");
    `load_ontology` takes the same names to override them. `variants` are further names of the same ontology with
    choices of their own ("go-bp" for one namespace of "go"); they share its files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: FileName
    title: str
    reader: str
    species: str
    identifier: str
    licence: str
    citation: str
    redistributable: bool
    choices: dict[str, Any] = {}
    variants: dict[str, dict[str, Any]] = {}
    releases: tuple[Release, ...]

    @model_validator(mode="after")
    def _complete(self) -> Recipe:
        names = [release.release for release in self.releases]
        if all(release.pattern for release in self.releases) or len(set(names)) < len(names):
            raise ValueError("a recipe needs releases of different names, at least one of them without a pattern")
        for release in self.releases:
            re.compile(release.pattern)
            if (reader := READERS.get(self.reader)) is None:
                continue
            roles = {needed.role for needed in release.files}
            if lacking := set(reader.roles) - roles:
                raise ValueError(
                    f"release {release.release!r} lacks the roles {culprits(sorted(lacking))} of its reader"
                )
            if foreign := roles - {*reader.roles, *reader.optional}:
                raise ValueError(
                    f"release {release.release!r} has roles its reader does not know: {culprits(sorted(foreign))}"
                )
        return self

    @classmethod
    def read(cls, path: Path | str) -> Recipe:
        """Read a recipe from its TOML file."""
        try:
            return cls.model_validate(tomllib.loads(Path(path).read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, ValidationError, re.error, ValueError) as error:
            raise OntologyError(f"{path} is no recipe of an ontology: {error}") from error

    def find(self, release: str) -> Release:
        """The release of this name, or the one a pattern stands for.

        Raises
        ------
        ValueError
            If the recipe knows none; the message lists what it knows.
        """
        named = {known.release: known for known in self.releases if not known.pattern}
        families = [known for known in self.releases if known.pattern]
        for family in families:
            if release not in named and re.fullmatch(family.pattern, release):
                return family.called(release)
        forms = [f"any of the form {family.release}" for family in families]
        return named[choose(f"the release of {self.name!r}", release, [*named, *forms])]


@dataclass(frozen=True)
class Asked:
    """What a name of the catalogue means: a recipe, the release if one was named, and the choices that go with it."""

    name: str
    recipe: Recipe
    path: Path
    release: Release | None
    choices: Mapping[str, Any]

    @property
    def snapshot(self) -> Path | None:
        """The folder beside the recipe that holds its files, if there is one."""
        folder = self.path.parent / self.recipe.name
        return folder if folder.is_dir() else None

    @property
    def candidates(self) -> list[Release]:
        """The releases that are meant."""
        return (
            [release for release in self.recipe.releases if not release.pattern]
            if self.release is None
            else [self.release]
        )

    def cached(self) -> tuple[Release, Path] | None:
        """The release that is meant and is in the cache with all its files; the recipe's order decides."""
        shelf = _cache(self.recipe)
        known = self.candidates
        if self.release is None and shelf.is_dir():
            families = [release for release in self.recipe.releases if release.pattern]
            for name in sorted((entry.name for entry in shelf.iterdir() if entry.is_dir()), reverse=True):
                known += [family.called(name) for family in families if re.fullmatch(family.pattern, name)]
        for release in known:
            where = shelf / release.release
            if all(needed.optional or present(where / needed.name, *needed.aliases) for needed in release.files):
                return release, where
        return None


def catalogue(recipes: Path | str | None = None) -> list[Recipe]:
    """The recipes that come with `vnn` and the user's own, by name.

    Parameters
    ----------
    recipes
        Folder of the user's own recipes; the folders of the environment variable `VNN_RECIPES` unless given. A recipe
        of the user takes the place of a shipped one of the same name.
    """
    return [Recipe.read(path) for _, path in sorted(_known(recipes).items())]


def find_recipe(name: str | Path, *, release: str | None = None, recipes: Path | str | None = None) -> Asked:
    """The recipe, release and choices a name stands for: "reactome", "reactome@97", "go-bp", "mine.toml".

    Raises
    ------
    ValueError
        If the catalogue knows no such name, or the recipe no such release.
    """
    typed, text = str(name), str(name)
    if "@" in text and not text.endswith(".toml"):
        text, _, named = text.rpartition("@")
        if release not in (None, named):
            raise ValueError(
                f"{typed!r} names the release {named!r}, and release={release!r} another; leave one of them out."
            )
        release = named
    variant: Mapping[str, Any] = {}
    if isinstance(name, Path) or text.endswith(".toml"):
        path = Path(text)
        if not path.is_file():
            raise FileNotFoundError(f"there is no recipe at {path}.")
        recipe = Recipe.read(path)
    else:
        known = _known(recipes)
        if text in known:
            path = known[text]
            recipe = Recipe.read(path)
        else:
            all_of = {key: Recipe.read(at) for key, at in known.items()}
            variants = {key: (known[own], read) for own, read in all_of.items() for key in read.variants}
            path, recipe = variants[choose("the ontology", text, [*known, *variants])]
            variant = recipe.variants[text]
    chosen = None if release is None else recipe.find(release)
    return Asked(typed, recipe, path, chosen, {**recipe.choices, **variant})


def fetch_ontology(
    name: str | Path,
    *,
    release: str | None = None,
    recipes: Path | str | None = None,
    refresh: bool = False,
    patience: float = 30.0,
    tell: Tell = silent,
) -> dict[str, Fetched]:
    """Download the files of an ontology of the catalogue into the user's cache; what is there is not fetched again.

    Every file is checked before it gets its name, against the hash of the recipe where the release is fixed; where
    it is not, what came is written down beside the file (hash, day, what the server said) and goes into the provenance
    of whatever is read from it.

    Parameters
    ----------
    name, recipes
        As in `load_ontology`; the release may be part of the name, as in "reactome@97".
    release
        The first of the recipe unless named.
    refresh
        Whether to ask the servers again for files without a fixed hash.
    patience, tell
        As in `vnn.ontology.download.fetch`.

    Returns
    -------
    The files by role; none for a snapshot, which is shipped.

    Raises
    ------
    OntologyError
        If something else came than the recipe says. If an address cannot be reached, the message tells which files to
        fetch by hand and where to put them.
    """
    asked = find_recipe(name, release=release, recipes=recipes)
    if asked.snapshot is not None:
        return {}
    wanted = asked.candidates[0]
    folder = _cache(asked.recipe) / wanted.release
    found: dict[str, Fetched] = {}
    for needed in wanted.files:
        path = present(folder / needed.name, *needed.aliases) or folder / needed.name
        try:
            found[needed.role] = fetch(
                needed.address,
                path,
                role=needed.role,
                sha256=needed.sha256,
                refresh=refresh,
                patience=patience,
                tell=tell,
            )
        except UnreachableError as error:
            lacking = [n for n in wanted.files if not present(folder / n.name, *n.aliases)]
            raise UnreachableError(f"{error} {_by_hand(lacking, folder)}") from error
    return found


def load_ontology(
    name: str | Path,
    *,
    folder: Path | str | None = None,
    release: str | None = None,
    recipes: Path | str | None = None,
    **choices: Any,
) -> Ontology:
    """An ontology of the catalogue, or of a recipe of your own.

    Files are found by the names in the recipe, with or without `.gz`. Nothing is downloaded: `fetch_ontology`, or
    `vnn ontology get NAME` on the command line, does that.

    Parameters
    ----------
    name
        Name of a recipe of the catalogue ("reactome", "go", "go-bp", "hallmark", "human-small"), with its release if you
        like ("reactome@97"), path of a recipe (.toml), or path of a gene-set file (.gmt), whose `choices` are those of
        `read_gmt`.
    folder
        Where the files lie; the user's cache unless given, or the snapshot that is shipped.
    release
        Release the files must be, checked by their hashes. By default the one whose hashes they have, or "current",
        unchecked, where the recipe has such a release.
    recipes
        Folder of your own recipes; the folders of the environment variable `VNN_RECIPES` unless given.
    choices
        Instead of the recipe's default choices: arguments of its reader, and `without_branch`, `roots`, `evidence`
        (each a name or a sequence of names; empty for none).

    Returns
    -------
    The ontology; its provenance tells recipe, release, choices, licence, citation, and the hash and origin of every
    file read.

    Raises
    ------
    OntologyError
        If a file is missing (the message tells its role, name and address, and the command that fetches it) or is not of
        the release.

    Examples
    --------
    >>> load_ontology("human-small").find("Mismatch repair")
    'Mismatch repair'
    """
    return wanted(name, folder=folder, release=release, recipes=recipes, **choices).read()


@dataclass(frozen=True, eq=False)
class Wanted:
    """What `load_ontology` is about to read.

    Parameters
    ----------
    files
        By their roles.
    recipe
        The recipe; none for a gene-set file.
    choices
        Of the recipe and the caller.
    read
        Reads the files.
    """

    files: Files
    recipe: Asked | None
    choices: Mapping[str, Any]
    read: Callable[[], Ontology]

    def identity(self) -> dict[str, Any]:
        """What decides the ontology: content and names of the files, recipe and choices, as JSON values."""
        files = {role: (path.name, hash_of(path)) for role, path in sorted(self.files.items())}
        asked = self.recipe
        recipe = (
            None if asked is None else (hash_of(asked.path), None if asked.release is None else asked.release.release)
        )
        return {"files": files, "recipe": recipe, "choices": dict(self.choices)}


def wanted(
    name: str | Path,
    *,
    folder: Path | str | None = None,
    release: str | None = None,
    recipes: Path | str | None = None,
    **choices: Any,
) -> Wanted:
    """What `load_ontology` reads by the same arguments; the files are found and not yet opened."""
    if str(name).endswith((".gmt", ".gmt.gz")):
        if folder is not None or release is not None:
            raise OntologyError(
                f"`folder` and `release` are for recipes; {Path(name).name} is a gene-set file. Leave them out."
            )
        return Wanted({"gmt": Path(name)}, None, choices, partial(read_gmt, Path(name), **choices))
    asked = find_recipe(name, release=release, recipes=recipes)
    recipe = asked.recipe
    reader = READERS[choose(f"the reader of the recipe {recipe.name!r}", recipe.reader, READERS)]
    chosen = {**asked.choices, **choices}
    for choice in chosen:
        choose(f"a choice of the recipe {recipe.name!r}", choice, (*reader.choices, *OPERATIONS))
    candidates, where = asked.candidates, Path(folder) if folder is not None else asked.snapshot
    if where is None and (cached := asked.cached()) is not None:
        candidates, where = [cached[0]], cached[1]
    files = _find(asked, candidates, where)
    return Wanted(files, asked, chosen, partial(_read, asked, reader, candidates, files, chosen))


def _read(
    asked: Asked, reader: Reader, candidates: Sequence[Release], files: Files, choices: Mapping[str, Any]
) -> Ontology:
    recipe = asked.recipe
    read = reader.read(files, **_own(reader, choices))
    origin = dict(read.provenance[0])
    found = _release(recipe, candidates, origin["files"], strict=asked.release is not None)
    origin |= {
        "source": recipe.title,
        "recipe": recipe.name,
        "release": found if found != "current" or not origin["release"] else f"current ({origin['release']})",
        "species": recipe.species,
        "licence": recipe.licence,
        "citation": recipe.citation,
        "choices": choices,
        "files": [_with_origin(record, files) for record in origin["files"]],
    }
    return _operated(read.of_origin(origin), choices)


def read_files(files: Files, *, reader: str | None = None, **choices: Any) -> Ontology:
    """An ontology from files of your own, by role, without a recipe.

    Parameters
    ----------
    files
        Path by role, such as {"obo": ..., "gaf": ...}.
    reader
        Name of the reader in `READERS`; may be left out where only one needs just these roles.
    choices
        Arguments of the reader, and of the operations after it, as in `load_ontology`.
    """
    if reader is None:
        fitting = [name for name, known in READERS.items() if set(known.roles) == files.keys()]
        if len(fitting) != 1:
            needs = "; ".join(f"{name}: {', '.join(known.roles)}" for name, known in READERS.items())
            raise OntologyError(
                f"files with the roles {culprits(files)} do not tell how they are read; name the reader. Readers and the "
                f"roles they need: {needs}."
            )
        reader = fitting[0]
    known = READERS[choose("the reader", reader, READERS)]
    for role in files:
        choose(f"a role of the reader {reader!r}", role, (*known.roles, *known.optional))
    if lacking := set(known.roles) - files.keys():
        raise OntologyError(
            f"the reader {reader!r} also needs files with the roles {culprits(sorted(lacking))}; give them as ROLE=FILE."
        )
    for choice in choices:
        choose(f"a choice of the reader {reader!r}", choice, (*known.choices, *OPERATIONS))
    return _operated(known.read(files, **_own(known, choices)), choices)


def _own(reader: Reader, choices: Mapping[str, Any]) -> dict[str, Any]:
    return {choice: value for choice, value in choices.items() if choice in reader.choices}


def _operated(ontology: Ontology, choices: Mapping[str, Any]) -> Ontology:
    """The ontology after the operations among the choices."""
    for choice, operation in OPERATIONS.items():
        if choice in choices:
            value = choices[choice]
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


def _known(recipes: Path | str | None) -> dict[str, Path]:
    """The files of all recipes by name, the user's own before the shipped ones."""
    own = [recipes] if recipes is not None else [part for part in os.environ.get(RECIPES, "").split(os.pathsep) if part]
    for folder in own:
        if not Path(folder).is_dir():
            raise FileNotFoundError(
                f"there is no folder of recipes at {folder}; give the folder that holds your .toml files."
            )
    shelves = [_shelf(), *(Path(folder) for folder in reversed(own))]
    return {path.stem: path for shelf in shelves for path in sorted(shelf.glob("*.toml"))}


def _cache(recipe: Recipe) -> Path:
    return cache_folder() / "ontologies" / recipe.name


def _by_hand(lacking: Sequence[Needed], folder: Path) -> str:
    zipped = [".zip" in needed.address and not needed.name.endswith(".zip") for needed in lacking]
    listed = "; ".join(
        f"{needed.address} as {needed.name}{' (unpacked)' if packed else ''}"
        for needed, packed in zip(lacking, zipped, strict=True)
    )
    them = "it" if len(lacking) == 1 else "them"
    return (
        f"Behind a proxy, set HTTPS_PROXY. Without a connection, fetch on another machine: {listed}. Put {them} into {folder} "
        "and run the same command again, which checks what it finds."
    )


def _find(asked: Asked, candidates: Sequence[Release], folder: Path | None) -> dict[str, Path]:
    """The files in `folder`, by role."""
    files: dict[str, Path] = {}
    missing: dict[str, Needed] = {}
    for needed in (needed for release in candidates for needed in release.files):
        there = present(folder / needed.name, *needed.aliases) if folder is not None else None
        if there is not None:
            files.setdefault(needed.role, there)
        elif not needed.optional:
            missing.setdefault(needed.role, needed)
    lost = [needed for role, needed in missing.items() if role not in files]
    if lost:
        listed = "; ".join(f"{needed.role}: {needed.name} from {needed.address}" for needed in lost)
        title, command = asked.recipe.title, f"`vnn ontology get {asked.name}`"
        if folder is None:
            raise OntologyError(
                f"the files of {title!r} are not in the cache. Fetch them with {command}, or give folder=..., a folder with "
                f"{listed}."
            )
        raise OntologyError(
            f"{folder} lacks {len(lost)} of the files of {title!r}: {listed}. Put them there, plain or .gz; or leave the folder "
            f"out and fetch them with {command}."
        )
    return files


def _with_origin(record: Mapping[str, str], files: Files) -> dict[str, str]:
    origin = origin_of(files[record["role"]], record["sha256"]) if record["role"] in files else None
    return {**record, **({} if origin is None else origin.record())}


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


def _columns(given: Sequence[str] | Mapping[str, str] | str | None) -> Sequence[str] | Mapping[str, str]:
    """What the columns of an annotation table hold, which no file tells by itself."""
    if given is None:
        raise OntologyError(
            'an annotation table does not say what its columns hold; give the choice `columns`, such as columns=["gene", "term"] '
            'or columns={gene = "symbol", term = "id"} for a table with a header.'
        )
    return given.split(",") if isinstance(given, str) else given


def _without_branches(ontology: Ontology, names: Sequence[str]) -> Ontology:
    for name in names:
        ontology = ontology.without_branch(name)
    return ontology

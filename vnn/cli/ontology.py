"""Ontologies on the command line: what the catalogue holds, fetching its files, and wirings made from them."""

from __future__ import annotations

import json
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vnn.ontology import Entry, Ontology, Recipe, Topology
    from vnn.ontology.catalogue import Asked
    from vnn.ontology.download import Fetched

WIDTH = 118
SUFFIXES = {".gmt": "gmt", ".obo": "obo", ".gaf": "gaf"}

Recipes = Annotated[Path | None, typer.Option(help="Folder of your own recipes, instead of VNN_RECIPES.")]
Folder = Annotated[Path | None, typer.Option(help="Where the files of the recipe lie, instead of the cache.")]
Genes = Annotated[
    Path | None,
    typer.Option(help="Text file with one measured feature a line; all genes of the ontology unless given."),
]
Table = Annotated[
    Path | None, typer.Option(help="HGNC's table, through which features and genes become approved symbols.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program.")]

ontology_app = typer.Typer(
    help="What the catalogue of ontologies holds, their files, and wirings made from them.", no_args_is_help=True
)


def add(app: typer.Typer) -> None:
    """Register `vnn ontology` with the command line."""
    app.add_typer(ontology_app, name="ontology")


@ontology_app.command("list")
def list_recipes(recipes: Recipes = None, as_json: Json = False) -> None:
    """The recipes of the catalogue."""
    from vnn.ontology import catalogue

    found = catalogue(recipes)
    if as_json:
        typer.echo(json.dumps({"recipes": [_described(recipe) for recipe in found]}))
        return
    for recipe in found:
        kept = "" if recipe.redistributable else "; not to be passed on"
        typer.echo(f"{recipe.name:<14} {recipe.title}; {recipe.species}; {recipe.licence}{kept}")
        for variant, choices in recipe.variants.items():
            typer.echo(f"{variant:<14} {recipe.title} with {_listed(choices)}")


@ontology_app.command("show")
def show(
    name: Annotated[
        str | None, typer.Argument(help="NAME or NAME@RELEASE of the catalogue, a recipe file, or a .gmt file.")
    ] = None,
    folder: Folder = None,
    recipes: Recipes = None,
    as_json: Json = False,
) -> None:
    """The catalogue, or one recipe: licence, citation, releases; and its counts where the files are here."""
    from vnn.ontology import load_ontology
    from vnn.ontology.catalogue import find_recipe

    if name is None:
        list_recipes(recipes, as_json)
        return
    asked = None if name.endswith((".gmt", ".gmt.gz")) else find_recipe(name, recipes=recipes)
    here = asked is None or folder is not None or asked.snapshot is not None or asked.cached() is not None
    if asked is not None and not as_json:
        _describe(asked)
    ontology = load_ontology(name, folder=folder, recipes=recipes) if here else None
    if as_json:
        told = {} if asked is None else _described(asked.recipe)
        typer.echo(json.dumps(told | {"here": None if ontology is None else _counted(ontology)}))
    elif ontology is None:
        typer.echo(f"Its files are not here: vnn ontology get {name}")
    else:
        _count(ontology)


@ontology_app.command("get")
def get(
    names: Annotated[list[str], typer.Argument(metavar="NAME[@RELEASE]...", help="Of the catalogue, or recipe files.")],
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask again for files whose release is not fixed, such as the current one.")
    ] = False,
    patience: Annotated[
        float, typer.Option(min=1.0, help="Seconds without an answer after which a connection counts as cut.")
    ] = 30.0,
    recipes: Recipes = None,
    as_json: Json = False,
) -> None:
    """Download the files of an ontology into the cache, once: checked, resumed when cut, through your proxy."""
    from vnn.ontology.catalogue import fetch_ontology, find_recipe

    told = []
    for name in names:
        asked = find_recipe(name, recipes=recipes)
        recipe = asked.recipe
        if not as_json:
            typer.echo(_wrapped(f"{recipe.title}. Licence: {recipe.licence}. Cite: {recipe.citation}"))
        with _progress() as tell:
            files = fetch_ontology(name, recipes=recipes, refresh=refresh, patience=patience, tell=tell)
        told.append(_got(asked, files))
        if not as_json:
            for role, file in files.items():
                typer.echo(
                    f"  {role}: {file.path} ({file.state}; {file.origin.size:,} bytes, sha256 {file.origin.sha256})"
                )
            if not files:
                typer.echo("  It is shipped with its recipe; nothing is to be fetched.")
    if as_json:
        typer.echo(json.dumps({"fetched": told}))


@ontology_app.command("build")
def build(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|FILES...",
            help="NAME or NAME@RELEASE of the catalogue, a recipe file, or files: .gmt, .obo with .gaf, or ROLE=FILE.",
        ),
    ],
    output: Annotated[Path, typer.Option("--out", help="New folder for topology.npz, log.txt and log.json.")],
    genes: Genes = None,
    identifiers: Table = None,
    folder: Folder = None,
    reader: Annotated[str | None, typer.Option(help="How FILES are read, where their roles leave a choice.")] = None,
    choice: Annotated[
        list[str] | None,
        typer.Option(
            "--choice",
            metavar="KEY=VALUE",
            help="A choice of the recipe or reader, such as taxon=9606; may be repeated.",
        ),
    ] = None,
    min_genes: Annotated[int, typer.Option(min=1, help="Smallest number of measured genes of a term.")] = 5,
    max_genes: Annotated[int | None, typer.Option(min=1, help="Largest number of measured genes of a term.")] = None,
    depth: Annotated[int | None, typer.Option(min=1, help="Most levels of terms, counted from the roots.")] = None,
    skips: Annotated[str, typer.Option(help='"edges" or "copies".')] = "edges",
    gene_level: Annotated[
        bool, typer.Option("--gene-level", help="Genes are nodes between features and terms.")
    ] = False,
    jaccard: Annotated[
        float | None, typer.Option(help="From which overlap of genes a term is left out beside another, such as 0.9.")
    ] = None,
    levels: Annotated[str, typer.Option(help='"longest path", "depth" or "hybrid".')] = "longest path",
    residual: Annotated[bool, typer.Option("--residual", help="A node for the features that no term has.")] = False,
    free: Annotated[int, typer.Option(min=0, help="Nodes that see every feature.")] = 0,
    recipes: Recipes = None,
    as_json: Json = False,
) -> None:
    """Make a topology from an ontology and say what became of every gene and term."""
    from vnn._atomic import write_text
    from vnn._errors import choose
    from vnn.ontology import Identifiers, translated

    choose("--skips", skips, ("edges", "copies"))
    _new(output)
    ontology = _read(sources, reader=reader, folder=folder, recipes=recipes, choices=dict(map(_chosen, choice or [])))
    measured = ontology.genes if genes is None else _genes(genes)
    features: Any = measured
    if identifiers is not None:
        table = Identifiers.read(identifiers)
        ontology, features = translated(ontology, table), table.resolve(measured).genes
    settings: dict[str, Any] = {
        "min_genes": min_genes,
        "max_genes": max_genes,
        "depth": depth,
        "skips": skips,
        "gene_level": gene_level,
        "jaccard": jaccard,
        "levels": levels,
        "residual": residual,
        "free": free,
    }
    topology = ontology.topology(features, **settings)
    summary = _built(topology, settings, len(measured))
    entries = [entry.to_json() | {"count": entry.count} for entry in topology.log]
    topology.save(output / "topology.npz")
    write_text(output / "log.json", json.dumps(summary | {"log": entries}, indent=1) + "\n")
    write_text(output / "log.txt", "\n".join(_full(entry) for entry in topology.log) + "\n")
    if as_json:
        brief = [{key: entry[key] for key in ("step", "kind", "reason", "count")} for entry in entries]
        typer.echo(json.dumps(summary | {"folder": str(output), "log": brief}))
        return
    typer.echo(f"{topology!r}, written to {output}")
    for level in topology.levels:
        copies = f" and {len(level.copies):,} copies" if level.copies else ""
        typer.echo(f"  {level.name}: {len(level) - len(level.copies):,} nodes{copies}")
    for entry in topology.log:
        typer.echo(_wrapped(str(entry)))


@ontology_app.command("plot")
def plot(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="NAME|FILES...", help="As for build, or a topology.npz that build wrote."),
    ],
    output: Annotated[Path, typer.Option("--out", help="New folder for wiring.html and the figures.")],
    term: Annotated[str | None, typer.Option(help="Id or name of the node whose neighbourhood is drawn.")] = None,
    genes: Genes = None,
    folder: Folder = None,
    recipes: Recipes = None,
) -> None:
    """Draw a wiring: its levels, the neighbourhood of a term, and a page on which one walks from node to node."""
    from functools import partial

    from vnn.ontology import Topology
    from vnn.report.static import write_drawn
    from vnn.report.wiring import draw_levels, draw_neighbourhood, neighbourhood, write_wiring

    _new(output)
    if len(sources) == 1 and sources[0].endswith(".npz"):
        topology = Topology.load(sources[0])
    else:
        ontology = _read(sources, reader=None, folder=folder, recipes=recipes, choices={})
        topology = ontology.topology(ontology.genes if genes is None else _genes(genes))
    drawn = {"levels": partial(draw_levels, topology)}
    if term is not None:
        neighbourhood(topology, term)
        drawn["neighbourhood"] = partial(draw_neighbourhood, topology, term)
    output.mkdir(parents=True, exist_ok=True)
    write_wiring(output / "wiring.html", topology, title=Path(sources[0]).stem, node=term)
    for path in (output / "wiring.html", *write_drawn(output, drawn)):
        typer.echo(path)


def _new(output: Path) -> None:
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ValueError(f"{output} exists already and is not an empty folder; name another with --out, or remove it.")


def _read(
    sources: Sequence[str], *, reader: str | None, folder: Path | None, recipes: Path | None, choices: dict[str, Any]
) -> Ontology:
    """The ontology of a name of the catalogue, or of files."""
    from vnn.ontology import load_ontology
    from vnn.ontology.catalogue import read_files

    roles = [_role(source) for source in sources]
    if reader is None and len(sources) == 1 and roles[0] is None:
        return load_ontology(sources[0], folder=folder, recipes=recipes, **choices)
    if folder is not None or recipes is not None:
        raise ValueError(
            "--folder and --recipes are for one NAME of the catalogue; leave them out where files are named."
        )
    if unknown := [source for source, role in zip(sources, roles, strict=True) if role is None]:
        raise ValueError(
            f"{unknown[0]!r} is not told to be anything: several names cannot be built at once, and a file needs its role, such as "
            f"relations={unknown[0]}."
        )
    files = {
        role: Path(source.removeprefix(f"{role}="))
        for source, role in zip(sources, roles, strict=True)
        if role is not None
    }
    if len(files) < len(sources):
        raise ValueError(
            f"two of the files have the same role: {', '.join(sources)}. Give each role once, as ROLE=FILE."
        )
    return read_files(files, reader=reader, **choices)


def _role(source: str) -> str | None:
    """What a file is for: as told by ROLE=FILE, or by its name."""
    role, told, path = source.partition("=")
    if told and path and role.isidentifier():
        return role
    return SUFFIXES.get(Path(source.removesuffix(".gz")).suffix)


def _chosen(given: str) -> tuple[str, Any]:
    """A choice as it would stand in a recipe; a plain word needs no quotes."""
    key, told, value = given.partition("=")
    if not told:
        raise ValueError(
            f"--choice is {given!r}; it needs a key and a value, such as taxon=9606 or roots=['Metabolism']."
        )
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def _genes(path: Path) -> tuple[str, ...]:
    found = tuple(
        dict.fromkeys(name for line in path.read_text(encoding="utf-8-sig").splitlines() if (name := line.strip()))
    )
    if not found:
        raise ValueError(f"the list of genes {path} is empty; it needs one gene a line.")
    return found


def _built(topology: Topology, settings: dict[str, Any], n_measured: int) -> dict[str, Any]:
    return {
        "topology": topology.fingerprint,
        "levels": {level.name: len(level) - len(level.copies) for level in topology.levels},
        "edges": topology.n_edges,
        "features": n_measured,
        "settings": settings,
        "provenance": list(topology.provenance),
    }


def _full(entry: Entry) -> str:
    names = textwrap.indent("\n".join(entry.names), "  ")
    return f"{entry.step}: {entry.count:,} {entry.kind} {entry.reason}\n{names}"


def _described(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json")


def _describe(asked: Asked) -> None:
    recipe = asked.recipe
    typer.echo(f"{recipe.name}: {recipe.title}")
    kept = "may be passed on" if recipe.redistributable else "not to be passed on"
    for key, value in (
        ("species", recipe.species),
        ("identifiers", recipe.identifier),
        ("licence", f"{recipe.licence}; {kept}"),
        ("citation", recipe.citation),
        ("choices", _listed(asked.choices) or "none"),
        ("variants", ", ".join(recipe.variants)),
    ):
        if value:
            typer.echo(_wrapped(f"{key}: {value}"))
    for release in recipe.releases if asked.release is None else [asked.release]:
        fixed = all(needed.sha256 for needed in release.files)
        note = f". {release.note}" if release.note else ""
        typer.echo(_wrapped(f"release {release.release}{', hashes known' if fixed else ''}{note}"))
        for needed in release.files:
            may = ", optional" if needed.optional else ""
            typer.echo(f"    {needed.role}{may}: {needed.name} from {needed.address}")


def _count(ontology: Ontology) -> None:
    typer.echo(repr(ontology))
    for source in ontology.provenance:
        for key, value in source.items():
            if key != "files" and value:
                typer.echo(_wrapped(f"{key}: {value}"))
        for file in source["files"]:
            came = f", fetched {file['retrieved']}" if file.get("address") else ""
            typer.echo(f"  {file['role']}: {file['name']}, sha256 {file['sha256']}{came}")
    for entry in ontology.log:
        typer.echo(_wrapped(str(entry)))


def _counted(ontology: Ontology) -> dict[str, Any]:
    return {
        "terms": len(ontology.terms),
        "relations": len(ontology.relations),
        "genes": len(ontology.genes),
        "annotations": len(ontology.annotations),
        "provenance": list(ontology.provenance),
        "log": [{"step": e.step, "kind": e.kind, "reason": e.reason, "count": e.count} for e in ontology.log],
    }


def _got(asked: Asked, files: dict[str, Fetched]) -> dict[str, Any]:
    recipe = asked.recipe
    return {
        "name": recipe.name,
        "release": asked.candidates[0].release,
        "licence": recipe.licence,
        "citation": recipe.citation,
        "redistributable": recipe.redistributable,
        "files": [
            {
                "role": role,
                "path": str(file.path),
                "state": file.state,
                "sha256": file.origin.sha256,
                "size": file.origin.size,
                **file.origin.record(),
            }
            for role, file in files.items()
        ],
    }


def _listed(choices: Any) -> str:
    return ", ".join(f"{key} = {value!r}" for key, value in choices.items())


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on a terminal, and one line for every file and every hitch elsewhere; always on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        said: set[str] = set()

        def say(what: str, done: int, total: int | None) -> None:
            if what not in said:
                said.add(what)
                typer.echo(what if total is None else f"{what}: {total:,} bytes", err=True)

        yield say
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, Any] = {}

        def draw(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield draw

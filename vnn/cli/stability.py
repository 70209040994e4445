"""How far explanations of a study's networks agree: the protocol of Zhao, from its output folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from vnn.interpret.protocol import Protocol

Names = list[str] | None


def add(app: typer.Typer) -> None:
    """Register `vnn stability` with the command line."""
    app.command()(stability)


def stability(
    study: Annotated[Path, typer.Argument(metavar="FIT", help="Output folder of a study.")],
    output: Annotated[
        Path | None, typer.Option(help="Folder for tables and figures; a new one inside FIT unless given.")
    ] = None,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="As Zhao, Shao & Asmann published it, instead of the default form.")
    ] = False,
    explainer: Annotated[
        Names, typer.Option("--explainer", help="May be repeated; all known ones unless given.")
    ] = None,
    reference: Annotated[
        Names, typer.Option("--reference", help='"mean", "zero", "normal", "universal" or "specific"; may be repeated.')
    ] = None,
    level: Annotated[Names, typer.Option("--level", help="May be repeated; all levels unless given.")] = None,
    top: Annotated[
        float | None, typer.Option(help="Nodes that count as the top: a number, or below 1 a share of the level.")
    ] = None,
    draws: Annotated[int, typer.Option(help="Random references per network.")] = 10,
    dropout: Annotated[int, typer.Option(help="Also explain this many thinned networks of each, dropout on.")] = 0,
    genes: Annotated[
        Names,
        typer.Option(
            "--list", metavar="NAME=FILE", help="Genes, one a line, to look for among the top; may be repeated."
        ),
    ] = None,
    most_samples: Annotated[int, typer.Option(help="As published: most samples explained.")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    figures: Annotated[bool, typer.Option(help="Whether figures are drawn.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program.")] = False,
) -> None:
    """How far the networks of a study agree on what matters, and how many must be averaged (Zhao's protocol)."""
    from vnn._atomic import write_csv, write_text
    from vnn._errors import StudyError
    from vnn.interpret.protocol import protocol
    from vnn.report.agreement import write_agreement

    folder = output or study / ("protocol-as-published" if as_published else "protocol")
    if folder.exists() and any(folder.iterdir()):
        raise StudyError(f"{folder} exists already and is not empty; name another folder with --output, or remove it.")
    fit, samples = _read(study)
    lists = {name: _genes(path) for name, path in map(_named, genes or [])}
    found = protocol(
        fit, samples, as_published=as_published, explainers=explainer, references=reference, levels=level, top=top,
        n_draws=draws, dropout_repeats=dropout, lists=lists, most_samples=most_samples, seed=seed,
    )  # fmt: skip
    for name, table in found.tables().items():
        write_csv(folder / f"{name}.csv", table, index=False)
    write_text(folder / "words.txt", found.words() + "\n")
    if figures:
        write_agreement(folder, found)
    typer.echo(
        json.dumps(_summary(found, folder)) if as_json else f"{found.words()}\nTables and figures are in {folder}."
    )


def _read(study: Path) -> tuple[Any, Any]:
    """The fit of a study, and its samples read again as the study read them."""
    from vnn._errors import StudyError
    from vnn.ontology import Topology
    from vnn.study import RECORD, Study, read_material
    from vnn.training import Fit

    if not (study / RECORD).exists():
        raise StudyError(f"{study} is not the output folder of a study: it holds no {RECORD}.")
    if not (study / "topology.npz").exists():
        raise StudyError(f"{study} holds a study that was not finished; run it to its end first.")
    fit = Fit.load(study / "fit", Topology.load(study / "topology.npz"))
    record = Study(**json.loads((study / RECORD).read_text())["study"])
    return fit, read_material(record).samples


def _named(given: str) -> tuple[str, Path]:
    from vnn._errors import StudyError

    name, found, path = given.partition("=")
    if not (name and found and path):
        raise StudyError(f"--list is {given!r}; it needs a name and a file, such as --list housekeeping=genes.txt.")
    return name, Path(path)


def _genes(path: Path) -> list[str]:
    from vnn._errors import StudyError

    if not (names := path.read_text().split()):
        raise StudyError(f"the list {path} is empty; it needs one gene a line.")
    return names


def _summary(found: Protocol, folder: Path) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "as_published": found.as_published,
        "models": len(found.models),
        "samples": found.n_explained,
        "settings": list(found.settings),
        "curves": json.loads(found.curves.to_json(orient="records")),
        "matrix": json.loads(found.matrix.to_json(orient="records")),
        "left_out": list(found.left_out),
    }

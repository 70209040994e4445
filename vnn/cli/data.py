"""Data on the command line: genotypes, given or simulated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vnn.cli import genotypes

if TYPE_CHECKING:
    from vnn.data.genotypes import SimulatedGenotypes

data_app = typer.Typer(
    help="Genotypes: quality control, components, pruning, and simulated studies whose truth is known.",
    no_args_is_help=True,
)


def add(app: typer.Typer) -> None:
    """Register `vnn data` with the command line."""
    genotypes.add(data_app)
    app.add_typer(data_app, name="data")


@data_app.callback()
def _data() -> None:
    """A folder of commands, also while it holds one."""


@data_app.command("simulate")
def simulate(
    folder: Annotated[Path, typer.Argument(help="New or empty folder.")],
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help="additive, dominance, within, across, locus, null or confounder; several make several traits."
        ),
    ] = None,
    people: Annotated[int, typer.Option(help="How many people.")] = 10_000,
    variants: Annotated[int, typer.Option(help="How many variants.")] = 50_000,
    genes: Annotated[int, typer.Option(help="How many genes.")] = 2_000,
    pathways: Annotated[int, typer.Option(help="How many pathways.")] = 100,
    kind: Annotated[str, typer.Option(help="binary, quantitative or survival.")] = "binary",
    h2: Annotated[
        float | None, typer.Option(help="Share of the variance genes explain; by scenario unless given.")
    ] = None,
    prevalence: Annotated[float, typer.Option(help="Expected share of cases.")] = 0.5,
    causal_genes: Annotated[int, typer.Option(help="Genes that cause the trait.")] = 20,
    causal_pathways: Annotated[int, typer.Option(help="Pathways these genes are in.")] = 2,
    per_gene: Annotated[
        int | None, typer.Option(help="Causal variants or pairs of each; by scenario unless given.")
    ] = None,
    covariates: Annotated[float, typer.Option(help="Share of the variance that age and sex explain.")] = 0.05,
    frequencies: Annotated[
        str | None, typer.Option(help='"realistic", or "uniform" between 0.2 and 0.5; by scenario unless given.')
    ] = None,
    chromosomes: Annotated[int, typer.Option(help="Autosomes that share the variants.")] = 22,
    x: Annotated[bool, typer.Option("--x", help="The X chromosome too.")] = False,
    populations: Annotated[int | None, typer.Option(help="How many; 1 unless given, 2 for a confounder.")] = None,
    fst: Annotated[float, typer.Option(help="How far populations have parted.")] = 0.01,
    families: Annotated[int, typer.Option(help="Families of two parents and two children among the people.")] = 0,
    missing: Annotated[float, typer.Option(help="Share of genotypes that are missing.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program.")] = False,
) -> None:
    """A genotype study whose truth is known: PLINK files with linkage, genes, pathways and phenotypes."""
    from vnn.data.genotypes import Trait, simulate_genotypes

    asked = scenario or ["additive"]
    traits = [
        Trait(
            name="phenotype" if len(asked) == 1 else one, scenario=one, kind=kind,  # type: ignore[arg-type]
            h2=None if one in ("null", "confounder") else h2, prevalence=prevalence, genes=causal_genes,
            pathways=causal_pathways, per_gene=per_gene, covariates=covariates,
        )
        for one in asked
    ]  # fmt: skip
    with _progress() as tell:
        found = simulate_genotypes(
            folder, people=people, variants=variants, genes=genes, pathways=pathways, traits=traits,
            frequencies=frequencies, chromosomes=chromosomes, x=x, populations=populations, fst=fst, families=families,  # type: ignore[arg-type]
            missing=missing, seed=seed, tell=tell,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "truth": found.truth.to_json()}))
    else:
        typer.echo(_text(found))


def _text(found: SimulatedGenotypes) -> str:
    truth, lines = found.truth, [f"{found.genotypes!r}"]
    own = len(found.variant_genes.drop_duplicates("variant"))
    lines.append(
        f"{len(found.genes):,} genes hold {own:,} of the variants; {len(found.pathways):,} pathways; "
        f"{len(truth.relatives):,} pairs of relatives; {len(truth.populations)} population{'s' * (len(truth.populations) > 1)}"
    )
    for asked in truth.settings["traits"]:
        name, scenario = asked["name"], asked["scenario"]
        oracle = truth.oracle[name]
        genes, places = truth.genes(name), truth.pathways(name)
        lines.append(f"{name}: {scenario}, {asked['kind']}")
        if genes:
            lines.append(f"  {len(truth.variants(name)):,} causal variants in {len(genes):,} genes: {', '.join(genes)}")
        if places:
            lines.append(f"  of {', '.join(places)}")
        if name in truth.loci:
            lines.append(f"  in strong linkage with all of {', '.join(truth.loci[name])}")
        reached = f"; expected AUC {oracle['auc']:.3f}" if "auc" in oracle else ""
        lines.append(f"  the true genetic value explains {oracle['r2']:.3g} of the liability{reached}")
    lines.append(f"Everything is in {found.folder}; the truth is in truth.json.")
    return "\n".join(lines)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, and every tenth of the work as a line elsewhere; always on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        told = [0]

        def say(done: int, total: int) -> None:
            if 10 * done // total > told[0]:
                told[0] = 10 * done // total
                typer.echo(f"{done:,} of {total:,} variants", err=True)

        yield say
        return
    columns = (TextColumn("variants"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("variants", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

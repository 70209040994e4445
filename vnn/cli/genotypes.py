"""Genotypes on the command line: quality control, components and pruning of a file of any format."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

    from vnn.data.genotypes import Genotypes

File = Annotated[
    Path, typer.Argument(metavar="COHORT", help="A .bed, .pgen, .vcf, .bcf, .bgen, or a folder of GenNet's.")
]
Build = Annotated[str, typer.Option(help='Genome build: "GRCh37" or "GRCh38".')]
Training = Annotated[
    Path | None, typer.Option(help="People to learn from: ids, or family and individual ids, a line each.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for a program.")]


def add(app: typer.Typer) -> None:
    """Register `qc`, `pca` and `prune` with `vnn data`."""
    app.command("qc")(qc)
    app.command("pca")(pca)
    app.command("prune")(prune)


def qc(
    cohort: File,
    output: Annotated[Path, typer.Option("--out", help="New or empty folder.")],
    variant_call_rate: Annotated[float, typer.Option(help="Least share of people called in a variant.")] = 0.98,
    person_call_rate: Annotated[float, typer.Option(help="Least share of variants called in a person.")] = 0.98,
    maf: Annotated[float, typer.Option(help="Least minor allele frequency.")] = 0.01,
    hardy: Annotated[float, typer.Option(help="Least mid-p of Hardy-Weinberg equilibrium.")] = 1e-6,
    heterozygosity: Annotated[float, typer.Option(help="Standard deviations a person's F may be off.")] = 3.0,
    duplicates: Annotated[float, typer.Option(help="Kinship from which two people are one.")] = 0.354,
    kinship: Annotated[float, typer.Option(help="Kinship from which people are of one family.")] = 0.0884,
    sex: Annotated[bool, typer.Option(help="Whether people whose X contradicts their sex go.")] = True,
    chromosome: Annotated[
        list[str] | None, typer.Option(help="Chromosome to keep; may be repeated; autosomes unless given.")
    ] = None,
    controls: Annotated[
        Path | None,
        typer.Option(help="Controls, in whom Hardy-Weinberg is tested: ids, a line each; everybody unless given."),
    ] = None,
    phenotype: Annotated[
        str | None, typer.Option(help='Instead, the coding of the .fam, "1/2" or "0/1", whose controls are taken.')
    ] = None,
    training: Training = None,
    build: Build = "",
    bed: Annotated[bool, typer.Option("--bed", help="Write what stays as a fileset, kept.bed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Quality control: which variants and people stay, each step counted; 0 leaves a step out."""
    from vnn._atomic import write_csv, write_text
    from vnn._errors import StudyError
    from vnn.data.genotypes import Thresholds, fam_phenotype, quality_control, read_people_list, write_plink
    from vnn.data.genotypes.plink import PHENOTYPE
    from vnn.data.genotypes.quality import AUTOSOMES
    from vnn.study.kept import write_kept

    _empty(output)
    if controls is not None and phenotype is not None:
        raise StudyError("--controls and --phenotype both say who the controls are; give one of them.")
    genotypes = _read(cohort, build)
    stated = {
        "variant_call_rate": variant_call_rate, "person_call_rate": person_call_rate, "maf": maf, "hardy": hardy,
        "heterozygosity": heterozygosity, "duplicates": duplicates, "kinship": kinship,
    }  # fmt: skip
    asked = Thresholds(
        chromosomes=tuple(chromosome or AUTOSOMES),
        sex=sex,
        **{name: value or None for name, value in stated.items()},  # type: ignore[arg-type]
    )
    who: Collection[str] | None = None if controls is None else read_people_list(controls, genotypes)
    if phenotype is not None:
        if PHENOTYPE not in genotypes.people:
            raise StudyError(f"--phenotype is for the .fam of a fileset, and {cohort.name} has none. Give --controls.")
        told = fam_phenotype(genotypes.people, phenotype)  # type: ignore[arg-type]
        who = list(told.index[told == "control"])
    learnt = None if training is None else read_people_list(training, genotypes)
    found = quality_control(genotypes, asked, controls=who, training=learnt)
    kept = found.genotypes
    write_csv(output / "steps.csv", found.steps, index=False)
    write_kept(output / "variants.tsv.gz", found.variants.rename_axis("variant"))
    write_csv(output / "people.csv", found.people)
    write_csv(output / "relatives.csv", found.relatives, index=False)
    write_text(output / "kept_variants.txt", "".join(f"{name}\n" for name in kept.variants.index))
    write_text(output / "kept_people.txt", "".join(f"{family} {name}\n" for family, name in _named(kept)))
    write_text(output / "log.txt", "".join(f"{line}\n" for line in kept.log))
    if bed:
        write_plink(kept, output / "kept")
    if as_json:
        steps = json.loads(found.steps.to_json(orient="records"))
        typer.echo(
            json.dumps({"folder": str(output), "variants": kept.n_variants, "people": kept.n_people, "steps": steps})
        )
        return
    typer.echo(f"{genotypes!r}\n\n{found}\n")
    own = set(map(str, found.steps["step"]))
    for line in kept.log:
        if not any(step in line for step in own):
            typer.echo(line)
    typer.echo(f"\n{kept!r} stay. Everything is in {output}.")


def pca(
    cohort: File,
    output: Annotated[Path, typer.Option("--out", help="Table of scores (CSV) to write; loadings go beside it.")],
    components: Annotated[int, typer.Option(help="How many.")] = 10,
    training: Training = None,
    kinship: Annotated[
        float, typer.Option(help="Of people related so closely one is learnt from; 0 takes nobody for related.")
    ] = 0.0884,
    build: Build = "",
    seed: Annotated[int, typer.Option(help="Seed of the randomised method, for more than 5,000 people.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Principal components of unrelated people on common, unlinked autosomal variants; all others are placed among them."""
    from vnn._atomic import write_csv
    from vnn.data.genotypes import read_people_list, relatives
    from vnn.data.genotypes.quality import AUTOSOMES
    from vnn.study.kept import component_table, write_kept
    from vnn.study.quality import components_of

    loadings = output.with_suffix(".loadings.tsv.gz")
    _new(output, loadings)
    genotypes = _read(cohort, build)
    learners = genotypes.ids if training is None else read_people_list(training, genotypes)
    pairs = None
    if kinship:
        autosomal = genotypes.variants["chromosome"].isin(AUTOSOMES)
        pairs = relatives(genotypes.select(list(genotypes.variants.index[autosomal]), list(learners)), least=kinship)
    found = components_of(genotypes, components, learners, relatives=pairs, seed=seed)
    write_csv(output, found.scores)
    write_kept(loadings, component_table(genotypes, found))
    if as_json:
        values = [float(value) for value in found.eigenvalues]
        typer.echo(
            json.dumps({"scores": str(output), "loadings": str(loadings), "eigenvalues": values, "log": found.log})
        )
        return
    typer.echo("\n".join([repr(genotypes), *found.log]))
    typer.echo(f"eigenvalues: {', '.join(f'{value:.3g}' for value in found.eigenvalues)}")
    typer.echo(f"Scores are in {output}, loadings in {loadings}.")


def prune(
    cohort: File,
    output: Annotated[Path, typer.Option("--out", help="List of variants (text) to write.")],
    window: Annotated[int, typer.Option(help="Variants of a window.")] = 50,
    step: Annotated[int, typer.Option(help="By how many it moves.")] = 5,
    r2: Annotated[float, typer.Option(help="Above it two variants are linked.")] = 0.2,
    training: Training = None,
    as_json: AsJson = False,
) -> None:
    """Variants of whom no two near each other are linked, as plink --indep-pairwise keeps them."""
    from vnn._atomic import write_text
    from vnn.data.genotypes import pruned, read_people_list

    _new(output)
    genotypes = _read(cohort, "")
    learners = None if training is None else read_people_list(training, genotypes)
    kept = pruned(genotypes, window=window, step=step, r2=r2, training=learners)
    write_text(output, "".join(f"{name}\n" for name in kept))
    if as_json:
        typer.echo(
            json.dumps({"variants": str(output), "kept": len(kept), "removed": genotypes.n_variants - len(kept)})
        )
        return
    typer.echo(f"{genotypes!r}\n{len(kept):,} of {genotypes.n_variants:,} variants stay, in {output}.")


def _read(cohort: Path, build: str) -> Genotypes:
    from vnn._errors import choose
    from vnn.data.genotypes import read_genotypes

    choose("--build", build, ("", "GRCh37", "GRCh38"))
    return read_genotypes(cohort, build=build, hashed=False)


def _named(genotypes: Genotypes) -> zip[tuple[str, str]]:
    people: pd.DataFrame = genotypes.people
    own = people["individual"] if "individual" in people else people.index.to_series()
    return zip(people["family"].where(people["family"] != "", "0"), own, strict=True)


def _empty(folder: Path) -> None:
    from vnn._errors import StudyError

    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise StudyError(f"{folder} exists already and is not an empty folder; name another with --out, or remove it.")


def _new(*files: Path) -> None:
    from vnn._errors import StudyError

    for file in files:
        if file.exists():
            raise StudyError(f"{file} exists already; name another file with --out, or remove it.")

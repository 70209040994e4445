"""A first study file for given genotypes, written by looking at their people and variants."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vnn._errors import StudyError, culprits
from vnn.data import read_table
from vnn.data.genotypes.bgen import open_bgen
from vnn.data.genotypes.builds import beyond
from vnn.data.genotypes.gennet import open_gennet, read_subjects
from vnn.data.genotypes.named import BUILDS
from vnn.data.genotypes.pgen import open_pgen
from vnn.data.genotypes.plink import PHENOTYPE, read_plink
from vnn.data.genotypes.reading import genotype_files
from vnn.data.genotypes.streams import Stream
from vnn.data.genotypes.vcf import open_vcf
from vnn.study.quality import CONTROL

FEWEST_FOR_KINSHIP = 5000
MANY = 2000
MISSING = ("-9", "NA", "nan")
OPENED: dict[str, Callable[..., Stream]] = {
    ".pgen": open_pgen, ".vcf": open_vcf, ".vcf.gz": open_vcf, ".vcf.bgz": open_vcf, ".bcf": open_vcf, ".bgen": open_bgen,
    "genotype.h5": open_gennet,
}  # fmt: skip
TEMPLATE = """\
# A study of {values}, begun by `vnn init`. Everything after # is a comment; every key has a default but those given here.
# What is in the files: {seen}
name = "{name}"
seed = 1
n_seeds = 2                 # networks per split; more are steadier and cost proportionally
output = "{output}"

[data]
values = "{path}"
{labels}{target}
{classes}{unmatched}{covariates}{groups}
[genotypes]
{genes}{build}coding = "additive"         # or "dominant", "recessive", "genotype" (one and two copies apart), "standardised"
{phenotype}{components}

{quality}
[ontology]
{ontology}

[splits]
{splits}

[network]
{network}

[training]
epochs = 200                # early stopping ends sooner
batch_size = 64             # a multiple of 64, as packed genotypes stand in panels of 64 people
impute = "mean"             # of the training part, where genotypes are missing
{decay}
[nulls]
# design = "screening"      # null networks beside: permuted labels, variants shifted along the genome; needs n_seeds = 2

[report]
individuals = "none"        # no single people on the page; "pseudonym" and "full" show them
populations = "not stated"  # which people these are; the page says it
weaknesses = []             # known weaknesses of the data, a sentence each
"""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a look at a file of genotypes found.

    Parameters
    ----------
    people
        As in `Genotypes`.
    variants
        As in `Genotypes`, or None where the file must be read for them.
    folder
        Whether it is a folder of GenNet's.
    """

    people: pd.DataFrame
    variants: pd.DataFrame | None
    folder: bool


def cohort_file(
    values: Path,
    known: Callable[[pd.DataFrame, str | None], tuple[str, str]],
    *,
    labels: Path | None,
    target: str | None,
    genes: Path | None,
    ontology: str | None,
    folder: Path | None,
    output: Path,
) -> str:
    """The text of a commented study file for genotypes.

    Parameters
    ----------
    values
        Genotypes of any format.
    known
        Chooses the target among the columns of the labels and describes its classes.
    labels, target, folder, output
        As for `study_file`.
    genes
        File that tells the genes of variants.
    ontology
        As for `study_file`; variants to genes alone unless given.

    Raises
    ------
    StudyError
        If nothing could be predicted.
    """
    seen = _look(values)
    beside = output.resolve().parent

    def relative(path: Path) -> str:
        return Path(os.path.relpath(path.resolve(), beside)).as_posix()

    table = read_table(labels) if labels is not None else _own(values, seen)
    phenotype = ""
    if table is None:
        chosen, classes, phenotype = _fam(seen.people, values)
        others, unmatched = [], ""
    else:
        chosen, classes = known(table.drop(columns=["set"], errors="ignore") if seen.folder else table, target)
        classes = _controls_first(classes)
        others = [str(name) for name in table.columns if name not in (chosen, "set", "patient_id", "genotype_row")]
        unmatched = _unmatched(seen, table)
    if table is not None and not table[chosen].notna().all():
        unmatched += 'unlabelled = "drop"         # some people have no label\n'
    paths = seen.folder and genes is None and ontology is None
    given = seen.folder and labels is None
    few = seen.variants is not None and len(seen.variants) < FEWEST_FOR_KINSHIP
    many = len(seen.people) >= MANY
    return TEMPLATE.format(
        values=values.name,
        seen=_described(seen),
        name=output.stem if output.stem != "study" else values.name.split(".")[0],
        output="results" if output.stem == "study" else f"{output.stem}-results",
        path=relative(values),
        labels="" if labels is None else f'labels = "{relative(labels)}"\n',
        target=f"target = {json.dumps(chosen, ensure_ascii=False)}",
        classes=classes,
        unmatched=unmatched,
        covariates=f"# covariates = {json.dumps(others[:12], ensure_ascii=False)}   # columns that enter beside the genes\n"
        if others
        else "",
        groups='groups = ["set"]\n' if given else "",
        genes="" if paths else _genes(genes, relative),
        build=_build(seen),
        phenotype=phenotype,
        components="# components = 10         # principal components as covariates, against population structure",
        quality=_quality(few, given),
        ontology=_ontology(values, paths, ontology, folder, relative),
        splits=_splits(given),
        network=_network(many),
        decay="weight_decay = 0.0\n" if many else "",
    )


def _look(values: Path) -> Seen:
    files = genotype_files(values)
    if ".bed" in files:
        found = read_plink(files[".bed"], hashed=False)
        return Seen(found.people, found.variants, False)
    kind = next((kind for kind in OPENED if kind in files), None)
    if kind is None:
        raise StudyError(
            f"{values.name} holds dosages, which studies do not take; give the genotypes: a .bed, .pgen, .vcf, .bcf or .bgen."
        )
    main = values if kind != "genotype.h5" or values.is_dir() else values.parent
    stream = OPENED[kind](main, hashed=False)
    return Seen(stream.people, None, kind == "genotype.h5")


def _own(values: Path, seen: Seen) -> pd.DataFrame | None:
    """The labels a folder of GenNet's brings."""
    if not seen.folder:
        return None
    return read_subjects((values if values.is_dir() else values.parent) / "subjects.csv")


def _fam(people: pd.DataFrame, values: Path) -> tuple[str, str, str]:
    """The phenotype of a .fam as target, its classes, and the line that says how it is coded."""
    counts = people[PHENOTYPE].value_counts() if PHENOTYPE in people else pd.Series(dtype=int)
    known = counts.drop([value for value in MISSING if value in counts])
    if len(known) < 2:
        raise StudyError(
            f"{values.name} tells no phenotype of its {len(people):,} people; say in which table they are "
            "described: --labels TABLE."
        )
    if not set(known.index) <= {"0", "1", "2"}:
        return PHENOTYPE, "", 'phenotype = "quantitative"  # the phenotype of the .fam\n'
    classes = 'classes = ["control", "case"]   # the last one is what effects speak of\n'
    n = {value: int(counts.get(value, 0)) for value in ("0", "1", "2")}
    if n["2"]:
        told = f"1 control ({n['1']:,} people), 2 case ({n['2']:,}), 0 missing ({n['0']:,})"
        line = f'phenotype = "1/2"           # that of the .fam: {told}\n'
    else:
        line = (
            f"# The phenotype of the .fam is 0 in {n['0']:,} people and 1 in {n['1']:,}: by PLINK's coding missing and controls; "
            f'uncomment the one that is meant:\n# phenotype = "0/1"       # {n["0"]:,} controls, {n["1"]:,} cases\n'
            f'# phenotype = "1/2"       # {n["1"]:,} controls, no case\n'
        )
    return PHENOTYPE, classes, line


def _controls_first(line: str) -> str:
    """The line about two classes, with the one that is called control before the other."""
    found = re.match(r"classes = (\[.*?\])", line)
    names = json.loads(found[1]) if found else []
    if found is None or len(names) != 2 or names[1].casefold() not in CONTROL:
        return line
    return line.replace(found[1], json.dumps(names[::-1], ensure_ascii=False), 1)


def _genes(genes: Path | None, relative: Callable[[Path], str]) -> str:
    if genes is None:
        return 'genes = "FILE"              # name it: GTF, GFF3, BED, a gene list, or a table (see read_as)\n'
    told = f'genes = "{relative(genes)}"\n'
    kind = _kind(genes)
    return told if kind == "ranges" else f'{told}read_as = "{kind}"\n'


def _kind(genes: Path) -> str:
    """What a file of genes seems to be."""
    name = genes.name.removesuffix(".gz")
    if not genes.exists():
        raise StudyError(f"there is no file {genes}.")
    if name.endswith("variant_function"):
        return "annovar"
    if name.endswith((".gtf", ".gff", ".gff3", ".bed")) or genes.name.endswith(".gz"):
        return "ranges"
    with genes.open(encoding="utf-8-sig") as file:
        first = file.readline()
    if (first.startswith("##") and "VEP" in first.upper()) or "VARIANT EFFECT PREDICTOR" in first.upper():
        return "vep"
    return "variants" if len(first.split()) < 4 else "ranges"


def _build(seen: Seen) -> str:
    if seen.folder:
        return ""
    fits = list(BUILDS)
    if seen.variants is not None:
        where = seen.variants["chromosome"].to_numpy(), seen.variants["position"].to_numpy()
        fits = [build for build in BUILDS if not beyond(*where, build).any()]
    if len(fits) == 1:
        return (
            f'build = "{fits[0]}"            # the only one whose chromosomes are long enough; that of the genes too\n'
        )
    return f"# build = {' or '.join(json.dumps(build) for build in BUILDS)}   # declare it; that of the genes too\n"


def _quality(few: bool, given: bool) -> str:
    if given:
        return (
            "# [genotypes.quality]       # call rates, frequency, Hardy-Weinberg, ...\n"
            "# kinship = 0               # the split that subjects.csv gives cannot keep families together\n"
        )
    lines = [
        "[genotypes.quality]         # 0 leaves a step out",
        "variant_call_rate = 0.98",
        "person_call_rate = 0.98",
        "maf = 0.01                  # in the training part of every split, as is Hardy-Weinberg",
        "hardy = 1e-6                # in unrelated controls",
    ]
    if few:
        lines += ["duplicates = 0              # too few variants to tell who is related", "kinship = 0"]
    else:
        lines.append("kinship = 0.0884            # relatives from here on stay in one part of every split")
    return "\n".join(lines) + "\n"


def _ontology(
    values: Path, paths: bool, ontology: str | None, folder: Path | None, relative: Callable[[Path], str]
) -> str:
    if paths:
        main = values if values.is_dir() else values.parent
        return f'name = "{relative(main / "topology.csv")}"   # the topology as GenNet has it'
    if ontology is None:
        return (
            'name = "genes"              # variants -> genes -> prediction; or "reactome", "go", a .gmt above the genes'
        )
    file = ontology.endswith((".gmt", ".gmt.gz", ".toml", ".csv"))
    lines = [f'name = "{relative(Path(ontology)) if file else ontology}"']
    if folder is not None:
        lines.append(f'folder = "{relative(folder)}"')
    elif not file:
        lines.append(f'folder = "{ontology}"          # where its files lie; `vnn ontology show {ontology}` says which')
    lines += ["gene_level = true           # genes are a level of their own", "min_genes = 5"]
    return "\n".join(lines)


def _splits(given: bool) -> str:
    if given:
        return 'kind = "given"              # train, validation and test as subjects.csv has them\ngroup = "set"'
    return 'kind = "hold-out"           # or "k-fold", which trains k times as many networks'


def _network(many: bool) -> str:
    rate, why = (
        ("0.0", "thousands of people: noise is not needed against overfitting") if many else ("0.2", "of whole genes")
    )
    return (
        f"dropout = {rate}               # {why}\ninput_dropout = 0.0         # training from packed genotypes needs 0"
    )


def _unmatched(seen: Seen, table: pd.DataFrame) -> str:
    here, there = set(map(str, seen.people.index)), set(map(str, table.index))
    if here == there:
        return ""
    if not here & there:
        raise StudyError(
            f"no person of the labels ({culprits(list(table.index[:3]))}) is among the genotypes "
            f"({culprits(seen.people.index[:3])}). The first column of the labels must hold the ids."
        )
    return (
        f'unmatched = "drop"          # {len(here - there):,} people have no labels and {len(there - here):,} labels no genotypes; '
        '"error" refuses\n'
    )


def _described(seen: Seen) -> str:
    sex = seen.people["sex"].value_counts()
    told = f"{len(seen.people):,} people ({int(sex.get('female', 0)):,} female, {int(sex.get('male', 0)):,} male)"
    if seen.variants is None:
        return told
    counts = seen.variants["chromosome"].value_counts()
    beyond_x = [f"{int(counts[name]):,} on {name}" for name in ("X", "Y", "XY", "MT") if name in counts]
    return f"{told}, {len(seen.variants):,} variants{f' ({chr(44).join(beyond_x)})' if beyond_x else ''}."

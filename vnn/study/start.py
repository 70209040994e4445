"""A first study file for a given table, written by looking at it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vnn._errors import StudyError, culprits
from vnn.data import read_h5ad, read_matrix, read_table
from vnn.data.counts import are_counts
from vnn.data.gct import read_cls, read_gct
from vnn.data.genotypes.reading import is_genotypes
from vnn.data.read import CLASS
from vnn.data.tables import Matrix
from vnn.data.targets import class_name
from vnn.ontology import guess_type
from vnn.ontology.identifiers import WORDS
from vnn.study.start_cohort import cohort_file

LIKELY = (
    "diagnosis",
    "phenotype",
    "status",
    "class",
    "group",
    "label",
    "outcome",
    "response",
    "disease",
    "subtype",
    "target",
)
MOST_CLASSES = 20
TEMPLATE = """\
# A study of {values}, begun by `vnn init`. Everything after # is a comment; every key has a default but those given here.
# What is in the table: {seen}
name = "{name}"
seed = 1
n_seeds = 2                 # networks per fold; more are steadier and cost proportionally
output = "{output}"

[data]
values = "{path}"
{labels}{target}
{classes}{unmatched}{covariates}{groups}{orientation}{hints}
[ontology]
{ontology}
min_genes = 5               # terms with fewer measured genes are left out, and counted

[splits]
k = 5                       # folds; repeats = 10 repeats them
# group = "donor"           # a column of data.groups whose samples stay together

[training]
start = "associations"      # weights begin with what the training part says of each gene; "random" knows nothing
epochs = 200                # early stopping ends sooner
impute = "{impute}"             # "mean" or "median" of the training part where values are missing

[nulls]
# design = "screening"      # null networks beside the real ones: permuted labels, rewired pathways; needs n_seeds = 2

[report]
individuals = "pseudonym"   # "none" shows no single people, "full" shows ids
populations = "not stated"  # which people these are; the page says it
weaknesses = []             # known weaknesses of the data, a sentence each
"""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a look at the files found.

    Parameters
    ----------
    matrix
        Values, as the file holds them.
    labels
        What is known of each sample, indexed by id.
    samples_in
        "rows" or "columns".
    """

    matrix: Matrix
    labels: pd.DataFrame
    samples_in: str

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what was measured."""
        return self.matrix.columns if self.samples_in == "rows" else self.matrix.rows

    @property
    def samples(self) -> tuple[str, ...]:
        """Ids of the samples."""
        return self.matrix.rows if self.samples_in == "rows" else self.matrix.columns


def study_file(
    values: Path,
    *,
    labels: Path | None = None,
    target: str | None = None,
    ontology: str | None = None,
    folder: Path | None = None,
    genes: Path | None = None,
    output: Path = Path("study.toml"),
) -> str:
    """The text of a commented study file.

    Parameters
    ----------
    values
        Table, GCT or .h5ad of the measured values, or genotypes of any format.
    labels
        Table of what is known of each sample; columns of `values` itself unless given.
    target
        Column to predict; the likeliest unless given.
    ontology, folder
        Name, recipe or .gmt file, and where its files lie; Reactome, or for genotypes their genes alone, unless given.
    genes
        For genotypes, the file that tells the genes of variants.
    output
        Where the text will be written; paths in it are relative to that.

    Raises
    ------
    StudyError
        If the target is not a column, or nothing could be one.
    """
    if is_genotypes(values) or values.is_dir():
        return cohort_file(
            values, _chosen, labels=labels, target=target, genes=genes, ontology=ontology, folder=folder, output=output
        )
    if genes is not None:
        raise StudyError(f"--genes tells the genes of variants, and {values.name} holds no genotypes. Leave it out.")
    ontology = ontology or "reactome"
    seen = _look(values, labels)
    known = seen.labels
    target, classes = _chosen(known, target)
    beside = output.resolve().parent

    def relative(path: Path) -> str:
        return Path(os.path.relpath(path.resolve(), beside)).as_posix()

    others = [str(name) for name in known.columns if name != target]
    complete = bool(known[target].notna().all())
    missing = bool(np.isnan(seen.matrix.values).any())
    kind = guess_type(seen.features)
    hints = []
    if kind in ("ensembl", "entrez", "uniprot"):
        hints.append(
            f"# the features look like {WORDS[kind]}; symbols are needed for most gene sets:\n"
            '# identifiers = "hgnc_complete_set.txt"\n'
        )
    if are_counts(seen.matrix.values):
        hints.append(
            "# the values look like counts; uncomment to take log(1 + counts per million):\n# log_cpm = true\n"
        )
    gmt = str(ontology).endswith((".gmt", ".gmt.gz", ".toml"))
    lines = [f'name = "{relative(Path(ontology)) if gmt else ontology}"']
    if folder is not None:
        lines.append(f'folder = "{relative(folder)}"')
    elif not gmt and ontology != "human-small":
        lines.append(f'folder = "{ontology}"          # where its files lie; `vnn ontology show {ontology}` says which')
    return TEMPLATE.format(
        values=values.name,
        seen=_described(seen, missing, kind),
        name=output.stem if output.stem != "study" else values.name.split(".")[0],
        output="results" if output.stem == "study" else f"{output.stem}-results",
        path=relative(values),
        labels="" if labels is None else f'labels = "{relative(labels)}"\n',
        target=f"target = {json.dumps(target, ensure_ascii=False)}"
        + ("" if complete else '\nunlabelled = "drop"       # some samples have no label'),
        classes=classes,
        unmatched=_unmatched(seen),
        covariates=f"# covariates = {_listed(others)}   # columns that enter beside the pathways\n" if others else "",
        groups=f"# groups = {_listed(_grouping(known, target))}   # batch, site, donor: for splits and data checks\n"
        if _grouping(known, target)
        else "",
        orientation=f'samples_in = "{seen.samples_in}"\n' if seen.matrix.samples_in is None else "",
        hints="".join(hints),
        ontology="\n".join(lines),
        impute="mean" if missing else "none",
    )


def _chosen(known: pd.DataFrame, target: str | None) -> tuple[str, str]:
    """The column to predict, the likeliest unless it is given, and the line about its classes."""
    if target is None:
        target = _likely_target(known)
    elif target not in known.columns:
        raise StudyError(f"there is no column {target!r}; the columns are {culprits(known.columns, 20)}.")
    return target, _classes(known[target])


def _look(values: Path, labels: Path | None) -> Seen:
    if not values.exists():
        raise StudyError(f"there is no file {values}.")
    by_place = labels is not None and labels.suffix == ".cls"
    known = None if labels is None or by_place else read_table(labels)
    if values.name.endswith(".h5ad"):
        matrix = read_h5ad(values)
        return Seen(matrix, matrix.labels if known is None else known, "columns")
    if values.name.removesuffix(".gz").endswith(".gct"):
        matrix = read_gct(values)
        if labels is not None and by_place:
            classes = read_cls(labels)
            if len(classes) != len(matrix.columns):
                raise StudyError(
                    f"{labels.name} labels {len(classes):,} samples and {values.name} has {len(matrix.columns):,}."
                )
            known = pd.DataFrame({CLASS: classes}, index=pd.Index(matrix.columns, dtype=object))
        if known is None:
            raise StudyError(
                f"{values.name} says nothing of its samples; give the table or CLS that does: --labels FILE."
            )
        return Seen(matrix, known, "columns")
    if by_place:
        raise StudyError(
            f"{labels} has no ids and labels the samples of a GCT file in their order; {values.name} is none."
        )
    if known is None:
        table = read_table(values)
        words = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
        few = [
            name for name in table.columns
            if name not in words and name.lower() in (*LIKELY, "age", "sex", "batch", "site", "time", "event")
        ]  # fmt: skip
        if not words and not few:
            raise StudyError(
                f"{values.name} holds numbers only; say in which table the samples are described: --labels TABLE."
            )
        matrix = read_matrix(values, aside=[*words, *few])
        return Seen(matrix, matrix.labels, "rows")
    matrix = read_matrix(values)
    listed = set(known.index)
    in_rows, in_columns = len(listed & set(matrix.rows)), len(listed & set(matrix.columns))
    if not in_rows and not in_columns:
        raise StudyError(
            f"no sample of the labels ({culprits(known.index[:3])}) is a row ({culprits(matrix.rows[:3])}) or a column "
            f"({culprits(matrix.columns[:3])}) of {values.name}. The first column of the labels must hold the ids."
        )
    return Seen(matrix, known, "rows" if in_rows >= in_columns else "columns")


def _unmatched(seen: Seen) -> str:
    """What to do about samples that only one of the two tables holds, as a comment where there are none."""
    here, there = set(seen.samples), set(map(str, seen.labels.index))
    if here == there:
        return ""
    return (
        f'unmatched = "drop"          # {len(here - there):,} samples have no labels and {len(there - here):,} labels no sample; '
        '"error" refuses\n'
    )


def _likely_target(known: pd.DataFrame) -> str:
    counts = {str(name): known[name].nunique() for name in known.columns}
    usable = [name for name, n in counts.items() if 2 <= n <= MOST_CLASSES]
    named = [name for word in LIKELY for name in usable if word in name.lower()]
    two = [name for name in usable if counts[name] == 2]
    for found in (named, two, usable):
        if found:
            return found[0]
    if len(counts) == 1 and pd.api.types.is_numeric_dtype(known.iloc[:, 0]):
        return next(iter(counts))
    raise StudyError(
        f"none of the columns {culprits(known.columns, 20)} has 2 to {MOST_CLASSES} different values; "
        "name the one to predict: --target COLUMN."
    )


def _classes(column: pd.Series) -> str:
    counts = column.dropna().map(class_name).value_counts()
    if len(counts) > MOST_CLASSES:
        return (
            f"# a quantity from {column.min():g} to {column.max():g}\n" if pd.api.types.is_numeric_dtype(column) else ""
        )
    found = ", ".join(f"{name} ({n})" for name, n in counts.items())
    listed = json.dumps(sorted(counts.index), ensure_ascii=False)
    return f"classes = {listed}   # the last one is what effects speak of; found: {found}\n"


def _grouping(known: pd.DataFrame, target: str) -> list[str]:
    """Columns that look like a batch, site or donor: few different values, each several times."""
    n = len(known)
    return [
        str(name) for name in known.columns
        if name != target and 2 <= known[name].nunique() <= max(n // 3, 2) and not pd.api.types.is_float_dtype(known[name])
    ]  # fmt: skip


def _described(seen: Seen, missing: bool, kind: str) -> str:
    share = float(np.isnan(seen.matrix.values).mean())
    words = WORDS[kind]  # type: ignore[index]
    gaps = f", {share:.1%} of the values missing" if missing else ", no value missing"
    return f"{len(seen.samples):,} samples in {seen.samples_in}, {len(seen.features):,} features that look like {words}{gaps}."


def _listed(names: list[str]) -> str:
    return json.dumps(names[:12], ensure_ascii=False)

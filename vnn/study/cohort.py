"""Cohorts of genotypes as a study reads them: coded variants, the genes of each, and what is known of the people."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vnn._atomic import sha256
from vnn._errors import AlignmentError, StudyError, culprits
from vnn.data import Samples, Split, read_table
from vnn.data.genotypes import (
    Annotation,
    Coding,
    Cohort,
    GeneMap,
    Genotypes,
    fam_phenotype,
    fit_coding,
    read_annovar,
    read_gene_ranges,
    read_genotypes,
    read_variant_genes,
    read_vep,
    write_store,
)
from vnn.data.genotypes.gennet import read_subjects
from vnn.data.genotypes.plink import PHENOTYPE
from vnn.data.genotypes.reading import genotype_files
from vnn.kernels.packed import PANEL
from vnn.ontology import Level, Mask, Topology
from vnn.ontology.log import Entry
from vnn.ontology.measured import Measured
from vnn.ontology.order import ranks
from vnn.study.settings import DataSection, GenotypeSection

MANY_BYTES, MOST_BYTES = 1e9, 8e9
HALF_EMPTY = 0.05  # of the places in panels
GENNET = "genotype.h5"
TABLES: dict[str, Callable[..., Annotation]] = {
    "variants": read_variant_genes,
    "annovar": read_annovar,
    "vep": read_vep,
}


@dataclass(frozen=True, eq=False)
class Entered:
    """Genotypes as inputs.

    Parameters
    ----------
    genotypes
        The variants that have a gene, packed.
    coding
        What they are worth; unless the study says otherwise missing where genotypes are, so that each training part fills them.
    genes
        Their genes.
    owners
        The genes of each input.
    inputs
        What each input is, a row for each: `variant`, `chromosome`, `position`, `counted`, `other`, `minor` (the rarer allele),
        `frequency` of the counted one, and the codebook: what `two`, `one` and `none` of its copies are worth, and a `missing`
        genotype (NaN where each training part fills it).
    """

    genotypes: Genotypes
    coding: Coding
    genes: GeneMap
    owners: dict[str, tuple[str, ...]]
    inputs: pd.DataFrame

    def samples(
        self, asked: GenotypeSection, inputs: Collection[str], splits: Sequence[Split], panels: Path, *, seed: int
    ) -> Samples | Cohort:
        """What networks learn from: all inputs as numbers, or those of a wiring packed.

        Parameters
        ----------
        inputs
            Of the wiring.
        splits
            Who learns together; people of other parts lie in other panels, where these are few beside the people.
        panels
            Folder for the panels.
        seed
            Of the study.

        Raises
        ------
        StudyError
            If numbers are asked for and need too much memory.
        """
        n_bytes = 4 * len(self.coding.names) * self.genotypes.n_people
        batches = asked.batches or ("numbers" if n_bytes <= MANY_BYTES else "panels")
        if batches == "numbers":
            if n_bytes > MOST_BYTES:
                raise StudyError(
                    f"{self.genotypes.n_variants:,} variants of {self.genotypes.n_people:,} people need {n_bytes / 1e9:,.1f} GB as "
                    f'numbers, and studies take up to {MOST_BYTES / 1e9:.0f}. Set genotypes.batches = "panels", which take a '
                    "sixteenth."
                )
            made = self.coding.apply(self.genotypes)
            return replace(made, log=(*self.genes.log, *made.log))
        used = np.array([name in inputs for name in self.coding.names])
        at = np.unique(self.coding.row[used])
        own, coding = self.genotypes.select(list(self.genotypes.variants.index[at])), self.coding.of(at)
        line = (
            f"panels: {own.n_variants:,} variants of {own.n_people:,} people keep their two bits, "
            f"{len(coding.names) * own.n_people / 4e9:,.2f} GB; as numbers they are {4 * used.sum() * own.n_people / 1e9:,.2f} GB"
        )
        store = write_store(own, panels, parts=parts_of(splits, own.ids), repeats=coding.repeats, seed=seed)
        return Cohort.of(own.told(*self.genes.log, line), coding, store, batches=batches)


def read_people(data: DataSection, asked: GenotypeSection, targets: Sequence[str]) -> Genotypes:
    """The genotypes of a study with what is known of the people.

    The people are those of the labels. Without labels the target is the phenotype of the .fam, or `labels` of GenNet's
    subjects.csv, which has covariates and the group `set` as well.
    """
    ((_, path),) = data.files.items()
    made = known_of(opened(path, asked), path, data, asked, targets)
    labels = [{"name": file.name, "sha256": sha256(file), "role": "labels"} for file in data.label_files]
    return replace(made, sources=(*made.sources, *labels))


def opened(path: Path, asked: GenotypeSection) -> Genotypes:
    """The genotypes of a file of any format that a reader knows."""
    folder = GENNET in genotype_files(path)
    if asked.bim is not None and not folder:
        raise StudyError(
            f"genotypes.bim names the alleles of a folder of GenNet's, and {path.name} is none. Leave it out."
        )
    return read_genotypes(path, build=asked.build, **({"bim": asked.bim, "outside": asked.outside} if folder else {}))


@contextmanager
def unchanged(files: Collection[Path]) -> Iterator[None]:
    """Files that must be the same at the end of the block as at its beginning.

    Raises
    ------
    StudyError
        If one changed or vanished meanwhile.
    """
    before = {file: _stamp(file) for file in files}
    yield
    if changed := [file.name for file, stamp in before.items() if _stamp(file) != stamp]:
        raise StudyError(
            f"{culprits(changed)} changed or vanished while it was read, so that it is not known what was read. Let other programs "
            "finish with it, then run the same command again."
        )


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def inputs_of(
    genotypes: Genotypes,
    asked: GenotypeSection,
    learners: Collection[str],
    own: Mapping[str, Sequence[str]] | None = None,
) -> Entered:
    """The variants that have a gene, coded.

    Parameters
    ----------
    learners
        People who are in some training part: the coding is theirs.
    own
        The genes of each variant, where no file of `asked` tells them.
    """
    genes = genes_of(genotypes, asked) if own is None else GeneMap.of(genotypes, own)
    features = genes.features()
    genotypes = genotypes.select(list(features))
    learns = np.array([name in learners for name in genotypes.ids])
    coding = fit_coding(
        genotypes, asked.coding, missing="nan" if asked.missing == "impute" else asked.missing, learners=learns
    )
    ids = genotypes.variants.index
    owners = {name: features[str(ids[row])] for name, row in zip(coding.names, coding.row.tolist(), strict=True)}
    return Entered(genotypes, coding, genes, owners, input_table(genotypes, coding))


def parts_of(splits: Sequence[Split], ids: Sequence[str]) -> list[list[str]]:
    """People by the part they play, so that no panel is read for people who have no say.

    By their part in every split; where that would leave many panels half empty, by the first split that holds them out; else all
    together.
    """
    roles: dict[str, list[tuple[int, str]]] = {name: [] for name in ids}
    for number, split in enumerate(splits):
        for part in ("train", "validation", "test"):
            for name in getattr(split, part):
                roles[name].append((number, part))
    tested = {name: next((number for number, part in own if part == "test"), -1) for name, own in roles.items()}
    for role in (roles, tested):
        groups: dict[str, list[str]] = {}
        for name in ids:
            groups.setdefault(repr(role[name]), []).append(name)
        if len(groups) * PANEL / 2 <= HALF_EMPTY * len(ids):
            return [groups[key] for key in sorted(groups)]
    return [list(ids)]


def input_table(genotypes: Genotypes, coding: Coding) -> pd.DataFrame:
    """What each input is, see `Entered.inputs`; `coding_of` reads it back."""
    counts = genotypes.counts()
    called = 2 * counts[:, [0, 2, 3]].sum(1)
    frequency = np.divide(2 * counts[:, 0] + counts[:, 2], called, where=called > 0, out=np.full(len(called), np.nan))
    variants = genotypes.variants.iloc[coding.row]
    minor = np.where(coding.minor_counted[coding.row], variants["counted"], variants["other"])
    two, missing, one, none = coding.values.T
    table = variants[["chromosome", "position", "counted", "other"]].reset_index(names="variant")
    table = table.assign(minor=minor, frequency=frequency[coding.row], two=two, one=one, none=none, missing=missing)
    return table.set_axis(pd.Index(coding.names, name="input"), axis=0)


def coding_of(table: pd.DataFrame) -> tuple[pd.DataFrame, Coding]:
    """The variants and the coding of a table of inputs."""
    row, _ = pd.factorize(table["variant"])
    variants = table.drop_duplicates("variant").set_index("variant")
    missing = table["missing"] if "missing" in table else np.full(len(table), np.nan)
    book = np.column_stack([table["two"], missing, table["one"], table["none"]]).astype(np.float32)
    minor = (variants["minor"] == variants["counted"]).to_numpy()
    return variants, Coding(tuple(table.index), row.astype(np.int64), book, minor, ())


def gene_wiring(features: Mapping[str, Sequence[str]]) -> Topology:
    """Variants to genes, for a study without an ontology: every gene is an output."""
    measured = Measured.of(features)
    place = ranks(measured.genes)
    inputs, genes = Level("inputs", tuple(measured.names)), Level("genes", tuple(sorted(measured.genes)))
    edges = np.stack([measured.feature, place[measured.gene]], axis=1)
    return Topology((inputs, genes), (Mask(inputs.name, genes.name, inputs.nodes, genes.nodes, edges),))


def genes_told_by(file: Path) -> dict[str, Any]:
    """A record of the file that told the genes of variants, for the provenance of a wiring."""
    return {"source": "genes of variants", "files": [{"name": file.name, "role": "genes", "sha256": sha256(file)}]}


def genes_of_paths(topology: Topology, read: pd.DataFrame, left: Genotypes) -> dict[str, tuple[str, ...]]:
    """The genes of each variant that is left, by a topology of GenNet's: the nodes of its first layer.

    Parameters
    ----------
    read
        Variants of the file.
    left
        What quality control has left of them.

    Raises
    ------
    AlignmentError
        If the topology names a variant that is not in the file.
    """
    if strangers := [name for name in topology.inputs if name not in read.index]:
        raise AlignmentError(
            f"the topology names {len(strangers):,} of its {len(topology.inputs):,} inputs that are no variant of the genotypes: "
            f"{culprits(strangers)}; variants are called like {culprits(read.index[:3])}. Give the topology made for "
            "these genotypes."
        )
    genes: dict[str, list[str]] = {}
    for mask in topology.masks:
        for source, target in mask.edges if mask.source_level == topology.levels[0].name else ():
            genes.setdefault(mask.sources[source], []).append(mask.targets[target])
    return {name: tuple(genes[name]) for name in left.variants.index if name in genes}


def without_inputs(topology: Topology, kept: Collection[str]) -> Topology:
    """A topology of the inputs that are kept, and of the nodes they lead to; what is lost is a line of its log."""
    lost = [name for name in topology.inputs if name not in kept]
    if not lost:
        return topology
    edges, names = topology.to_edges(), [level.name for level in topology.levels]
    alive = {names[0]: [name for name in topology.inputs if name in kept]}
    parts = []
    for name in names[1:]:
        own = edges[edges["target_level"] == name]
        fed = [
            level in alive and source in set(alive[level])
            for level, source in zip(own["source_level"], own["source"], strict=True)
        ]
        parts.append(own[fed])
        alive[name] = sorted(set(own["target"][fed]))
    gone = [node for level in topology.levels[1:] for node in level.nodes if node not in set(alive[level.name])]
    log = [Entry("quality control", "inputs", tuple(lost), "left out of the topology")]
    if gone:
        log.append(Entry("quality control", "nodes", tuple(gone), "without an input that is left"))
    return Topology.from_edges(
        alive, pd.concat(parts), names=dict(topology.names), log=[*topology.log, *log], provenance=topology.provenance
    )


def genes_of(genotypes: Genotypes, asked: GenotypeSection) -> GeneMap:
    """The genes of variants, as a study asks for them."""
    assert asked.genes is not None
    if asked.read_as == "ranges":
        ranges = read_gene_ranges(asked.genes, build=asked.build)
        return GeneMap.from_ranges(
            genotypes, ranges, upstream=asked.upstream, downstream=asked.downstream, intergenic=asked.intergenic,
            within=asked.within,
        )  # fmt: skip
    table = TABLES[asked.read_as](asked.genes, build=asked.build)
    return GeneMap.from_annotation(genotypes, table, intergenic=asked.intergenic, within=asked.within)


def known_of(
    genotypes: Genotypes, path: Path, data: DataSection, asked: GenotypeSection, targets: Sequence[str]
) -> Genotypes:
    """With the columns of the labels by their role."""
    if not data.label_files:
        files = genotype_files(path)
        if GENNET in files:
            return _joined(genotypes, read_subjects(files["subjects.csv"]), data, targets, "the people of subjects.csv")
        if PHENOTYPE not in genotypes.people:
            raise StudyError(f"{path.name} says nothing of its people. Give a table of them as data.labels.")
        if list(targets) != [PHENOTYPE]:
            raise StudyError(
                f"the target is {culprits(targets)}, and a .fam holds {PHENOTYPE!r} only. Give a table as data.labels."
            )
        told = fam_phenotype(genotypes.people, asked.phenotype).to_frame()
        return genotypes.joined(targets=told, unmatched="drop" if len(told) < genotypes.n_people else "error")
    tables = [read_table(file, sample_column=data.sample_column) for file in data.label_files]
    table = pd.concat([one.set_axis(one.index.map(str)) for one in tables], axis=1)
    return _joined(genotypes, table, data, targets, "the labels")


def _joined(
    genotypes: Genotypes, table: pd.DataFrame, data: DataSection, targets: Sequence[str], what: str
) -> Genotypes:
    roles = {"targets": targets, "covariates": data.covariates, "groups": data.groups}
    if lacking := [name for names in roles.values() for name in names if name not in table.columns]:
        raise StudyError(f"{what} lack the columns {culprits(lacking)}; they have {culprits(table.columns, 20)}.")
    parts = {
        role: table[list(names)] for role, names in roles.items() if names or len(getattr(genotypes, role).columns)
    }
    return genotypes.joined(unmatched=data.unmatched, **parts)

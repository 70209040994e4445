"""The study file: what a study reads, trains, compares and shows, stated in TOML and checked before anything runs."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vnn._atomic import sha256
from vnn._errors import StudyError, culprits
from vnn.data.genotypes.reading import genotype_files, is_genotypes
from vnn.interpret.verdict import Thresholds
from vnn.models import Recipe
from vnn.report.content import Individuals
from vnn.training import Training
from vnn.training.search import Space

DOWNSTREAM = {"name", "output", "report", "compare", "attribution", "nulls", "verdict", "loci"}
DESIGNS = {"screening": (20, 20, 10, 2), "full": (100, 40, 25, 4)}  # label draws, draws of wirings, pairs, seeds


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSection(_Section):
    """Which files hold the samples; paths are relative to the study file.

    Parameters
    ----------
    values
        Table, GCT or .h5ad of the measured values, or genotypes (see `GenotypeSection`); or, for several omics of the same
        genes, a table of such files:
        `values = { rna = "rna.csv", cna = "cna.csv" }`.
    labels
        Table or CLS of what is known of each sample, or a list of them; not needed where the values file holds it.
    target
        Column to predict; for survival the time until the event or the end of follow-up. A list of columns makes a study of
        each, by the same settings.
    event
        For survival the column that says whether the event happened (1) or not (0).
    task
        "binary", "multiclass", "regression" or "cox"; from the column unless given.
    classes
        Order of the classes, the positive one last.
    covariates, groups
        Columns that enter late, and columns that splits respect and data checks look at (batch, site, donor).
    samples_in
        Whether the samples are the "rows" or "columns" of the values; found from the labels unless given.
    sample_column, layer
        Column of the ids in the labels; layer of an .h5ad ("raw" for `.raw`).
    unmatched
        What happens to samples without a partner in the other table: "error" or "drop".
    unlabelled
        What happens to samples without a target: "error" or "drop".
    identifiers
        HGNC table through which features, and the genes of the ontology, become approved gene symbols.
    through
        Table of two columns from each feature to a name that HGNC knows (probe and symbol, mouse symbol and id of MGI),
        looked up before `identifiers`.
    several
        What becomes of several features of one gene: "separate" (all are inputs of the gene), "mean", "sum" or
        "max-variance".
    least_per_class, rare
        Classes with fewer samples are an "error", or their samples are dropped ("drop") or become one class "other" ("merge").
    traits
        All columns where `target` is a list; stated there.
    log_cpm
        Whether counts become log(1 + counts per million); of several omics the names of those that are counts.
    """

    values: Path | Mapping[str, Path]
    labels: Path | tuple[Path, ...] | None = None
    target: str
    event: str | None = None
    task: Literal["binary", "multiclass", "regression", "cox"] | None = None
    classes: tuple[str, ...] | None = None
    covariates: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    samples_in: Literal["rows", "columns"] | None = None
    sample_column: str | None = None
    layer: str | None = None
    unmatched: Literal["error", "drop"] = "error"
    unlabelled: Literal["error", "drop"] = "error"
    identifiers: Path | None = None
    through: Path | None = None
    several: Literal["separate", "mean", "sum", "max-variance"] = "separate"
    least_per_class: Annotated[int, Field(ge=1)] | None = None
    rare: Literal["error", "drop", "merge"] = "error"
    log_cpm: bool | tuple[str, ...] = False
    traits: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _several_targets(cls, stated: Any) -> Any:
        if not isinstance(stated, Mapping) or not isinstance(stated.get("target"), list | tuple):
            return stated
        if not stated["target"]:
            raise ValueError("target is an empty list; name at least one column")
        return {**stated, "target": stated["target"][0], "traits": tuple(stated["target"])}

    @model_validator(mode="after")
    def _traits(self) -> DataSection:
        if len(set(self.traits)) < len(self.traits):
            raise ValueError(f"target names a column twice: {culprits(self.traits)}")
        if self.traits and (self.event is not None or self.classes is not None):
            raise ValueError(
                "event and classes belong to one target, and target is a list; write a study file for each"
            )
        if odd := [name for name in self.traits if name != Path(name).name or name.startswith(".")]:
            raise ValueError(
                f"each target gets a folder of its name, and {culprits(odd)} cannot be one; rename the column"
            )
        return self

    @model_validator(mode="after")
    def _survival(self) -> DataSection:
        if (self.task == "cox") and self.event is None:
            raise ValueError('task = "cox" needs event: the column that says whether the event happened')
        if self.event is not None and self.task not in (None, "cox"):
            raise ValueError(f'event is for survival, and task is "{self.task}"; leave one of them out')
        if self.through is not None and self.identifiers is None:
            raise ValueError("through leads to names that HGNC's table is asked for; give identifiers as well")
        if self.least_per_class is not None and (self.event is not None or self.task == "regression"):
            raise ValueError("least_per_class is for classes, and the target has none; leave it out")
        if isinstance(self.values, Mapping):
            if self.labels is None:
                raise ValueError("several omics need labels: the table that describes their samples")
            if isinstance(self.log_cpm, tuple) and (unknown := set(self.log_cpm) - set(self.values)):
                raise ValueError(f"log_cpm names {culprits(sorted(unknown))}; the omics are {culprits(self.values)}")
        elif isinstance(self.log_cpm, tuple):
            raise ValueError("log_cpm names omics, and values is a single file; it must be true or false")
        return self

    @property
    def files(self) -> dict[str, Path]:
        """The files of values by omics; a single one has the name ""."""
        return dict(self.values) if isinstance(self.values, Mapping) else {"": self.values}

    @property
    def label_files(self) -> tuple[Path, ...]:
        """The files of labels."""
        return () if self.labels is None else self.labels if isinstance(self.labels, tuple) else (self.labels,)


class QualitySection(_Section):
    """Which variants and people of genotypes stay; 0 leaves a step out. The steps are those of `vnn.data.genotypes.Thresholds`.

    Call rates, sex, heterozygosity and kinship are no matter of a split and are judged in everybody. Frequency and Hardy-Weinberg
    are judged in the training part of each split: a variant stays if it passes in all of them.

    Parameters
    ----------
    chromosomes
        Which are kept; autosomes unless given.
    variant_call_rate, person_call_rate
        Least share of people called in a variant, and of variants called in a person.
    sex
        Whether people whose X contradicts the sex told of them go.
    heterozygosity
        Standard deviations of F that a person may be away from the mean.
    duplicates
        Kinship from which two people are one: the one with fewer calls goes.
    kinship
        Kinship from which people are of one family; families stay in one part of every split.
    maf, hardy
        Least minor allele frequency, and least mid-p of Hardy-Weinberg equilibrium among unrelated controls: of two classes
        the one that is called "control", "healthy", "0", ..., or else the first of `data.classes`; without classes everybody.
    populations
        Group column: heterozygosity is compared, and Hardy-Weinberg tested, within each of these.
    """

    chromosomes: tuple[str, ...] | None = None
    variant_call_rate: Annotated[float, Field(ge=0, le=1)] = 0.98
    person_call_rate: Annotated[float, Field(ge=0, le=1)] = 0.98
    sex: bool = True
    heterozygosity: Annotated[float, Field(ge=0)] = 3.0
    duplicates: Annotated[float, Field(ge=0, le=0.5)] = 0.354
    kinship: Annotated[float, Field(ge=0, le=0.5)] = 0.0884
    maf: Annotated[float, Field(ge=0, le=0.5)] = 0.01
    hardy: Annotated[float, Field(ge=0, le=1)] = 1e-6
    populations: str | None = None


class GenotypeSection(_Section):
    """How genotypes become inputs, where `data.values` holds some: .bed, .pgen, .vcf, .bcf, .bgen, or a folder of GenNet's.

    Parameters
    ----------
    genes
        File that tells the genes of variants; not needed where `ontology.name` is a topology.csv of GenNet's.
    read_as
        What it is: gene "ranges" (GTF, GFF3, BED, gene list), a table of "variants" and genes, "annovar" or "vep" output.
    build
        Genome build of genotypes and gene ranges: "GRCh37" or "GRCh38"; checked where positions can tell.
    upstream, downstream
        Bases added to gene ranges, in the direction of the gene.
    intergenic, within
        What becomes of variants without a gene; see `GeneMap.from_ranges`.
    coding
        "additive", "dominant", "recessive", "genotype" or "standardised"; see `fit_coding`. The minor allele is that of the
        people who learn: with one split its training part, with folds everybody who learns in one of them.
    missing
        What a missing genotype is worth. "impute": what `training.impute` says, from each training part. "mode": the value of the
        most frequent genotype of those who learn. "own": their mean, and a column of its own says where genotypes are missing.
    batches
        What networks learn from: "numbers" in memory; "panels" of 64 people on disk, two bits for a genotype, from which a batch
        takes whole ones; or "people", rows on disk from which a batch takes anyone. Numbers unless they need more than 1 GB, and
        panels then. Panels need `network.input_dropout = 0` and a `training.batch_size` that is a multiple of 64.
    phenotype
        Coding of the phenotype of the .fam, "1/2" (PLINK's), "0/1" or "quantitative", where there are no labels.
    bim
        The .bim of the fileset that a folder of GenNet's was made of; the folder itself names no alleles.
    outside
        Values of a folder of GenNet's that are not 0, 1 or 2 copies: an "error", or "missing".
    components
        Principal components of the genotypes that enter as covariates, 0 for none. They are of common autosomal variants that are
        not linked, outside regions of long-range linkage where the build is known; learnt from unrelated people who are in the
        training part of some split, and the others are placed among them.
    quality
        Quality control; none unless there is a section [genotypes.quality].
    """

    genes: Path | None = None
    read_as: Literal["ranges", "variants", "annovar", "vep"] = "ranges"
    build: Literal["", "GRCh37", "GRCh38"] = ""
    upstream: Annotated[int, Field(ge=0)] = 35_000
    downstream: Annotated[int, Field(ge=0)] = 10_000
    intergenic: Literal["drop", "nearest", "chromosome", "node"] = "drop"
    within: Annotated[int, Field(ge=1)] | None = None
    coding: Literal["additive", "dominant", "recessive", "genotype", "standardised"] = "additive"
    missing: Literal["impute", "mode", "own"] = "impute"
    batches: Literal["numbers", "panels", "people"] | None = None
    phenotype: Literal["1/2", "0/1", "quantitative"] | None = None
    bim: Path | None = None
    outside: Literal["error", "missing"] = "error"
    components: Annotated[int, Field(ge=0)] = 0
    quality: QualitySection | None = None


class OntologySection(_Section):
    """Which knowledge becomes the wiring.

    Parameters
    ----------
    name
        Name in the catalogue, path of a recipe (.toml), of a gene-set file (.gmt), or of a topology.csv of GenNet's; "genes"
        wires the variants of genotypes to their genes and nothing above them.
    folder
        Where the files of the recipe lie.
    release
        Release they must be, checked by hash.
    choices
        Instead of the recipe's own choices, such as `evidence` or `without_branch`.
    min_genes, max_genes, collapse, jaccard, skips, gene_level, depth, levels, residual, free
        See `Ontology.topology`.
    """

    name: str
    folder: Path | None = None
    release: str | None = None
    choices: Mapping[str, Any] = Field(default_factory=dict)
    min_genes: Annotated[int, Field(ge=1)] = 5
    max_genes: Annotated[int, Field(ge=1)] | None = None
    collapse: bool = True
    jaccard: Annotated[float, Field(gt=0, le=1)] | None = None
    skips: Literal["edges", "copies"] = "edges"
    gene_level: bool = False
    depth: Annotated[int, Field(ge=1)] | None = None
    levels: Literal["longest path", "depth", "hybrid"] = "longest path"
    residual: bool = False
    free: Annotated[int, Field(ge=0)] = 0


class SplitSection(_Section):
    """How samples are held out.

    Parameters
    ----------
    kind
        "k-fold", "hold-out", "leave-one-group-out", or "given": the group column says who is in which part, "train",
        "validation" and "test" or, as in GenNet's subjects.csv, 1, 2 and 3.
    k, repeats
        Folds, and how often they are dealt anew.
    test
        Share of the samples held out, for "hold-out".
    validation
        Share of the remaining samples that decides when to stop; 0 trains for all epochs.
    stratify
        Whether every part has the classes in the same proportion.
    group
        Group column whose members stay together, or that is left out one by one, or that names the parts.
    """

    kind: Literal["k-fold", "hold-out", "leave-one-group-out", "given"] = "k-fold"
    k: Annotated[int, Field(ge=2)] = 5
    repeats: Annotated[int, Field(ge=1)] = 1
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.2
    stratify: bool = True
    group: str | None = None


class SearchSection(_Section):
    """A search for learning rate, weight decay and dropout before anything is trained; see `vnn.training.search`.

    Each split chooses by its own validation part. Null networks have the settings of their partners; half-samples have what
    most splits chose.

    Parameters
    ----------
    n
        Settings to try, the first of them as `training` and `network` say; 0 for no search.
    eta, first
        One of `eta` settings goes on to train `eta` times as long; least epochs before that.
    n_seeds
        Networks of each setting and split.
    space
        Bounds of `lr`, `weight_decay`, `dropout` and `input_dropout`: `lr = [3e-4, 3e-2]`; "fixed" for what is not searched.
    """

    n: Annotated[int, Field(ge=0)] = 0
    eta: Annotated[int, Field(ge=2)] = 3
    first: Annotated[int, Field(ge=1)] = 5
    n_seeds: Annotated[int, Field(ge=1)] = 1
    space: Space = Space()


class CompareSection(_Section):
    """What the networks are compared with.

    Parameters
    ----------
    models
        Baselines on the same splits, such as "logistic regression", "boosted trees", "pathway means", "dense network";
        all that apply unless given, none for an empty list. "linear network" takes part only where it is named. Genotypes have
        "polygenic score (clumping and thresholding)" and "gene burden" instead of pathway means.
    """

    models: tuple[str, ...] | None = None


class NullSection(_Section):
    """How many null networks are trained beside the real ones, and on how many half-samples; 0 for none.

    Draws may be added to a finished study: those that are there are kept.

    Parameters
    ----------
    design
        "screening" (20 label draws, 20 draws of other wirings, 10 pairs of half-samples) or "full" (100, 40, 25); numbers
        stated beside it count instead of its own. Wirings are rewired; in a study of genotypes variants are shifted along their
        chromosomes instead, where they can be and no number of `rewired` is stated. The study needs at least 2 or 4 `n_seeds`.
    labels
        Draws of permuted labels: by covariates and groups where these are declared.
    rewired, reassigned
        Draws of wirings with all degrees kept, and of genes put in other places.
    shifted, places
        Draws of variants shifted along their chromosomes, and the table of their places: a row per input, with the columns
        chromosome and position. Another table is another study. A study of genotypes knows the places of its variants.
    equalised
        Draws of inputs simulated to be equally predictive. They are trained split by split, which is slower.
    half_samples
        Pairs of complementary halves of the people, with the real labels and wiring.
    unit
        Group column between or within whose groups labels are permuted; that of `splits.group` unless given.
    at_once
        Networks that a process trains side by side; as many as memory has room for unless given.
    workers, backend
        Processes that train them, each a chunk of its own, and what starts these: "loky" (this machine), or "dask" or
        "ray" (a cluster that shares the output folder). The networks are the same for any number.
    """

    design: Literal["screening", "full"] | None = None
    labels: Annotated[int, Field(ge=0)] | None = None
    rewired: Annotated[int, Field(ge=0)] | None = None
    reassigned: Annotated[int, Field(ge=0)] | None = None
    shifted: Annotated[int, Field(ge=0)] | None = None
    places: Path | None = None
    equalised: Annotated[int, Field(ge=0)] | None = None
    half_samples: Annotated[int, Field(ge=0)] | None = None
    unit: str | None = None
    at_once: Annotated[int, Field(ge=1)] | None = None
    workers: Annotated[int, Field(ge=1)] = 1
    backend: Literal["loky", "dask", "ray"] = "loky"

    def n_draws(self, kind: str, wiring: str = "rewired") -> int:
        """Draws of a kind of null, or pairs of "half_samples"; `wiring` is the null of the wiring that a design draws."""
        stated: int | None = getattr(self, kind)
        if stated is not None or self.design is None:
            return stated or 0
        labels, wirings, pairs, _ = DESIGNS[self.design]
        return {"labels": labels, wiring: wirings, "half_samples": pairs}.get(kind, 0)


class AttributionSection(_Section):
    """How predictions are attributed to nodes.

    Parameters
    ----------
    baseline
        What absent input looks like: "mean", "zero", "normal", "universal" or "specific"; see `vnn.interpret.baseline`.
    group
        Instead, the training mean of a reference group: `group = ["tissue", "normal"]`, column and value.
    draws
        References per network for the three random baselines.
    crosscheck
        Samples on which our DeepLIFT is compared with independent implementations; 0 for none.
    """

    baseline: Literal["mean", "zero", "normal", "universal", "specific"] = "mean"
    group: tuple[str, str] | None = None
    draws: Annotated[int, Field(ge=1)] = 10
    crosscheck: Annotated[int, Field(ge=0)] = 8


class LociSection(_Section):
    """When robust genes of a genotype study are one locus: they share a variant, or any of these.

    Parameters
    ----------
    distance
        Bases between their ends, less than this.
    r2
        Largest squared correlation between a variant of one and a variant of the other, above this.
    regions
        What becomes of regions of long-range linkage disequilibrium, the MHC among them: "mark" them, or make each "one
        locus". They need a declared build.
    people
        In how many people, at most, linkage is looked at.
    """

    distance: Annotated[int, Field(ge=0)] = 500_000
    r2: Annotated[float, Field(ge=0, le=1)] = 0.1
    regions: Literal["mark", "one locus"] = "mark"
    people: Annotated[int, Field(ge=50)] = 2000


class ReportSection(_Section):
    """What the page shows.

    Parameters
    ----------
    individuals
        "none": no ids, no rows of single people, no group under 5 people; "pseudonym": people are numbered; "full": ids as
        they are.
    populations
        Which people the data hold, in your words; every page says it.
    weaknesses
        Known weaknesses of the data or design, a sentence each.
    figures
        Whether every figure is written as PNG and SVG too.
    activities
        Whether the activity of every node in every person is written; for genotype studies only on request.
    """

    individuals: Individuals = "pseudonym"
    populations: str = "not stated"
    weaknesses: tuple[str, ...] = ()
    figures: bool = True
    activities: bool = True


class Study(_Section):
    """A study as its TOML file states it.

    Parameters
    ----------
    name, seed, n_seeds, output
        Name of the study, seed of all its chance, networks per split, and the folder for its results
        (relative to the study file).
    data, genotypes, ontology, splits, network, training, search, nulls, compare, attribution, verdict, loci, report
        The stations; `network` is a `Recipe`, `training` a `Training`, `verdict` holds `Thresholds`.
    """

    name: str = "study"
    seed: Annotated[int, Field(ge=0)] = 0
    n_seeds: Annotated[int, Field(ge=1)] = 1
    output: Path = Path("results")
    data: DataSection
    genotypes: GenotypeSection | None = None
    ontology: OntologySection
    splits: SplitSection = SplitSection()
    network: Recipe = Recipe()
    training: Training = Training()
    search: SearchSection = SearchSection()
    nulls: NullSection = NullSection()
    compare: CompareSection = CompareSection()
    attribution: AttributionSection = AttributionSection()
    verdict: Thresholds = Thresholds()
    loci: LociSection = LociSection()
    report: ReportSection = ReportSection()

    @model_validator(mode="before")
    @classmethod
    def _nobody_shown(cls, stated: Any) -> Any:
        """Pages of genotype studies show nobody, and activities of people are not written, unless they are told to."""
        if not isinstance(stated, Mapping) or stated.get("genotypes") is None:
            return stated
        report = stated.get("report", {})
        if not isinstance(report, Mapping):
            return stated
        return {**stated, "report": {"individuals": "none", "activities": False, **report}}

    @model_validator(mode="after")
    def _cohort(self) -> Study:
        held = [path.name for path in self.data.files.values() if is_genotypes(path)]
        own, asked = self.ontology.name, self.genotypes
        if self.nulls.shifted and self.nulls.places is None and asked is None:
            raise ValueError(
                "nulls.shifted needs nulls.places: the table with the chromosome and position of every input"
            )
        if held and asked is None:
            raise ValueError(
                f"data.values holds the genotypes {held[0]}; a section [genotypes] must say which genes its variants have"
            )
        if own == "genes" and asked is None:
            raise ValueError('ontology.name = "genes" wires variants to genes and needs a section [genotypes]')
        if asked is None:
            return self
        values = list(self.data.files.values())
        if len(values) > 1 or (not held and values[0].suffix):
            raise ValueError(
                f"[genotypes] is for genotypes of one study as data.values: a .bed, .pgen, .vcf, .bcf or .bgen, or a folder of "
                f"GenNet's; it is {culprits(path.name for path in values)}"
            )
        if asked.genes is None and not own.endswith(".csv"):
            raise ValueError(
                "genotypes.genes is needed: the file that tells the genes of variants; only a topology.csv of GenNet's as "
                "ontology.name does without"
            )
        if asked.genes is not None and own.endswith(".csv"):
            raise ValueError(
                "genotypes.genes and the topology of GenNet's as ontology.name both tell the genes of variants; leave one out"
            )
        if own.endswith(".csv") and asked.coding == "genotype":
            raise ValueError(
                'genotypes.coding = "genotype" makes two inputs of a variant, and the topology of GenNet\'s names one. Take '
                "another coding, or genotypes.genes instead of the topology"
            )
        if self.splits.kind == "given" and asked.quality is not None and asked.quality.kinship:
            raise ValueError(
                'splits.kind = "given" cannot keep families in one part; set genotypes.quality.kinship = 0, or let vnn split'
            )
        return self

    @model_validator(mode="after")
    def _enough_seeds(self) -> Study:
        if self.nulls.design is not None and self.n_seeds < (least := DESIGNS[self.nulls.design][3]):
            raise ValueError(
                f'nulls.design = "{self.nulls.design}" needs n_seeds of at least {least}; it is {self.n_seeds}'
            )
        return self

    @model_validator(mode="after")
    def _judged(self) -> Study:
        if self.search.n and not self.splits.validation:
            raise ValueError(
                "a search is judged by the validation parts; set splits.validation above 0, or search.n to 0"
            )
        return self

    @classmethod
    def read(cls, path: Path | str) -> Study:
        """The study a TOML file states, its paths made absolute.

        Raises
        ------
        StudyError
            If the file is no TOML or a key or value is not known; the message names key, known keys and the nearest.
        """
        file = Path(path)
        try:
            stated = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StudyError(f"there is no study file {file}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise StudyError(f"{file} is not valid TOML: {error}.") from error
        try:
            return cls(**stated)._at(file.resolve().parent)
        except ValidationError as error:
            raise StudyError(_explained(cls, file, error)) from None

    def _at(self, folder: Path) -> Study:
        def absolute(path: Path | None) -> Path | None:
            return None if path is None else folder / path

        name = self.ontology.name
        if is_file(name):
            name = str(folder / name)
        values = {omics: folder / path for omics, path in self.data.files.items()}
        labels = tuple(folder / path for path in self.data.label_files)
        data = self.data.model_copy(
            update={
                "values": values.get("", values),
                "labels": None
                if self.data.labels is None
                else labels
                if isinstance(self.data.labels, tuple)
                else labels[0],
                "identifiers": absolute(self.data.identifiers),
                "through": absolute(self.data.through),
            }
        )
        ontology = self.ontology.model_copy(update={"name": name, "folder": absolute(self.ontology.folder)})
        nulls = self.nulls.model_copy(update={"places": absolute(self.nulls.places)})
        cohort = self.genotypes and self.genotypes.model_copy(
            update={"genes": absolute(self.genotypes.genes), "bim": absolute(self.genotypes.bim)}
        )
        return self.model_copy(
            update={
                "data": data,
                "genotypes": cohort,
                "ontology": ontology,
                "nulls": nulls,
                "output": folder / self.output,
            }
        )

    @property
    def identity(self) -> str:
        """SHA-256 of everything that decides what is trained: settings and the content of the files."""
        stated = self.model_dump(mode="json", exclude=DOWNSTREAM)
        if not self.search.n:
            stated.pop("search")
        stated["data"].pop("traits")
        files = self.data.files if self.genotypes is None else genotype_files(self.data.files[""])
        stated["data"]["values"] = {omics: sha256(path) for omics, path in files.items()}
        stated["data"]["labels"] = [sha256(path) for path in self.data.label_files]
        if self.data.through is None:
            stated["data"].pop("through")
        if self.genotypes is None:
            stated.pop("genotypes")
        else:
            if self.genotypes.batches is None:
                stated["genotypes"].pop("batches")
            if self.genotypes.missing == "impute":
                stated["genotypes"].pop("missing")
            for key in ("genes", "bim"):
                if (path := getattr(self.genotypes, key)) is not None:
                    stated["genotypes"][key] = sha256(path)
        for key in ("identifiers", "through"):
            if (path := getattr(self.data, key)) is not None:
                stated["data"][key] = sha256(path)
        stated["ontology"].pop("folder")
        if self.nulls.unit is not None:
            stated["nulls"] = {"unit": self.nulls.unit}
        if self.nulls.places is not None:
            stated["nulls"] = stated.get("nulls", {}) | {"places": sha256(self.nulls.places)}
        if is_file(self.ontology.name):
            stated["ontology"]["name"] = sha256(self.ontology.name)
        return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def _explained(model: type[BaseModel], file: Path, error: ValidationError) -> str:
    lines: dict[str, None] = {}
    for problem in error.errors():
        where = [str(part) for part in problem["loc"]]
        given = problem["input"]
        if problem["type"] == "extra_forbidden":
            known = _keys(model, where[:-1])
            line = f"{'.'.join(where)} is not known; known here are {', '.join(known)}.{_nearest(where[-1], known)}"
        elif problem["type"] == "missing":
            line = f"{'.'.join(where)} is needed."
        elif problem["type"] == "literal_error":
            known = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
            line = (
                f"{'.'.join(where)} is {given!r}; known are {', '.join(map(repr, known))}.{_nearest(str(given), known)}"
            )
        elif where[:2] == ["data", "values"]:
            line = f"data.values is {given!r}; it must be a file, or a table of files by omics."
        elif where[:2] == ["data", "labels"]:
            line = f"data.labels is {given!r}; it must be a file, or a list of files."
        elif problem["type"] == "value_error":
            line = f"{'.'.join(where) or 'the file'}: {problem['ctx']['error']}."
        else:
            line = f"{'.'.join(where)} is {given!r}: {problem['msg']}."
        lines[line] = None
    return f"the study file {file} cannot be run:\n  " + "\n  ".join(lines)


def _nearest(given: str, known: Iterable[str]) -> str:
    near = get_close_matches(given, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def is_file(ontology: str) -> bool:
    """Whether the name of an ontology is a path rather than a name of the catalogue."""
    return ontology.endswith((".toml", ".gmt", ".gmt.gz", ".csv"))


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        known = [
            one for one in (annotation, *get_args(annotation)) if isinstance(one, type) and issubclass(one, BaseModel)
        ]
        if not known:
            return []
        model = known[0]
    return list(model.model_fields)

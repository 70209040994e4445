"""Simulated genotype studies: a PLINK fileset, genes, pathways and phenotypes whose truth is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from vnn._atomic import replacing, sha256, write_text
from vnn._errors import StudyError, choose, culprits
from vnn.data.genotypes.genotypes import VARIANTS, Genotypes, Part
from vnn.data.genotypes.landscape import BUILD, Landscape, lay_out
from vnn.data.genotypes.mosaics import write_mosaics
from vnn.data.genotypes.pedigree import Pedigree, draw_pedigree
from vnn.data.genotypes.plink import PHENOTYPE
from vnn.data.genotypes.traits import Cause, Phenotype, Trait, choose_causes, draw_covariates, phenotype

if TYPE_CHECKING:
    from vnn.ontology.ontology import Ontology

AUTOSOMES = tuple(str(number) for number in range(1, 23))
INTERACTING = ("within", "across")


@dataclass(frozen=True, eq=False)
class PlantedTruth:
    """What was planted in a simulated study.

    Parameters
    ----------
    settings
        What was asked for, the seed among it.
    causes
        A row for every causal variant: `trait`, `cause` (number; two variants of an interaction share it), `variant`, `gene`,
        `pathway`, `coding`, `effect` (change of the liability for one standard deviation of the coded cause), `frequency` (of the
        counted allele among all founders).
    loci
        Genes that lie in one stretch of strong linkage with a causal variant, by trait.
    oracle
        What the true genetic value reaches, by trait: "r2" of the liability, and the expected "auc" of a binary trait.
    values
        True genetic value of each person and trait, on the scale of the liability.
    relatives
        Pairs of relatives: `person`, `relative`, `relation`, `kinship`.
    populations
        How many people are of each; who is, stands in the groups of the genotypes.
    """

    settings: dict[str, Any]
    causes: pd.DataFrame
    loci: dict[str, tuple[str, ...]]
    oracle: dict[str, dict[str, float]]
    values: pd.DataFrame
    relatives: pd.DataFrame
    populations: dict[str, int]

    def genes(self, trait: str) -> tuple[str, ...]:
        """The causal genes of a trait, sorted."""
        return self._names(trait, "gene")

    def pathways(self, trait: str) -> tuple[str, ...]:
        """The causal pathways of a trait, sorted."""
        return self._names(trait, "pathway")

    def variants(self, trait: str) -> tuple[str, ...]:
        """The causal variants of a trait, sorted."""
        return self._names(trait, "variant")

    def _names(self, trait: str, column: str) -> tuple[str, ...]:
        choose("trait", trait, self.oracle)
        own = self.causes[self.causes["trait"] == trait]
        return tuple(sorted(set(own[column]) - {""}))

    def to_json(self) -> dict[str, Any]:
        """All but the values of people, as JSON takes it."""
        traits = {
            name: {
                "genes": self.genes(name), "pathways": self.pathways(name), "variants": self.variants(name),
                "locus": self.loci.get(name, ()), "oracle": oracle,
            }
            for name, oracle in self.oracle.items()
        }  # fmt: skip
        return {
            "settings": self.settings,
            "populations": self.populations,
            "traits": traits,
            "causes": self.causes.to_dict("records"),
            "relatives": self.relatives.to_dict("split", index=False),
        }


@dataclass(frozen=True, eq=False)
class SimulatedGenotypes:
    """A simulated genotype study.

    Parameters
    ----------
    folder
        Where its files are.
    genotypes
        All variants of all people, with targets, covariates (`age`, `sex`, `pc1`...) and groups (`population`, `family`).
    genes
        Index: names. Columns `chromosome`, `start`, `end`, `strand`.
    variant_genes
        A row for every variant and gene that holds it: `variant`, `gene`.
    pathways
        Genes of each pathway.
    truth
        What was planted.
    """

    folder: Path
    genotypes: Genotypes
    genes: pd.DataFrame
    variant_genes: pd.DataFrame
    pathways: dict[str, tuple[str, ...]]
    truth: PlantedTruth

    def ontology(self) -> Ontology:
        """Genes, pathways and systems, read from the files."""
        from vnn.ontology.gmt import read_gmt

        return read_gmt(self.folder / "pathways.gmt", relations=self.folder / "relations.tsv")


def simulate_genotypes(
    folder: Path | str,
    *,
    people: int = 10_000,
    variants: int = 50_000,
    genes: int = 2_000,
    pathways: int = 100,
    traits: Sequence[Trait] = (Trait(),),
    frequencies: Literal["realistic", "uniform"] | None = None,
    chromosomes: int = 22,
    x: bool = False,
    populations: int | None = None,
    fst: float = 0.01,
    families: int = 0,
    missing: float = 0.0,
    founders: int = 2_000,
    seed: int,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> SimulatedGenotypes:
    """Simulate a genotype study and write it: genomes with linkage, genes, pathways, traits and their truth.

    The model and its limits are in docs/simulated_genotypes.md. The folder then holds `cohort.bed`, `.bim` and `.fam` (with the
    first trait), `phenotypes.csv` (targets, covariates, groups), `genes.txt` (chromosome, start, end, name, strand; 1-based, both
    ends included), `variant_genes.tsv`, `pathways.gmt`, `relations.tsv` (parent, child), `truth.json` and `true_values.csv`.

    Parameters
    ----------
    folder
        New or empty.
    traits
        What to simulate from the genomes; each has its own causes.
    frequencies
        Of alleles: "realistic" (as of neutral variants, 0.01 to 0.5) or "uniform" (0.2 to 0.5); uniform where a trait is an
        interaction, unless given.
    chromosomes
        How many autosomes share the variants, 1 to 22.
    x
        Whether the X chromosome (outside the pseudo-autosomal regions) takes a share; males are coded as homozygous.
    populations
        How many have parted, by `fst`; people fall to them in equal expected shares. 1 unless given, 2 for a confounder.
    families
        Families of father, mother and two children among the people.
    missing
        Share of genotypes that are missing, completely at random.
    founders
        Haplotypes of each population.
    tell
        Told how many variants are written, and of how many.

    Raises
    ------
    StudyError
        If the folder is not empty.
    ValueError
        If something cannot be simulated; the message says what to change.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(f"{folder} is not an empty folder; name a new one, or remove what is there.")
    kinds = [trait.scenario for trait in traits]
    confounded = any(trait.between for trait in traits)
    populations = (2 if confounded else 1) if populations is None else populations
    frequencies = ("uniform" if set(kinds) & set(INTERACTING) else "realistic") if frequencies is None else frequencies
    choose("frequencies", frequencies, ("realistic", "uniform"))
    _check(
        people, genes, pathways, chromosomes, populations, fst, missing, founders, families, seed, confounded, traits
    )
    names = (*AUTOSOMES[:chromosomes], *(["X"] if x else []))
    settings = {
        "people": people, "variants": variants, "genes": genes, "pathways": pathways, "frequencies": frequencies,
        "chromosomes": chromosomes, "x": x, "populations": populations, "fst": fst, "families": families, "missing": missing,
        "founders": founders, "seed": seed, "traits": [asdict(trait) for trait in traits],
    }  # fmt: skip
    landscape = lay_out(
        variants, genes, pathways, frequencies=frequencies, chromosomes=names, strong="locus" in kinds, seed=seed
    )
    pedigree = draw_pedigree(people, families, populations, seed)
    causes = {trait.name: choose_causes(trait, landscape, seed) for trait in traits}
    wanted = np.unique([at for own in causes.values() for cause in own for at in cause.variants]).astype(np.int64)
    folder.mkdir(parents=True, exist_ok=True)
    taken = write_mosaics(
        folder / "cohort.bed", landscape, pedigree, n_populations=populations, n_founders=founders,
        fst=fst if populations > 1 else 0.0, missing=missing, wanted=wanted, seed=seed, tell=tell,
    )  # fmt: skip
    covariates = draw_covariates(pedigree, populations, seed)
    found = {
        trait.name: phenotype(trait, causes[trait.name], landscape, taken, wanted, pedigree, covariates, seed)
        for trait in traits
    }
    targets = pd.DataFrame(
        {name: held for made in found.values() for name, held in made.columns.items()}, index=pedigree.ids
    )
    table = pedigree.table()
    of = np.array([f"population {number + 1}" for number in range(populations)], dtype=object)
    groups = pd.DataFrame({"population": of[pedigree.population], "family": table["family"]}, index=pedigree.index)
    planted = _planted(settings, traits, causes, found, landscape, taken.alleles, wanted, pedigree, groups)
    table[PHENOTYPE] = _told(traits[0], targets)
    _write_names(folder, landscape, table)
    _write_tables(folder, landscape, pd.concat([targets, covariates, groups], axis=1), planted)
    genotypes = _mapped(folder, landscape, table, targets=targets, covariates=covariates, groups=groups)
    own = landscape.genes[["chromosome", "start", "end", "strand"]]
    return SimulatedGenotypes(folder, genotypes, own, landscape.variant_genes(), landscape.pathways, planted)


def _check(
    people: int, genes: int, pathways: int, chromosomes: int, populations: int, fst: float, missing: float, founders: int,
    families: int, seed: int, confounded: bool, traits: Sequence[Trait],
) -> None:  # fmt: skip
    least = {
        "people": people,
        "genes": genes,
        "pathways": pathways,
        "populations": populations,
        "chromosomes": chromosomes,
    }
    for name, value in least.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; at least 1 is needed.")
    if seed < 0 or families < 0:
        raise ValueError(f"seed is {seed} and families {families}; neither may be negative.")
    if chromosomes > len(AUTOSOMES):
        raise ValueError(
            f"chromosomes is {chromosomes}; there are {len(AUTOSOMES)} autosomes (x=True adds the X chromosome)."
        )
    if founders < 100:
        raise ValueError(f"founders is {founders}; at least 100 haplotypes are needed for frequencies from 0.01.")
    if not 0 <= fst < 1 or (populations > 1 and not fst):
        raise ValueError(f"fst is {fst:g} with {populations} populations; it must be above 0 and below 1 for several.")
    if not 0 <= missing < 1:
        raise ValueError(f"missing is {missing:g}; it must be at least 0 and below 1.")
    if confounded and populations < 2:
        raise ValueError("a trait differs by population, but there is one; ask for 2 or more populations.")
    if not traits:
        raise ValueError('traits is empty; at least one is needed, such as Trait(scenario="null").')
    names = [trait.name for trait in traits]
    if again := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{len(again)} names of traits are repeated: {culprits(again)}. Give each its own name.")


def _planted(
    settings: dict[str, Any],
    traits: Sequence[Trait],
    causes: dict[str, tuple[Cause, ...]],
    found: dict[str, Phenotype],
    landscape: Landscape,
    alleles: np.ndarray,
    wanted: np.ndarray,
    people: Pedigree,
    groups: pd.DataFrame,
) -> PlantedTruth:
    names = landscape.variants.index
    frequency = alleles.mean((1, 2))
    rows = [
        {
            "trait": trait.name, "cause": number, "variant": names[at], "gene": gene, "pathway": cause.pathway,
            "coding": "additive" if trait.scenario == "locus" else trait.scenario,
            "effect": float(found[trait.name].effects[number]), "frequency": float(frequency[np.searchsorted(wanted, at)]),
        }
        for trait in traits
        for number, cause in enumerate(causes[trait.name])
        for at, gene in zip(cause.variants, cause.genes, strict=True)
    ]  # fmt: skip
    columns = ["trait", "cause", "variant", "gene", "pathway", "coding", "effect", "frequency"]
    return PlantedTruth(
        settings=settings,
        causes=pd.DataFrame(rows, columns=columns),
        loci={trait.name: landscape.strong for trait in traits if trait.scenario == "locus"},
        oracle={name: held.oracle for name, held in found.items()},
        values=pd.DataFrame({name: held.value for name, held in found.items()}, index=people.index),
        relatives=people.relatives(),
        populations=dict(
            zip(*(held.tolist() for held in np.unique(groups["population"], return_counts=True)), strict=True)
        ),
    )


def _mapped(folder: Path, landscape: Landscape, people: pd.DataFrame, **tables: pd.DataFrame) -> Genotypes:
    """What `read_plink` makes of the files, without reading the names again, and what is known of the people."""
    files = {role: folder / f"cohort.{role}" for role in ("bed", "bim", "fam")}
    shape = (len(landscape.variants), -(-len(people) // 4))
    rows = np.memmap(files["bed"], dtype=np.uint8, mode="r", offset=3, shape=shape)
    sources = tuple({"name": path.name, "sha256": sha256(path), "role": role} for role, path in files.items())
    parts, row = (Part(rows, np.arange(len(people))),), np.arange(len(rows))
    return Genotypes(parts, row, landscape.variants[VARIANTS], people, **tables, build=BUILD, sources=sources)


def _told(trait: Trait, targets: pd.DataFrame) -> pd.Series:
    """A trait as a .fam has it."""
    if trait.kind == "binary":
        return targets[trait.name].map({"control": "1", "case": "2"})
    if trait.kind == "quantitative":
        return targets[trait.name].map("{:.6g}".format)
    return pd.Series("-9", index=targets.index)


def _write_names(folder: Path, landscape: Landscape, people: pd.DataFrame) -> None:
    parents = [people[name].where(people[name] != "", "0") for name in ("father", "mother")]
    sex = people["sex"].map({"male": "1", "female": "2"})
    fam = zip(people["family"], people["individual"], *parents, sex, people[PHENOTYPE], strict=True)
    with replacing(folder / "cohort.fam") as part, part.open("w", encoding="utf-8") as file:
        file.writelines(" ".join(row) + "\n" for row in fam)
    table = landscape.variants
    columns = (table[name] for name in ("chromosome", "cm", "position", "counted", "other"))
    bim = zip(table.index, *columns, strict=True)
    with replacing(folder / "cohort.bim") as part, part.open("w", encoding="utf-8") as file:
        file.writelines(f"{name}\t{ident}\t{cm:.6f}\t{at}\t{one}\t{two}\n" for ident, name, cm, at, one, two in bim)


def _write_tables(folder: Path, landscape: Landscape, people: pd.DataFrame, planted: PlantedTruth) -> None:
    for name, table in (("phenotypes.csv", people), ("true_values.csv", planted.values)):
        with replacing(folder / name) as part:
            table.to_csv(part, index_label="person")
    genes = landscape.genes.reset_index()[["chromosome", "start", "end", "gene", "strand"]]
    write_text(folder / "genes.txt", genes.to_csv(sep=" ", header=False, index=False))
    write_text(folder / "variant_genes.tsv", landscape.variant_genes().to_csv(sep="\t", index=False))
    sets = ("\t".join([name, "simulated", *members]) for name, members in landscape.pathways.items())
    write_text(folder / "pathways.gmt", "\n".join(sets) + "\n")
    pairs = ("\t".join(pair) for pair in (("parent", "child"), *landscape.relations))
    write_text(folder / "relations.tsv", "\n".join(pairs) + "\n")
    write_text(folder / "truth.json", json.dumps(planted.to_json(), indent=1))

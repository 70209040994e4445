"""GenNet's own example as it is: 14,000 simulated people, 100 variants, 10 genes, its folder with its split and its topology.

Run it with:  python examples/gennet.py [OUTPUT] [--verdict]

The folder holds what `GenNet.py convert` and `GenNet.py topology` wrote: genotype.h5, subjects.csv and topology.csv. The same study
from the PLINK files it was made of, with the genes ANNOVAR told, is `study(output, folder=False)`.

Known weakness: the cases are simulated from pairs of variants of few genes. Models that multiply variants solve it, linear ones
cannot, and real traits are not like that.
"""

from __future__ import annotations

from pathlib import Path

from inputs import DATA, main

from vnn.models import Recipe
from vnn.study import CompareSection, DataSection, GenotypeSection, OntologySection, ReportSection, SplitSection, Study
from vnn.training import Training

ORIGIN = (
    "Needed: genotype/gennet_a_to_z, which is the folder examples/A_to_Z of the repository ArnovanHilten/GenNet (plink, "
    "processed_data, run_folder)."
)


def study(output: Path, *, folder: bool = True, n_seeds: int = 2, epochs: int = 100) -> Study:
    """The study, its results going to `output`: from GenNet's folder, or from the PLINK files and ANNOVAR."""
    given = DATA / "genotype" / "gennet_a_to_z"
    plink, run = given / "plink" / "GenNet_simulation", given / "run_folder"
    if folder:
        data = DataSection(values=run, target="labels", classes=("0", "1"), groups=("set",))
        genotypes = GenotypeSection(bim=plink.with_suffix(".bim"))
        wiring, splits = str(run / "topology.csv"), SplitSection(kind="given", group="set")
    else:
        data = DataSection(values=plink.with_suffix(".bed"), target="phenotype", classes=("control", "case"))
        told = given / "processed_data" / "GenNet_simulation_RefGene.variant_function"
        genotypes = GenotypeSection(genes=told, read_as="annovar", phenotype="0/1")
        wiring, splits = "genes", SplitSection(kind="hold-out", test=1 / 7)
    return Study(
        name="GenNet's simulation, from variants through genes",
        seed=0,
        n_seeds=n_seeds,
        output=output,
        data=data,
        genotypes=genotypes,
        ontology=OntologySection(name=wiring),
        splits=splits,
        network=Recipe(dropout=0.0, input_dropout=0.0),
        training=Training(epochs=epochs, batch_size=256, lr=0.01, weight_decay=0.0, start="random"),
        compare=CompareSection(models=("logistic regression", "boosted trees")),
        report=ReportSection(
            populations="nobody: 14,000 simulated people of GenNet's A-to-Z example",
            weaknesses=(
                "Simulated from few genes and without noise: every model that multiplies variants finds it.",
                "100 variants in 10 genes, no linkage, no pathway, no covariate: a check of the machinery, not of a method.",
            ),
        ),
    )


if __name__ == "__main__":
    main(study, "gennet", ORIGIN)

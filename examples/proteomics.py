"""Plasma proteomics over Reactome: 197 patients in two groups, 554 proteins, many values missing.

Run it with:  python examples/proteomics.py [OUTPUT] [--verdict]

UniProt ids become gene symbols through HGNC. Proteins that were not found are missing values, filled with the training mean.

Known weakness: which proteins were *found* tells the groups apart almost as well as their amounts, so that a good score may
measure the instrument. The model that sees only what is missing is on the page beside the network.
"""

from __future__ import annotations

from pathlib import Path

from inputs import DATA, main

from vnn.study import DataSection, OntologySection, ReportSection, SplitSection, Study
from vnn.training import Training

ORIGIN = (
    "Needed: expression/binn_sample_datamatrix.csv.gz and binn_sample_design_matrix.tsv "
    "(in the repository InfectionMedicineProteomics/BINN under binn/data), geneid/hgnc_complete_set.txt.gz "
    "(genenames.org/download) and the files of reactome/ (reactome.org/download-data)."
)


def study(output: Path, *, repeats: int = 2, n_seeds: int = 2, epochs: int = 150) -> Study:
    """The study, its results going to `output`."""
    return Study(
        name="Plasma proteomics, two groups of patients",
        seed=0,
        n_seeds=n_seeds,
        output=output,
        data=DataSection(
            values=DATA / "expression" / "binn_sample_datamatrix.csv.gz",
            labels=DATA / "expression" / "binn_sample_design_matrix.tsv",
            target="group",
            identifiers=DATA / "geneid" / "hgnc_complete_set.txt.gz",
            several="mean",
        ),
        ontology=OntologySection(name="reactome", folder=DATA / "reactome", min_genes=3),
        splits=SplitSection(k=5, repeats=repeats),
        training=Training(epochs=epochs, impute="mean"),
        report=ReportSection(
            populations="197 patients; the source does not name the cohort, believed to be septic acute kidney injury, Sweden",
            weaknesses=(
                "Which proteins are missing predicts the group nearly as well as their amounts: a good score may measure the "
                "instrument or the batch, not the disease.",
                "Easy data, nearly at a ceiling for every model: poor for telling models apart.",
                "The source does not say what groups 1 and 2 are.",
            ),
        ),
    )


if __name__ == "__main__":
    main(study, "proteomics", ORIGIN)

"""Glioblastoma overall survival over Reactome: 173 tumours, 167 deaths, a Cox loss.

Run it with:  python examples/gbm_survival.py [OUTPUT] [--verdict]

The hard one: nobody predicts survival with glioblastoma well from expression. Compared by Harrell's C-index with
ridge-penalised Cox regression, boosted trees and pathway means on the same splits.

Known weakness: 840 subtype genes rather than the whole transcriptome, no age and no treatment, the two that matter most.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from gbm_subtypes import SOURCE, tables
from inputs import DATA, main

from vnn.study import DataSection, OntologySection, ReportSection, SplitSection, Study
from vnn.training import Training

ORIGIN = (
    "Needed: expression/TCGA_GBM_unified_CORE_ClaNC840.txt.gz and survival/TCGA_endpointsGBM.csv (both in the repository "
    "AminaLEM/PathME) and reactome/ (reactome.org/download-data)."
)


def survival(folder: Path) -> tuple[Path, Path]:
    """Write expression, and days and death of each tumour's patient, as plain tables."""
    expression, subtypes = tables(folder)
    ends = pd.read_csv(DATA / "survival" / "TCGA_endpointsGBM.csv", sep=";").set_index("bcr_patient_barcode")
    tumours = pd.read_csv(subtypes)["tumour"]
    patients = tumours.str.slice(0, len("TCGA-02-0003"))
    found = ends.loc[patients, ["OS.time", "OS"]].set_axis(tumours)
    labels = folder / "survival.csv"
    found.rename(columns={"OS.time": "days", "OS": "died"}).to_csv(labels)
    return expression, labels


def study(output: Path, *, repeats: int = 4, n_seeds: int = 2, epochs: int = 100) -> Study:
    """The study, its tables and results going beside each other into `output`."""
    expression, labels = survival(output / "tables")
    return Study(
        name="Glioblastoma overall survival",
        seed=0,
        n_seeds=n_seeds,
        output=output / "results",
        data=DataSection(values=expression, labels=labels, target="days", event="died"),
        ontology=OntologySection(name="reactome", folder=DATA / "reactome", min_genes=3),
        splits=SplitSection(k=5, repeats=repeats),
        training=Training(epochs=epochs, batch_size=128),
        report=ReportSection(
            populations="173 people with glioblastoma treated in hospitals of the TCGA consortium, mostly in the United States",
            weaknesses=(
                "The 840 genes were chosen for subtypes, not for survival, and are a small part of the transcriptome.",
                "Age, performance and treatment decide survival most and are not in the data.",
                f"The values are already z-scores over all tumours (source: {SOURCE}).",
            ),
        ),
    )


if __name__ == "__main__":
    main(study, "gbm-survival", ORIGIN)

"""Glioblastoma subtypes over Reactome: 173 tumours of TCGA, four expression subtypes.

Run it with:  python examples/gbm_subtypes.py [OUTPUT] [--verdict]

The file holds a row of labels between its header and its genes, so that the example first writes two plain
tables, as one would for any study, and then runs an ordinary study on them.

Known weakness: the 840 genes were chosen *because* they tell these subtypes apart, and the subtypes were
defined on the same tumours. Predicting them is circular; the page shows the machinery, not biology.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from inputs import DATA, main

from vnn.study import DataSection, OntologySection, ReportSection, SplitSection, Study
from vnn.training import Training

ORIGIN = (
    "Needed: expression/TCGA_GBM_unified_CORE_ClaNC840.txt.gz (in the repository AminaLEM/PathME) and reactome/ "
    "(reactome.org/download-data)."
)
SOURCE = "TCGA_GBM_unified_CORE_ClaNC840.txt.gz"


def tables(folder: Path) -> tuple[Path, Path]:
    """Write expression (genes in rows) and subtypes (a row per tumour) as plain tables."""
    raw = pd.read_csv(DATA / "expression" / SOURCE, sep="\t", index_col=0, dtype=str).iloc[:, 1:]
    subtypes = raw.loc["Subtype"].rename("subtype").rename_axis("tumour")
    folder.mkdir(parents=True, exist_ok=True)
    expression, labels = folder / "expression.csv", folder / "subtypes.csv"
    raw.drop(index="Subtype").rename_axis("gene").to_csv(expression)
    subtypes.to_csv(labels)
    return expression, labels


def study(output: Path, *, repeats: int = 2, n_seeds: int = 2, epochs: int = 150) -> Study:
    """The study, its tables and results going beside each other into `output`."""
    expression, labels = tables(output / "tables")
    return Study(
        name="Glioblastoma expression subtypes",
        seed=0,
        n_seeds=n_seeds,
        output=output / "results",
        data=DataSection(values=expression, labels=labels, target="subtype"),
        ontology=OntologySection(name="reactome", folder=DATA / "reactome", min_genes=3),
        splits=SplitSection(k=5, repeats=repeats),
        training=Training(epochs=epochs),
        report=ReportSection(
            populations="173 people with glioblastoma treated in hospitals of the TCGA consortium, mostly in the United States",
            weaknesses=(
                "Circular: the 840 genes were chosen because they tell these four subtypes apart, on the same tumours, and the "
                "subtypes were defined by clustering expression; a high score says nothing new.",
                f"The values are already z-scores over all tumours (source: {SOURCE}), so scaling has seen the held-out ones.",
            ),
        ),
    )


if __name__ == "__main__":
    main(study, "gbm-subtypes", ORIGIN)

"""Blood cells over Reactome: 700 cells of the PBMC 68k set, cell types that sorting gave them.

Run it with:  python examples/pbmc.py [OUTPUT]     (needs vnn[sc])

Values are those of `.raw` in the .h5ad; types with fewer than 20 cells are dropped, which the study states.

Known weakness: the labels are clusters of the same expression, all cells are one donor's, and the 765 genes were chosen
for varying between them.
"""

from __future__ import annotations

from pathlib import Path

from inputs import DATA, main

from vnn.study import DataSection, OntologySection, ReportSection, SplitSection, Study
from vnn.training import Training

ORIGIN = (
    "Needed: singlecell/10x_pbmc68k_reduced.h5ad (in the repository scverse/scanpy under src/scanpy/datasets) and the files "
    "of reactome/ (reactome.org/download-data)."
)


def study(output: Path, *, repeats: int = 1, n_seeds: int = 2, epochs: int = 100) -> Study:
    """The study, its results going to `output`."""
    return Study(
        name="Blood cell types (PBMC 68k, reduced)",
        seed=0,
        n_seeds=n_seeds,
        output=output,
        data=DataSection(
            values=DATA / "singlecell" / "10x_pbmc68k_reduced.h5ad",
            target="bulk_labels",
            layer="raw",
            groups=("phase",),
            least_per_class=20,
            rare="drop",
        ),
        ontology=OntologySection(name="reactome", folder=DATA / "reactome"),
        splits=SplitSection(k=5, repeats=repeats),
        training=Training(epochs=epochs),
        report=ReportSection(
            populations="cells of one healthy donor",
            weaknesses=(
                "Circular: the labels were transferred by correlation of the same expression with sorted populations.",
                "One donor: cells are not independent people, and nothing here speaks of other donors.",
                "The 765 genes were chosen for varying between these cells.",
            ),
        ),
    )


if __name__ == "__main__":
    main(study, "pbmc", ORIGIN)

"""Acute leukaemia over Reactome: 24 patients with ALL, 24 with AML, ten times five folds.

Run it with:  python examples/leukaemia.py [OUTPUT]

Data: the GSEA example (Leukemia_hgu95av2.trim.gct, Leukemia.cls; believed to be Armstrong et al. 2002) and
Reactome (ReactomePathways.gmt, ReactomePathways.txt, ReactomePathwaysRelation.txt). They are looked for in
the folder VNN_DATA (subfolders expression/ and reactome/), else in ../shared/data.

Known weakness: this is a ceiling. The two leukaemias differ in thousands of genes, logistic regression is
nearly perfect, 48 patients are few, and folds share patients. It shows that the whole path runs on real
data and loses nothing against the simple baseline; it cannot show that wiring helps.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from vnn.report import WORDS, performance_text, ranking_text
from vnn.study import DataSection, OntologySection, Results, SplitSection, Study, run_study
from vnn.training import Progress, Training

DATA = Path(os.environ.get("VNN_DATA", Path(__file__).parents[2] / "shared" / "data"))


def study(output: Path, *, repeats: int = 10, epochs: int = 100) -> Study:
    """The study, its results going to `output`."""
    return Study(
        name="leukaemia",
        seed=0,
        output=output,
        data=DataSection(
            values=DATA / "expression" / "Leukemia_hgu95av2.trim.gct.gz",
            labels=DATA / "expression" / "Leukemia.cls",
            target="class",
        ),
        ontology=OntologySection(name="reactome", folder=DATA / "reactome"),
        splits=SplitSection(k=5, repeats=repeats),
        training=Training(epochs=epochs),
    )


def text(results: Results) -> str:
    """What the example prints."""
    scores = results.performance
    repeat = scores["split"].str.extract(r"(repeat \d+)")[0]
    by_repeat = scores.groupby(repeat, sort=False)[["network", "baseline"]].mean()
    lines = [
        repr(results.topology),
        "",
        "AUC, mean over the folds of each repeat:",
        f"{'':<12}{'network':>10}{'logistic':>10}",
    ]
    lines += [f"{name:<12}{row.network:>10.3f}{row.baseline:>10.3f}" for name, row in by_repeat.iterrows()]
    lines += ["", performance_text(scores), "", ranking_text(results.pathways, most=15)]
    return "\n".join(
        [*lines, "", "Known weakness: a ceiling; nearly every pathway differs and the baseline is almost 1.", WORDS]
    )


def told(progress: Progress) -> None:
    """A line now and then."""
    if progress.epoch % 20 == 0:
        print(
            f"  epoch {progress.epoch} of {progress.epochs}, {progress.living} networks, {progress.seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    if not DATA.exists():
        sys.exit(f"the data are not in {DATA}; set VNN_DATA to the folder that holds expression/ and reactome/.")
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/leukaemia")
    print(text(run_study(study(output), listener=told)))

"""Several traits of the same people: a study of each, by the same settings, one after the other."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from vnn._atomic import write_csv
from vnn.study.run import Results, run_study
from vnn.study.settings import Study
from vnn.training.loop import Listener
from vnn.training.paired import holm

TABLE = "traits.csv"


def studies_of(study: Study) -> dict[str, Study]:
    """The study of each trait, in a folder of the trait's name; of one trait the study itself."""
    if not study.data.traits:
        return {study.data.target: study}
    return {
        trait: study.model_copy(
            update={
                "name": f"{study.name}: {trait}",
                "output": study.output / trait,
                "data": study.data.model_copy(update={"target": trait, "traits": ()}),
            }
        )
        for trait in study.data.traits
    }


def run_traits(
    study: Study,
    *,
    listener: Listener | None = None,
    tell: Callable[[str], None] = lambda _: None,
    together: bool = False,
) -> dict[str, Results]:
    """Run the study of every trait; those that were finished or interrupted before go on.

    With several traits `traits.csv` in the output folder compares them, and is replaced whenever one more is done.

    Parameters
    ----------
    study, listener, tell, together
        As for `run_study`.

    Returns
    -------
    By trait.
    """
    found: dict[str, Results] = {}
    studies = studies_of(study)
    for number, (trait, own) in enumerate(studies.items(), 1):
        beginning = f"{trait} ({number} of {len(studies)}), " if len(studies) > 1 else ""
        found[trait] = run_study(own, listener=listener, tell=_prefixed(tell, beginning), together=together)
        if study.data.traits:
            write_csv(study.output / TABLE, trait_table(found), index=False)
    return found


def _prefixed(tell: Callable[[str], None], beginning: str) -> Callable[[str], None]:
    return lambda step: tell(beginning + step)


def trait_table(results: dict[str, Results]) -> pd.DataFrame:
    """How well each trait is predicted, and whether permuted labels reach as much.

    Parameters
    ----------
    results
        By trait.

    Returns
    -------
    Columns trait, n_samples, metric, mean, sd (of the visible network over splits) and, where labels were permuted, p (of the
    rank among their draws), smallest_p and p_holm (over these traits).
    """
    rows = []
    for trait, held in results.items():
        attrs = held.comparison.attrs
        own = held.comparison[
            (held.comparison["model"] == attrs["network"]) & (held.comparison["metric"] == attrs["headline"])
        ]
        labels = held.null_summary[held.null_summary["kind"] == "labels"]
        rows.append(
            {
                "trait": trait,
                "n_samples": held.samples.n_samples,
                "metric": attrs["headline"],
                "mean": own["mean"].iloc[0],
                "sd": own["sd"].iloc[0],
                "p": labels["p"].iloc[0] if len(labels) else float("nan"),
                "smallest_p": labels["smallest_p"].iloc[0] if len(labels) else float("nan"),
            }
        )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))

"""Gene networks of a genotype study: genes that people who were not learnt from speak for, beside the usual tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from vnn._atomic import harmless
from vnn.study.genome import Genome
from vnn.study.rivals import BY_SPLIT
from vnn.study.settings import LociSection
from vnn.training.gene_model import together

CALLED = 0.05  # greatest q
MOST_IN_LOCI = 500
USUAL = {"best variant": "best_variant_p", "burden": "burden_p", "mean chi2": "mean_chi2_p"}
PLACE = ["chromosome", "start", "end", "n_independent", "region"]


def gene_network_table(
    folder: Path, genome: Genome, asked: LociSection, single: pd.DataFrame, tests: pd.DataFrame
) -> pd.DataFrame:
    """What gene networks say of every gene, the strongest first; empty where the study is not compared with them.

    The usual tests beside them look at all people of the study, gene networks only at those who learn in each split.

    Parameters
    ----------
    asked
        When genes are one locus.
    single, tests
        `association` by variant, and `gene_tests`.

    Returns
    -------
    Columns of `vnn.training.gene_model.together`; `chromosome`, `start`, `end`, `n_independent`, `region`; `best_variant` with
    `best_variant_p` (smallest p times number of variants), `burden_p`, `mean_chi2_p`; `usual_tests`, which of these have q < 0.05
    over all genes; and of the 500 strongest genes with q < 0.05 `locus`, the gene that leads it, and `in_ld_with`.
    """
    if not (folder / BY_SPLIT).exists():
        return pd.DataFrame()
    held = pd.read_csv(folder / BY_SPLIT, dtype={"split": str, "gene": str}, keep_default_na=False)
    held["gene"] = held["gene"].map({harmless(name): name for name in genome.genes.genes})
    table = together({str(split): own.set_index("gene") for split, own in held.groupby("split", sort=False)})
    table = table.join(genome.sizes[PLACE]).join(_usual(genome, single, tests))
    found = {
        name: false_discovery_control(table[column].fillna(1.0).to_numpy()) < CALLED for name, column in USUAL.items()
    }
    table["usual_tests"] = ["; ".join(name for name, own in found.items() if own[i]) for i in range(len(table))]
    called = list(table.index[table["q"] < CALLED][:MOST_IN_LOCI])
    loci = genome.loci(asked).find(called) if called else pd.DataFrame(columns=["locus", "in_ld_with"])
    return table.join(loci[["locus", "in_ld_with"]]).fillna({"locus": "", "in_ld_with": ""})


def _usual(genome: Genome, single: pd.DataFrame, tests: pd.DataFrame) -> pd.DataFrame:
    """Tests of single variants and of sums over genes, by gene."""
    held = genome.genes.pairs[["variant", "gene"]].join(single["p"].dropna(), on="variant", how="inner")
    n = held.groupby("gene").size()
    best = held.sort_values("p", kind="stable").drop_duplicates("gene").set_index("gene")
    made = pd.DataFrame(
        {"best_variant": best["variant"], "best_variant_p": np.minimum(best["p"] * n.loc[best.index], 1)}
    )
    return made.join(tests[["burden_p", "mean_chi2_p"]], how="outer")


def in_words(table: pd.DataFrame) -> tuple[str, ...]:
    """What the table says, a sentence each."""
    if not len(table):
        return ()
    called = table[table["q"] < CALLED]
    n = len(table)
    if not len(called):
        return (f"None of the {n:,} genes has q < 0.05; the smallest is {table['q'].min():.2g} ({table.index[0]}).",)
    n_loci = called["locus"][called["locus"] != ""].nunique()
    loci = "one locus" if n_loci == 1 else f"{n_loci:,} loci"
    if len(called) > MOST_IN_LOCI:
        loci = f"the strongest {MOST_IN_LOCI} in {loci}; so many may be structure that the covariates do not hold"
    alone = called.index[called["usual_tests"] == ""]
    usual = f"the usual tests of all people ({', '.join(USUAL)}; q < 0.05)"
    first = f"{_genes(len(called))} of {n:,} {'has' if len(called) == 1 else 'have'} q < 0.05, {loci}."
    if not len(alone):
        return first, f"Each is called by one of {usual} as well."
    named = ", ".join(alone[:5]) + (f" and {len(alone) - 5:,} more" if len(alone) > 5 else "")
    second = f"{_genes(len(alone))} of these {'is' if len(alone) == 1 else 'are'} called by none of {usual}: {named}."
    return first, second, "There dominance may be at work, or variants that matter only together."


def _genes(n: int) -> str:
    return f"{n:,} gene{'' if n == 1 else 's'}"

"""What the page of a genotype study says of variants and genes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from vnn.data.genotypes import ld_regions
from vnn.data.genotypes.inflation import minus_log10
from vnn.interpret.verdict import ROBUST
from vnn.report.content import Individuals
from vnn.study.gene_networks import in_words
from vnn.study.genome import GENES

if TYPE_CHECKING:
    from vnn.study.run import Results

VARIANTS, PATHWAYS = "variants", "pathways"


def people_shown(results: Results) -> Individuals:
    """Who may be on the page: of genotype studies never an id, so that "full" numbers people there; ids are in the tables."""
    asked = results.study.report.individuals
    return "pseudonym" if results.genome is not None and asked == "full" else asked


def genome_content(results: Results) -> dict[str, Any]:
    """The fields of `Content` that speak of variants and genes; none for other studies."""
    genome, tables = results.genome, results.genome_tables
    if genome is None or tables is None:
        return {}
    build = genome.genotypes.build
    return {
        "skylines": skylines(tables.variants, tables.genes, tables.pathways),
        "regions": ld_regions(build) if build else pd.DataFrame(),
        "genes": tables.genes,
        "genome_words": tables.words,
        "gene_networks": tables.networks,
        "gene_network_words": in_words(tables.networks),
        "inputs_called": VARIANTS,
    }


def skylines(variants: pd.DataFrame, genes: pd.DataFrame, pathways: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The Manhattan plots of the tables of a study; variants and genes without a position are not in them."""
    found = {}
    own = variants[(variants["position"] > 0) & (variants["chromosome"] != "0")]
    found[VARIANTS] = pd.DataFrame(
        {
            "contrast": own["contrast"], "name": own["variant"], "chromosome": own["chromosome"], "position": own["position"],
            "note": own["genes"].fillna("").str.replace(";", ", "), "minus_log10_p": _logarithm(own),
            "importance": own["relative_importance"], "share": own["share"],
        }
    )  # fmt: skip
    placed = genes.dropna(subset=["chromosome", "start"])
    if len(placed):
        found[GENES] = pd.DataFrame(
            {
                "contrast": placed["contrast"], "name": placed["name"], "chromosome": placed["chromosome"],
                "position": (placed["start"] + placed["end"]) / 2, "note": "", "robust": _robust(placed),
                "importance": placed["relative_importance"], "share": placed["share"],
            }
        )  # fmt: skip
    if len(pathways):
        place = pathways.groupby(["contrast", "level"], sort=False).cumcount()
        table = pd.DataFrame(
            {
                "contrast": pathways["contrast"], "name": pathways["name"], "chromosome": pathways["level"], "position": place,
                "note": "", "robust": _robust(pathways), "importance": pathways["relative_importance"],
                "share": pathways["share"],
            }
        )  # fmt: skip
        table.attrs["axis"] = "level"
        found[PATHWAYS] = table
    return {level: table for level, table in found.items() if len(table)}


def _logarithm(table: pd.DataFrame) -> np.ndarray:
    """-log10 p, from z where p is too small for a number."""
    p = table["p"].to_numpy()
    known = p > 1e-290
    found: np.ndarray = np.where(known, -np.log10(np.where(known, p, 1.0)), minus_log10(table["z"].to_numpy()))
    return found


def _robust(table: pd.DataFrame) -> np.ndarray:
    if "verdict" not in table:
        return np.zeros(len(table), dtype=bool)
    found: np.ndarray = (table["verdict"] == ROBUST).to_numpy()
    return found

"""What a page shows: tables with fixed columns, made by a study and read by the page, the figures and the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from vnn.data.checks import Check
from vnn.ontology.topology import Topology

Individuals = Literal["none", "pseudonym", "full"]


@dataclass(frozen=True, eq=False)
class Content:
    """Everything the page of a study says.

    Parameters
    ----------
    title, summary
        Name of the study; what was asked of what, in one line ("ALL against AML in 48 samples, 5,962 genes").
    facts
        What a reader needs to repeat it, in order: seed, versions, backend, fingerprint of the topology, ...
    settings
        Every setting of the study by its key ("training.lr").
    files
        Columns role, name, sha256; one row per file that was read.
    knowledge
        Provenance records of the ontology: name, release, species, licence, citation, files.
    dropped
        Columns step, kind, count, reason, examples: everything that was dropped, merged, renamed or filled. A count of 0
        means that the reason tells it.
    checks
        Data checks.
    performance
        Held-out performance: columns split, n_test, model, metric, value.
    comparison
        Columns model, metric, mean, sd, n_splits, gain, low, high, p, p_holm, verdict, note: the mean over splits, and, for
        the headline metric, by how much the visible network beats the model, with its 95 % interval and p.
        `attrs` hold "headline" (a metric) and "network" (the name of the visible network among the models).
    topology
        Levels, names and edges.
    nodes
        One row per level, node and contrast: level, node, name, n_inputs, contrast, effect, effect_low, effect_high,
        score, share, share_low, share_high, mean_abs, mean_abs_share. Effects are of activity, the others of attribution. Sorted
        by |effect|; level 0 (the inputs) has no effect.
    activities
        One row per sample, one column per node called "level/node", standardised and held out.
    outcome
        Class or value of each sample, indexed as `activities`; named after the target.
    history
        Columns epoch, replicate, train, validation.
    flows
        Columns contrast, source_level, source, target_level, target, flow: attribution that runs through each edge, the
        heads being target_level "prediction"; signed as `nodes.score`. A source "" stands for further inputs, summed up.
    agreement
        Columns implementation, where, level, largest_difference, scale, tolerance, agrees, note: our DeepLIFT against others.
    completeness
        Columns level, largest_error, scale: by how much the attributions of a cut miss the difference of predictions.
    baseline
        What absent input means in the attributions, in words.
    weaknesses
        Known weaknesses of this study, a sentence each.
    nulls
        What null networks say of the prediction, a sentence each.
    populations
        Which people the data hold, in words.
    calibration, calibration_curve
        `table` and `curve` of `vnn.training.evaluation.Calibration`; empty for quantities.
    verdict
        One row per contrast and node above the inputs; without rows the page has no verdict. Needed: contrast, level, node, name,
        verdict (a word of `vnn.report.verdict.VERDICTS`). Further, missing where unknown: n_genes, group, leader, driven_by (a
        node, or words), left, score, share, share_low, share_high, correlation, p_labels, q_labels, maxt_labels, z_labels,
        p_wiring, q_wiring, z_wiring, reached_wiring, families ("2 of 3"), seeds_agree, halves_sign, halves_top, band_low,
        band_high, decided_by (a sentence), draws_needed. left, seeds_agree, halves_sign and halves_top are parts of 1. `attrs` may
        hold "words": sentences to be said beside the table (the unit of permutation, the smallest p these draws can give, a search
        on the same data), "wiring": the kind of the null of the wiring, and "places": whether nodes are held to reached_wiring.
    thresholds
        Columns name, value, meaning.
    draws
        By null what each draw gave, shape (len(verdict), n_draws), in the order of `verdict`; missing draws are NaN: of "labels"
        correlations, of "wiring" shares, whose sizes are compared with that of the study.
    overlap
        Agreement between explainers, square, both axes named by explainer, 1 for full agreement. `attrs` may hold "words".
    stability
        Columns panel, curve, x, value, low, high: the curves of each panel. `attrs` may hold "axes" (by panel the words at x
        and at y) and "words".
    contributions
        What moved the prediction of single people: sample, node, contribution, low, high, and if wanted level, name, contrast.
        Never shown where `individuals` is "none".
    guide
        Text in Markdown that explains the verdict at length; headings, paragraphs, lists, tables, bold and code are set, all
        else is text.
    skylines
        Of genotype studies: by level, variants first, what Manhattan plots show. Columns contrast, name, chromosome, position, note
        (the genes of a variant), robust (whether it is) and of the measures minus_log10_p, importance, share (parts of 1) those
        that are known. `attrs["axis"]` says what `chromosome` holds where it is no chromosome ("level").
    regions
        Regions of long-range linkage: region, chromosome, start, end.
    genes
        Of genotype studies, a row per contrast and gene; see `vnn.study.genome.GenomeTables`.
    genome_words
        What should be said of variants and genes, a sentence each.
    gene_networks, gene_network_words
        Of genotype studies every gene by a network of its own, the strongest first, and what that says, a sentence each; see
        `vnn.study.gene_networks.gene_network_table`.
    inputs_called
        What inputs are, in the plural: "genes", "variants".
    individuals
        "none": no ids, no rows of single people, no group under 5 people; "pseudonym": people numbered;
        "full": ids as they are.
    """

    title: str
    summary: str
    facts: Mapping[str, str]
    settings: Mapping[str, Any]
    files: pd.DataFrame
    knowledge: Sequence[Mapping[str, Any]]
    dropped: pd.DataFrame
    checks: Sequence[Check]
    performance: pd.DataFrame
    comparison: pd.DataFrame
    topology: Topology
    nodes: pd.DataFrame
    activities: pd.DataFrame
    outcome: pd.Series
    history: pd.DataFrame
    flows: pd.DataFrame
    agreement: pd.DataFrame
    completeness: pd.DataFrame
    baseline: str
    weaknesses: Sequence[str] = field(default=())
    nulls: Sequence[str] = field(default=())
    populations: str = "not stated"
    calibration: pd.DataFrame = field(default_factory=pd.DataFrame)
    calibration_curve: pd.DataFrame = field(default_factory=pd.DataFrame)
    verdict: pd.DataFrame = field(default_factory=pd.DataFrame)
    thresholds: pd.DataFrame = field(default_factory=pd.DataFrame)
    draws: Mapping[str, np.ndarray] = field(default_factory=dict)
    overlap: pd.DataFrame = field(default_factory=pd.DataFrame)
    stability: pd.DataFrame = field(default_factory=pd.DataFrame)
    contributions: pd.DataFrame = field(default_factory=pd.DataFrame)
    guide: str = ""
    skylines: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    regions: pd.DataFrame = field(default_factory=pd.DataFrame)
    genes: pd.DataFrame = field(default_factory=pd.DataFrame)
    genome_words: Sequence[str] = field(default=())
    gene_networks: pd.DataFrame = field(default_factory=pd.DataFrame)
    gene_network_words: Sequence[str] = field(default=())
    inputs_called: str = "genes"
    individuals: Individuals = "pseudonym"

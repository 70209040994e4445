"""The verdict as a reader meets it: its words and columns, groups of related nodes, and what the draws of the nulls gave."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from vnn._errors import choose, culprits
from vnn.interpret.verdict import CHANCE, LINKED, METHOD, NOT_INFORMATIVE, NOT_RESOLVABLE, ROBUST, STRUCTURE, UNSTABLE
from vnn.report.content import Content

DRIVEN = "driven by another node"
VERDICTS = {
    NOT_INFORMATIVE: (
        "The networks do not predict held-out people better than the covariates alone do, or than networks trained on "
        "permuted labels do. No node can then be judged."
    ),
    NOT_RESOLVABLE: (
        "There are too few draws or networks for the thresholds: whatever the score, it could not have passed. “Draws "
        "needed” says how many would be enough."
    ),
    CHANCE: ("What the node adds goes with permuted labels, in networks trained on them, as closely too often."),
    STRUCTURE: (
        "Networks of the same shape whose genes were dealt out anew give this place as large a score too often, or the "
        "score is what number of genes, connections, level and expression let one expect."
    ),
    METHOD: ("Too few families of explainers find it: it may belong to one way of explaining, not to the data."),
    DRIVEN: (
        "Its score is that of a related node: once the genes of that one are set to baseline, too little of it is left."
    ),
    UNSTABLE: ("Sign or rank change from one half of the people to the other."),
    LINKED: (
        "A gene of a genotype study that passed every criterion, but may only show the signal of another robust gene: they share "
        "variants, lie close together, or have variants in linkage disequilibrium. The gene with the largest score leads the locus "
        "and need not be the one that matters."
    ),
    ROBUST: ("Passed every criterion above, in this order."),
}
NULLS = {"labels": "labels permuted", "wiring": "wiring rewired"}
COMPARED = {"labels": "correlation", "wiring": "share"}
SAYS = {
    "labels": (
        "Labels permuted: what the same networks make of labels that mean nothing. It cannot say whether the pathway "
        "matters or only the genes it happens to hold."
    ),
    "wiring": (
        "Wiring rewired: what the same place in the network is worth when its genes are others. It cannot say how much of "
        "that is due to genes of a pathway going together, for rewiring takes that away too."
    ),
}
CARRIED = (
    "Every cause is carried to another gene, so that each draw has as many genes that matter as this study; what is asked of a "
    "node is how rare its score is among all places of its level."
)
OTHER_WIRINGS = {
    "reassigned": (
        "genes reassigned",
        "Genes reassigned: what the same place in the network is worth when other genes stand there.",
    ),
    "shifted": (
        "variants shifted",
        "Variants shifted along the genome, connections above genes rewired: what places of the network are worth when the "
        "variants of another stretch of the chromosome lead there. It cannot say which of neighbours in linkage matters. "
        + CARRIED,
    ),
}
MOST_GROUPS = 100
MOST_BYTES = 2_000_000
SIGNS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"

Kind = Literal["text", "flag", "count", "number", "percent", "part", "p"]


@dataclass(frozen=True)
class Column:
    """A column of the table of verdicts.

    Parameters
    ----------
    kind
        How its values are written: "percent" a signed share, "part" a share without sign, "p" a probability.
    main
        Whether it is shown before all columns are asked for.
    """

    key: str
    label: str
    kind: Kind
    meaning: str
    main: bool = False


COLUMNS = (
    Column("name", "Node", "text",
           "Name of the pathway or term; its id stands beneath where it differs.", main=True),
    Column("verdict", "Verdict", "text",
           "The first criterion, in the order below, that the node does not pass; else robust.", main=True),
    Column("share", "Share of the logit", "percent",
           "Part of the separation of the classes by the networks' logit, on people they were not trained on, that "
           "this node is responsible for, with its 95 % interval over splits. What passes through a node also "
           "passes through those above it, so shares do not sum to one.", main=True),
    Column("q_labels", "q, labels", "p",
           "False discovery rate of the correlation against networks trained on permuted labels, over all nodes of the "
           "study: does what the node adds go with the labels at all?", main=True),
    Column("q_wiring", "q, wiring", "p",
           "False discovery rate of the score against the same place in networks whose genes were dealt out anew: does it "
           "add as much only with its own genes?", main=True),
    Column("families", "Explainers", "text",
           "How many of the families of explainers (propagation of differences and gradients, removal of the "
           "node, relevance propagation) pass the same threshold against the same draws.", main=True),
    Column("halves_top", "Top in halves", "part",
           "In how many half-samples of the people the node is in the top tenth of its level.", main=True),
    Column("group", "Group", "text",
           "Nodes with a common ancestor line or half of their measured genes in common are one group; groups are "
           "counted, not nodes.", main=True),
    Column("n_genes", "Genes", "count",
           "Measured genes, those of its descendants included.", main=True),
    Column("level", "Level", "text",
           "Level of the network; inputs are the lowest.", main=True),
    Column("contrast", "Contrast", "text",
           "Which classes are compared, or which quantity is followed.", main=True),
    Column("node", "Id", "text",
           "Identifier in the ontology."),
    Column("leader", "Leader", "flag",
           "Whether the node speaks for its group."),
    Column("driven_by", "Driven by", "text",
           "The node whose genes carry most of this one's score."),
    Column("left", "Left", "part",
           "What remains of the score once the genes of the group's leader are set to baseline."),
    Column("score", "Score", "number",
           "Difference between the classes of the mean signed attribution, in standard deviations of the logit, "
           "averaged over networks, on people they were not trained on."),
    Column("correlation", "Correlation", "number",
           "Correlation of what the node adds to the logit with the labels, on people the networks were not trained on, "
           "however little it adds; averaged over networks."),
    Column("share_low", "Share, low", "percent",
           "Lower end of the 95 % interval of the share."),
    Column("share_high", "Share, high", "percent",
           "Upper end of the 95 % interval of the share."),
    Column("p_labels", "p, labels", "p",
           "How often networks on permuted labels give the node at least this correlation; never smaller than one over "
           "the number of draws plus one."),
    Column("maxt_labels", "maxT, labels", "p",
           "p adjusted for all nodes of the level by the largest correlation of each draw."),
    Column("z_labels", "z, labels", "number",
           "By how many standard deviations of its own draws the node exceeds their mean."),
    Column("p_wiring", "p, wiring", "p",
           "How often rewired networks give this place at least this score."),
    Column("z_wiring", "z, wiring", "number",
           "As z, labels, for rewired networks."),
    Column("seeds_agree", "Seeds agree", "part",
           "Agreement between networks that differ in their seed only. It does not count for the verdict."),
    Column("halves_sign", "Sign in halves", "part",
           "In how many half-samples of the people the score has the same sign."),
    Column("band_low", "Band, low", "number",
           "Lower end of the 95 % band in which size, connections, level and expression let one expect the score."),
    Column("band_high", "Band, high", "number",
           "Upper end of that band."),
    Column("decided_by", "Decided by", "text",
           "The criterion that decided, with its numbers."),
    Column("draws_needed", "Draws needed", "count",
           "How many draws would be needed to decide; empty where these are enough."),
)  # fmt: skip
REACHED = Column(
    "reached_wiring", "Places that reach it", "part",
    "Share of the places of its level that reach the score, in all draws of networks whose variants lead to other genes.",
    main=True,
)  # fmt: skip
LOCUS = (
    Column("locus", "Locus", "text",
           "Genes that may show one signal are one locus, called after the one with the largest score.", main=True),
    Column("in_ld_with", "In LD with", "text",
           "The other genes of the locus, with the largest r2 between their variants, shared variants and distance."),
    Column("n_variants", "Variants of the gene", "count", "Variants of a gene that are inputs."),
    Column("n_independent", "Independent variants", "count", "Of these, those that stay when variants in linkage are thinned."),
    Column("length", "Length", "count", "Bases of the gene, without windows."),
    Column("region", "Region", "text", "Region of long-range linkage disequilibrium the gene lies in."),
)  # fmt: skip
NEEDED = ("contrast", "level", "node", "name", "verdict")
TEXTS = (
    "contrast",
    "level",
    "node",
    "name",
    "group",
    "driven_by",
    "families",
    "verdict",
    "decided_by",
    "locus",
    "in_ld_with",
    "region",
)


@dataclass(frozen=True, eq=False)
class Group:
    """Related nodes of which at least one is robust.

    Parameters
    ----------
    name, contrast
        As in the table of verdicts; a robust node without a group has the name "".
    leader, members
        Rows of `ordered` with "at", the row of `content.verdict`, and "driver", the name of the node that drives it; `members`
        without the leader: those that are robust or driven by another node.
    """

    name: str
    contrast: str
    leader: Mapping[str, Any]
    members: Sequence[Mapping[str, Any]]

    @property
    def n_robust(self) -> int:
        """Robust nodes, the leader included."""
        return 1 + sum(row["verdict"] == ROBUST for row in self.members)


def columns(content: Content) -> tuple[Column, ...]:
    """The columns of the table of verdicts, with those of loci where genes have them."""
    called = content.inputs_called
    own = Column(
        "n_genes", called.capitalize(), "count", f"Measured {called}, those of its descendants included.", main=True
    )
    known = tuple(own if column.key == own.key else column for column in COLUMNS)
    if content.verdict.attrs.get("places"):
        place = next(i for i, column in enumerate(known) if column.key == "q_wiring")
        known = (*known[:place], REACHED, replace(known[place], main=False), *known[place + 1 :])
    if "locus" not in content.verdict:
        return known
    place = 1 + next(i for i, column in enumerate(known) if column.key == "group")
    return (*known[:place], LOCUS[0], *known[place:], *LOCUS[1:])


def nulls(content: Content) -> dict[str, str]:
    """The nulls in two words each."""
    return NULLS | ({"wiring": OTHER_WIRINGS[_wiring(content)][0]} if _wiring(content) in OTHER_WIRINGS else {})


def says(content: Content) -> dict[str, str]:
    """What each null can and cannot say, and what is asked of a node."""
    if _wiring(content) in OTHER_WIRINGS:
        return SAYS | {"wiring": OTHER_WIRINGS[_wiring(content)][1]}
    return SAYS | {"wiring": f"{SAYS['wiring']} {CARRIED}"} if content.verdict.attrs.get("places") else SAYS


def _wiring(content: Content) -> str:
    return str(content.verdict.attrs.get("wiring", ""))


def ordered(content: Content) -> pd.DataFrame:
    """All columns of the verdicts, the most robust first; the index says which row of `content.verdict` each was.

    Within a verdict: by group, the leader first, then by q and share. Columns that are not given are missing.

    Raises
    ------
    ValueError
        If a column that names the node or its verdict lacks, or a verdict is not one of `VERDICTS`.
    """
    given = content.verdict.reset_index(drop=True)
    if lacking := [name for name in NEEDED if name not in given]:
        raise ValueError(
            f"the verdicts lack the columns {culprits(lacking)}; they came with {culprits(given.columns, most=40)}. "
            f"Give at least {', '.join(NEEDED)}."
        )
    for word in given["verdict"].unique():
        choose("a verdict", word, VERDICTS)
    known = columns(content)
    table = given.reindex(columns=[column.key for column in known])
    for name in (name for name in TEXTS if name in table):
        table[name] = [_text(value) for value in table[name]]
    table["leader"] = [str(value) in ("True", "1", "1.0") for value in table["leader"]]
    for column in known:
        if column.key not in TEXTS and column.kind != "flag":
            table[column.key] = pd.to_numeric(table[column.key]).astype(float)
    place = {word: -number for number, word in enumerate(VERDICTS)}
    robust = table["verdict"] == ROBUST
    unit = pd.Series(_units(table), table.index).where(robust, "")
    sure = pd.DataFrame({"q": table["q_labels"], "share": -table["share"], "z": -table["z_labels"]})
    best = sure.groupby(unit).transform("min").where(robust, sure).add_prefix("best ")
    order = sure.join(best).assign(verdict=table["verdict"].map(place), unit=unit, follows=~table["leader"])
    by = ["verdict", "best q", "best share", "best z", "unit", "follows", "q", "share", "z"]
    return table.loc[order.sort_values(by, kind="stable").index]


def _units(table: pd.DataFrame) -> list[str]:
    """What is counted as one: a group of a contrast, or a node without a group."""
    own = [group or f"\n{at}" for group, at in zip(table["group"], table.index, strict=True)]
    return [f"{contrast}\n{group}" for contrast, group in zip(table["contrast"], own, strict=True)]


def groups(content: Content) -> tuple[Group, ...]:
    """The groups with a robust node, contrast by contrast, the surest first."""
    if content.verdict.empty:
        return ()
    table = ordered(content)
    names = dict(zip(zip(table["contrast"], table["node"], strict=True), table["name"], strict=True))
    kept = table[table["verdict"].isin([ROBUST, DRIVEN, LINKED])]
    found: dict[str, list[dict[str, Any]]] = {}
    for unit, row in zip(_units(kept), kept.assign(at=kept.index).to_dict(orient="records"), strict=True):
        driver = names.get((row["contrast"], row["driven_by"]), row["driven_by"])
        found.setdefault(unit, []).append({str(key): value for key, value in row.items()} | {"driver": driver})
    made = []
    for rows in found.values():
        robust = [row for row in rows if row["verdict"] == ROBUST]
        if robust:
            leader = next((row for row in robust if row["leader"]), robust[0])
            members = [row for row in rows if row is not leader]
            made.append(Group(leader["group"], leader["contrast"], leader, members))
    contrasts = _contrasts(content)
    return tuple(sorted(made, key=lambda group: contrasts.index(group.contrast)))


def _contrasts(content: Content) -> list[str]:
    return list(dict.fromkeys(content.verdict["contrast"].astype(str)))


def counts(content: Content) -> dict[str, dict[str, int]]:
    """How many nodes have each verdict, robust first: verdict, contrast, number; verdicts that no node has are left out."""
    table = content.verdict
    if table.empty:
        return {}
    contrasts = _contrasts(content)
    number = table.groupby([table["verdict"], table["contrast"].astype(str)]).size()
    return {
        word: {contrast: int(number.get((word, contrast), 0)) for contrast in contrasts}
        for word in reversed(VERDICTS)
        if (table["verdict"] == word).any()
    }


def sentences(content: Content, most: int = 3) -> list[str]:
    """How many groups are robust, and which lead them, a sentence per contrast; or why none is."""
    if content.verdict.empty:
        return []
    found, number = groups(content), counts(content)
    contrasts = _contrasts(content)
    said = []
    for contrast in contrasts:
        where = f" in {contrast}" if len(contrasts) > 1 else ""
        mine = [group for group in found if group.contrast == contrast]
        if mine:
            n, nodes = len(mine), sum(group.n_robust for group in mine)
            led = [group.leader["name"] for group in mine[:most]] + ([f"{n - most:,} more"] if n > most else [])
            what = "1 group of related pathways is" if n == 1 else f"{n:,} groups of related pathways are"
            held = "1 node" if nodes == 1 else f"{nodes:,} nodes"
            said.append(f"{what} robust{where}, with {held}, led by {_listed(led)}.")
            continue
        others = sorted(((n[contrast], word) for word, n in number.items() if n[contrast]), key=lambda pair: -pair[0])
        why = _listed([f"{n:,} “{word}”" for n, word in others])
        said.append(f"No node is robust{where}; of {sum(n for n, _ in others):,} nodes the verdict is: {why}.")
    return said


@dataclass(frozen=True, eq=False)
class Draws:
    """What the draws of the nulls gave for the nodes that are shown.

    Parameters
    ----------
    rows
        Rows of `ordered`, by place from the top.
    values
        By null the size of what is compared (`COMPARED`) in those rows, shape (n_rows, n_draws).
    n_left_out
        How many nodes have draws that are not shown.
    """

    rows: np.ndarray
    values: Mapping[str, np.ndarray]
    n_left_out: int


def draws(content: Content, *, most_bytes: int = MOST_BYTES) -> Draws | None:
    """The draws of every node, or, where they take more than `most_bytes`, of those that got furthest in the rule.

    Raises
    ------
    ValueError
        If the draws are of an unknown null or of another number of nodes.
    """
    given = {choose("a null", name, NULLS): np.asarray(values, dtype=float) for name, values in content.draws.items()}
    if content.verdict.empty or not given:
        return None
    n = len(content.verdict)
    for name, values in given.items():
        if values.ndim != 2 or len(values) != n:
            raise ValueError(
                f"the draws of {name!r} have the shape {values.shape}; the {n:,} rows of the verdicts need ({n}, number of draws). "
                "Give one row per row of the verdicts, missing draws as NaN."
            )
    order = ordered(content).index.to_numpy()
    known = np.zeros(n, dtype=bool)
    for values in given.values():
        known |= np.isfinite(values[order]).any(axis=1)
    rows = np.flatnonzero(known)
    per_row = sum(values.shape[1] for values in given.values())
    kept = rows[: int(most_bytes // max(per_row, 1))]
    return Draws(kept, {name: abs(values[order[kept]]) for name, values in given.items()}, len(rows) - len(kept))


def packed(values: np.ndarray) -> dict[str, Any]:
    """Rows of sizes as one sign of `SIGNS` each: from the first for 0 to the last for the largest of its row; "." for none."""
    known = np.isfinite(values)
    high = np.max(values, axis=1, initial=0.0, where=known)
    last = len(SIGNS) - 1
    steps = np.rint(np.where(known, values, 0.0) / np.where(high > 0, high, 1.0)[:, None] * last).astype(int)
    letters = np.where(known, np.array(list(SIGNS))[steps], ".")
    return {"n": values.shape[1], "high": [float(f"{size:.3g}") for size in high], "codes": "".join(letters.ravel())}


def _text(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)

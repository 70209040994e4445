"""Groups of robust nodes: which of them say the same thing, who leads, and who is driven by whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from vnn.data.genotypes import Cohort
from vnn.data.samples import Samples
from vnn.interpret.methods import Method
from vnn.interpret.scored import Scored, scored
from vnn.interpret.verdict import LINKED, Verdict
from vnn.models.wiring import resolve
from vnn.ontology.topology import Topology
from vnn.training import Fit

Node = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Relations:
    """Which measured inputs every node of a wiring reads, and which nodes lie above it.

    Parameters
    ----------
    topology
        The wiring.
    """

    topology: Topology

    @cached_property
    def places(self) -> dict[Node, int]:
        """Row of every node above the inputs in its level, copies left out."""
        return {
            (level.name, node): row
            for level in self.topology.levels[1:]
            for row, node in enumerate(level.nodes)
            if node not in level.copies
        }

    @cached_property
    def _below(self) -> dict[Node, set[Node]]:
        found = {node: {node} for node in self.places}
        stages = resolve(self.topology).stages
        nodes = {stage.level: stage.nodes for stage in stages}
        for stage in stages:
            for source, edges in stage.edges.items():
                for below, node in edges if source in nodes else ():
                    found[stage.level, stage.nodes[node]] |= found[source, nodes[source][below]]
        return found

    def inputs_of(self, node: Node) -> tuple[str, ...]:
        """The inputs a node reads, directly or through others."""
        return tuple(self.topology.inputs[i] for i in self._inputs(node))

    def n_inputs(self, node: Node) -> int:
        """How many these are."""
        return len(self._inputs(node))

    def below(self, node: Node) -> Set[Node]:
        """The nodes it reads, directly or through others, itself among them."""
        return self._below[node]

    def related(self, a: Node, b: Node, jaccard: float) -> bool:
        """Whether one lies above the other, or they share so much of their inputs."""
        if a in self.below(b) or b in self.below(a):
            return True
        ours, theirs = set(self._inputs(a)), set(self._inputs(b))
        return len(ours & theirs) >= jaccard * len(ours | theirs)

    def _inputs(self, node: Node) -> list[int]:
        members, row = self.topology.members[node[0]], self.places[node]
        found: list[int] = members.indices[members.indptr[row] : members.indptr[row + 1]].tolist()
        return found


@dataclass(frozen=True, eq=False)
class Loci:
    """How genes of genotype studies are found to speak of one signal.

    Parameters
    ----------
    level
        Whose nodes are genes.
    find
        From genes, the most important first, to a table by gene with the columns `locus`, the first gene of its locus,
        and `in_ld_with`, in words; genes that are not in it stand alone.
    """

    level: str
    find: Callable[[Sequence[str]], pd.DataFrame]


def grouped(
    verdict: Verdict, relations: Relations, left: Callable[[tuple[str, ...]], np.ndarray], loci: Loci | None = None
) -> Verdict:
    """The verdict with its robust nodes in groups: columns n_genes, group, leader, driven_by, left.

    Robust nodes of a contrast are taken from the largest score down. One that is related to a leader (above or below it, or by
    overlap) joins its group; so does one of which too little is left when the leader's genes are set to their mean,
    wherever it lies. Members of which too little is left are "driven by" the leader. Any other leads a group of its
    own. What is counted is groups.

    With `loci`, of the robust genes of a locus only the one with the largest score stays robust; the others are "in linkage
    with a robust gene", and all of them stand for each other: what is related to one is related to all, and all are silenced
    together. Columns locus and in_ld_with come with it.

    Parameters
    ----------
    verdict
        Of `vnn.interpret.verdict`.
    relations
        Of the real wiring.
    left
        From inputs to the scores of all rows of the table without them; see `without`.
    loci
        Of the genes of a genotype study.
    """
    table, asked = verdict.table.copy(), verdict.thresholds
    nodes = list(zip(table["level"], table["node"], strict=True))
    table["n_genes"] = [relations.n_inputs(node) for node in nodes]
    group = pd.array([pd.NA] * len(table), dtype="Int64")
    leader, driven, remains = (
        np.zeros(len(table), dtype=bool),
        np.full(len(table), "", dtype=object),
        np.full(len(table), np.nan),
    )
    silenced: dict[int, np.ndarray] = {}
    n_groups = 0
    if loci is not None:
        table = table.assign(locus="", in_ld_with="")
    for contrast in table["contrast"].unique():
        robust = verdict.robust
        leaders: list[int] = []
        rows = robust.index[robust["contrast"] == contrast]
        together = _together(rows, nodes, table, loci)

        def related(i: int, j: int, together: dict[int, list[int]] = together) -> bool:
            pairs = ((nodes[a], nodes[b]) for a in together[i] for b in together[j])
            return any(relations.related(a, b, asked.jaccard) for a, b in pairs)

        for i in rows:
            shares = {j: silenced[j][i] / table.loc[i, "score"] for j in leaders}
            home = next((j for j in leaders if related(i, j)), None)
            home = home if home is not None else next((j for j in leaders if shares[j] < asked.driven), None)
            if home is None:
                leaders.append(i)
                n_groups += 1
                group[i], leader[i] = n_groups, True
                inputs = (name for one in together[i] for name in relations.inputs_of(nodes[one]))
                silenced[i] = left(tuple(dict.fromkeys(inputs)))
                continue
            group[i], remains[i] = group[home], shares[home]
            driven[i] = table.loc[home, "node"] if shares[home] < asked.driven else ""
    table = table.assign(group=group, leader=leader, driven_by=driven, left=remains)
    return replace(verdict, table=table)


def _together(rows: pd.Index, nodes: list[Node], table: pd.DataFrame, loci: Loci | None) -> dict[int, list[int]]:
    """For every robust row those of its locus, itself among them; the table learns of loci."""
    alone = {i: [i] for i in rows}
    genes = {} if loci is None else {nodes[i][1]: i for i in rows if nodes[i][0] == loci.level}
    if loci is None or not genes:
        return alone
    found = loci.find(list(genes))
    members: dict[str, list[int]] = {}
    for gene, one in found.iterrows():
        i, lead = genes[str(gene)], str(one["locus"])
        members.setdefault(lead, []).append(i)
        table.loc[i, ["locus", "in_ld_with"]] = [lead, one["in_ld_with"]]
        if lead != gene:
            name = table.loc[genes[lead], "name"]
            table.loc[i, ["verdict", "decided_by"]] = [
                LINKED,
                f"passed every question, but lies in the locus of {name}, which scores more: {one['in_ld_with']}",
            ]
    return alone | {i: together for together in members.values() for i in together}


def without(
    fit: Fit, samples: Samples | Cohort, method: str | Method, **baseline: object
) -> Callable[[tuple[str, ...]], np.ndarray]:
    """What `grouped` asks: the scores of all nodes, contrasts one after the other, when some inputs stand at their mean.

    Parameters
    ----------
    fit, samples, method
        As for `scored`.
    baseline
        Its `baseline`, `group` and `n_draws`.
    """

    def left(inputs: tuple[str, ...]) -> np.ndarray:
        found: Scored = scored(fit, samples, methods=[method], without=inputs, **baseline)  # type: ignore[arg-type]
        (name,) = found.values
        return found.draws("real", name)[0].ravel()

    return left

"""Groups of robust nodes: which of them say the same thing, who leads, and who is driven by whom."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from vnn.data.samples import Samples
from vnn.interpret.methods import Method
from vnn.interpret.scored import Scored, scored
from vnn.interpret.verdict import Verdict
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


def grouped(verdict: Verdict, relations: Relations, left: Callable[[tuple[str, ...]], np.ndarray]) -> Verdict:
    """The verdict with its robust nodes in groups: columns n_genes, group, leader, driven_by, left.

    Robust nodes of a contrast are taken from the largest score down. One that is related to a leader (above or below it, or by
    overlap) joins its group; so does one of which too little is left when the leader's genes are set to their mean,
    wherever it lies. Members of which too little is left are "driven by" the leader. Any other leads a group of its
    own. What is counted is groups.

    Parameters
    ----------
    verdict
        Of `vnn.interpret.verdict`.
    relations
        Of the real wiring.
    left
        From inputs to the scores of all rows of the table without them; see `without`.
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
    for contrast in table["contrast"].unique():
        robust = verdict.robust
        leaders: list[int] = []
        for i in robust.index[robust["contrast"] == contrast]:
            shares = {j: silenced[j][i] / table.loc[i, "score"] for j in leaders}
            home = next((j for j in leaders if relations.related(nodes[i], nodes[j], asked.jaccard)), None)
            home = home if home is not None else next((j for j in leaders if shares[j] < asked.driven), None)
            if home is None:
                leaders.append(i)
                n_groups += 1
                group[i], leader[i] = n_groups, True
                silenced[i] = left(relations.inputs_of(nodes[i]))
                continue
            group[i], remains[i] = group[home], shares[home]
            driven[i] = table.loc[home, "node"] if shares[home] < asked.driven else ""
    table = table.assign(group=group, leader=leader, driven_by=driven, left=remains)
    return replace(verdict, table=table)


def without(
    fit: Fit, samples: Samples, method: str | Method, **baseline: object
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

"""Groups of robust nodes: which of them say the same thing, who leads, and who is driven by whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import sparse

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
        """Number of every node above the inputs, copies left out."""
        nodes = [(stage.level, node) for stage in resolve(self.topology).stages for node in stage.nodes]
        return {node: i for i, node in enumerate(nodes)}

    @cached_property
    def _tables(self) -> tuple[sparse.csr_array, sparse.csr_array]:
        inputs = self.topology.levels[0].name
        held: dict[str, tuple[sparse.csr_array, sparse.csr_array]] = {}
        n, n_in = len(self.places), len(self.topology.inputs)
        stages = resolve(self.topology).stages
        first = 0
        for stage in stages:
            rows = len(stage.nodes)
            reads = sparse.csr_array((rows, n_in))
            own = sparse.csr_array((np.ones(rows), (np.arange(rows), first + np.arange(rows))), shape=(rows, n))
            for source, edges in stage.edges.items():
                width = n_in if source == inputs else held[source][0].shape[0]
                wired = sparse.csr_array((np.ones(len(edges)), (edges[:, 1], edges[:, 0])), shape=(rows, width))
                reads = reads + (wired if source == inputs else wired @ held[source][0])
                own = own if source == inputs else own + wired @ held[source][1]
            for table in (reads, own):
                table.data[:] = 1.0
            held[stage.level] = reads, own
            first += rows
        reads, below = (sparse.csr_array(sparse.vstack([held[s.level][i] for s in stages])) for i in range(2))
        return reads, below

    def inputs_of(self, node: Node) -> tuple[str, ...]:
        """The inputs a node reads, directly or through others."""
        return tuple(self.topology.inputs[i] for i in self._row(0, node))

    def n_inputs(self, node: Node) -> int:
        """How many these are."""
        return len(self._row(0, node))

    def below(self, node: Node) -> frozenset[int]:
        """Numbers of the nodes it reads, itself among them."""
        return frozenset(self._row(1, node).tolist())

    def related(self, a: Node, b: Node, jaccard: float) -> bool:
        """Whether one lies above the other, or they share so much of their inputs."""
        if self.places[a] in self.below(b) or self.places[b] in self.below(a):
            return True
        ours, theirs = set(self._row(0, a).tolist()), set(self._row(0, b).tolist())
        return len(ours & theirs) >= jaccard * len(ours | theirs)

    def _row(self, which: int, node: Node) -> np.ndarray:
        table, i = self._tables[which], self.places[node]
        found: np.ndarray = table.indices[table.indptr[i] : table.indptr[i + 1]]
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

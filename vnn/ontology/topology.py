"""Topology: named levels of nodes and the masks between them, ready to become layers."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from operator import lt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from vnn._atomic import replacing
from vnn._errors import OntologyError, culprits
from vnn.ontology.log import Entry
from vnn.ontology.order import each_once, in_order

if TYPE_CHECKING:
    from torch_sparse import SparseTensor


@dataclass(frozen=True, eq=False)
class Level:
    """Nodes of equal depth.

    Parameters
    ----------
    name
        Name of the level, unique in its topology: "inputs", "level 1", ...
    nodes
        Node ids, unique; sorted above the inputs.
    copies
        Those of `nodes` that only repeat the value of the node of the same id one level below,
        without weight or activation.
    """

    name: str
    nodes: tuple[str, ...]
    copies: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not self.nodes:
            raise OntologyError(f"level {self.name!r} has no nodes; leave it out.")
        if len(set(self.nodes)) < len(self.nodes):
            raise OntologyError(f"level {self.name!r} names nodes twice: {culprits(_twice(self.nodes))}.")
        if self.copies and (unknown := sorted(self.copies.difference(self.nodes))):
            raise OntologyError(f"level {self.name!r} has copies that are not its nodes: {culprits(unknown)}.")

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def own(self) -> np.ndarray:
        """Which nodes are no copies, bool of shape (n_nodes,)."""
        if not self.copies:
            return np.ones(len(self.nodes), dtype=bool)
        return np.array([node not in self.copies for node in self.nodes])

    @property
    def own_nodes(self) -> tuple[str, ...]:
        """Ids of the nodes that are no copies."""
        return tuple(node for node in self.nodes if node not in self.copies) if self.copies else self.nodes


@dataclass(frozen=True, eq=False)
class Mask:
    """The edges from one level to another: which source may influence which target.

    Parameters
    ----------
    source_level, target_level
        Names of the two levels.
    sources, targets
        Node ids of the two levels, in their order.
    edges
        Index pairs (source, target) of shape (n_edges, 2), int32, without repeats, sorted by target, then source.
    """

    source_level: str
    target_level: str
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    edges: np.ndarray

    def __post_init__(self) -> None:
        edges = np.array(self.edges, dtype=np.int64).reshape(-1, 2)
        where = f"the mask {self.source_level!r} -> {self.target_level!r}"
        if not len(edges):
            raise OntologyError(f"{where} has no edges; leave it out.")
        if edges.min() < 0 or (edges.max(axis=0) >= (len(self.sources), len(self.targets))).any():
            raise OntologyError(
                f"{where} names nodes outside its {len(self.sources):,} sources and {len(self.targets):,} targets."
            )
        key = edges[:, 1] * len(self.sources) + edges[:, 0]
        if (np.diff(key) <= 0).any():
            key = each_once(key)
        ordered = np.stack([key % len(self.sources), key // len(self.sources)], axis=1).astype(np.int32)
        ordered.flags.writeable = False
        object.__setattr__(self, "edges", ordered)

    @classmethod
    def from_names(
        cls,
        source_level: str,
        target_level: str,
        sources: Sequence[str],
        targets: Sequence[str],
        pairs: Iterable[tuple[str, str]],
    ) -> Mask:
        """The mask of (source id, target id) `pairs`; repeats count once.

        Raises
        ------
        OntologyError
            If a pair names a node that is in neither level.
        """
        source_at = {name: i for i, name in enumerate(sources)}
        target_at = {name: i for i, name in enumerate(targets)}
        try:
            edges = [(source_at[s], target_at[t]) for s, t in pairs]
        except KeyError as error:
            raise OntologyError(
                f"an edge from {source_level!r} to {target_level!r} names {error.args[0]!r}, which is not a node there."
            ) from None
        return cls(source_level, target_level, tuple(sources), tuple(targets), np.array(edges))

    @classmethod
    def from_scipy(
        cls,
        matrix: Any,
        *,
        sources: Sequence[str],
        targets: Sequence[str],
        source_level: str = "source",
        target_level: str = "target",
    ) -> Mask:
        """The mask of the non-zero entries of a (n_targets, n_sources) scipy sparse array or matrix."""
        coo = sparse.coo_array(matrix)
        if coo.shape != (len(targets), len(sources)):
            raise OntologyError(
                f"the matrix has shape {coo.shape}; {len(targets):,} targets and {len(sources):,} sources "
                f"need ({len(targets)}, {len(sources)})."
            )
        kept = coo.data != 0
        edges = np.stack([coo.col[kept], coo.row[kept]], axis=1)
        return cls(source_level, target_level, tuple(sources), tuple(targets), edges)

    def to_scipy(self) -> sparse.csr_array:
        """The mask as a 0/1 matrix of shape (n_targets, n_sources)."""
        ones = np.ones(len(self.edges), dtype=np.float32)
        shape = (len(self.targets), len(self.sources))
        return sparse.csr_array((ones, (self.edges[:, 1], self.edges[:, 0])), shape=shape)

    @classmethod
    def from_torch_sparse(cls, tensor: SparseTensor, **names: Any) -> Mask:
        """The mask of the entries of a `torch_sparse.SparseTensor` of shape (n_targets, n_sources)."""
        return cls.from_scipy(tensor.to_scipy(layout="coo"), **names)

    def to_torch_sparse(self) -> SparseTensor:
        """The mask as a `torch_sparse.SparseTensor` of ones, shape (n_targets, n_sources).

        Raises
        ------
        ImportError
            If torch-sparse is not installed; the extra `vnn[torch-sparse]` brings it.
        """
        try:
            from torch_sparse import SparseTensor
        except ImportError as error:
            raise ImportError("to_torch_sparse needs torch-sparse: pip install 'vnn[torch-sparse]'.") from error
        import torch

        edges = torch.from_numpy(self.edges.astype(np.int64))
        return SparseTensor(
            row=edges[:, 1],
            col=edges[:, 0],
            value=torch.ones(len(edges)),
            sparse_sizes=(len(self.targets), len(self.sources)),
            is_sorted=True,
        )

    def __len__(self) -> int:
        return len(self.edges)


@dataclass(frozen=True, eq=False)
class Topology:
    """Ordered levels of named nodes and one mask for each pair of levels that has edges.

    The first level are the inputs. A node without outgoing edges is an output; heads attach to
    outputs or to whole levels. Everything is in canonical order, so that neither the order of lines
    in a file nor the hash seed changes a topology.

    Parameters
    ----------
    levels
        From the inputs up.
    masks
        At most one for each pair of levels, always from a lower to a higher level.
    names
        Readable name of a node id; an id that is not here is its own name.
    log
        What was dropped, merged or changed on the way here.
    provenance
        Where the knowledge came from: a record per source (name, release, files with SHA-256, licence).

    Raises
    ------
    OntologyError
        If a mask runs downwards, a node is reached from no input, an input leads nowhere, or a copy
        does not repeat the node of the same id one level below.
    """

    levels: tuple[Level, ...]
    masks: tuple[Mask, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    log: tuple[Entry, ...] = ()
    provenance: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if len(self.levels) < 2:
            raise OntologyError(
                f"a topology needs inputs and at least one level above; this one has {len(self.levels)}."
            )
        order = {level.name: i for i, level in enumerate(self.levels)}
        if len(order) < len(self.levels):
            raise OntologyError("two levels of the topology have the same name.")
        has_in = [np.zeros(len(level), dtype=bool) for level in self.levels]
        has_out = [np.zeros(len(level), dtype=bool) for level in self.levels]
        seen: set[tuple[int, int]] = set()
        for mask in self.masks:
            if unknown := {mask.source_level, mask.target_level} - order.keys():
                raise OntologyError(f"a mask names levels the topology does not have: {culprits(sorted(unknown))}.")
            pair = order[mask.source_level], order[mask.target_level]
            if pair[0] >= pair[1] or pair in seen:
                raise OntologyError(
                    f"the mask {mask.source_level!r} -> {mask.target_level!r} "
                    + ("is there twice." if pair in seen else "does not lead upwards.")
                )
            seen.add(pair)
            if mask.sources != self.levels[pair[0]].nodes or mask.targets != self.levels[pair[1]].nodes:
                raise OntologyError(
                    f"the mask {mask.source_level!r} -> {mask.target_level!r} lists other nodes than its levels."
                )
            has_out[pair[0]][mask.edges[:, 0]] = True
            has_in[pair[1]][mask.edges[:, 1]] = True
        for i, level in enumerate(self.levels):
            reached, leads = (
                (np.ones(len(level), bool), has_out[i]) if i == 0 else (has_in[i], np.ones(len(level), bool))
            )
            if not (reached & leads).all():
                lost = [level.nodes[j] for j in np.flatnonzero(~(reached & leads))]
                what = "lead to no node" if i == 0 else "are reached from no input"
                raise OntologyError(f"{len(lost):,} nodes of level {level.name!r} {what}: {culprits(lost)}.")
        if self.levels[0].copies:
            raise OntologyError("inputs cannot be copies.")
        for level in self.levels[1:]:
            if not all(map(lt, level.nodes, islice(level.nodes, 1, None))):
                raise OntologyError(
                    f"the nodes of level {level.name!r} are not sorted; build topologies with Topology.from_edges, which "
                    "sorts them."
                )
        for below, level in zip(self.levels, self.levels[1:], strict=False):
            self._check_copies(below, level)
        object.__setattr__(
            self, "masks", tuple(sorted(self.masks, key=lambda m: (order[m.target_level], order[m.source_level])))
        )

    def _check_copies(self, below: Level, level: Level) -> None:
        if not level.copies:
            return
        copied = np.array([node in level.copies for node in level.nodes])
        proper = np.zeros(len(level), dtype=np.int64)
        foreign = np.zeros(len(level), dtype=np.int64)
        for mask in self.masks:
            if mask.target_level != level.name:
                continue
            source, target = mask.edges[copied[mask.edges[:, 1]]].T
            same = np.array(mask.sources, dtype=object)[source] == np.array(mask.targets, dtype=object)[target]
            same &= mask.source_level == below.name
            np.add.at(proper, target[same], 1)
            np.add.at(foreign, target[~same], 1)
        wrong = [level.nodes[i] for i in np.flatnonzero(copied & ((proper != 1) | (foreign > 0)))]
        if wrong:
            raise OntologyError(
                f"copies of level {level.name!r} must have one incoming edge, from the same id in {below.name!r}: "
                f"{culprits(wrong)}."
            )

    @classmethod
    def from_edges(
        cls,
        levels: Mapping[str, Iterable[str]],
        edges: pd.DataFrame,
        *,
        copies: Mapping[str, Iterable[str]] | None = None,
        names: Mapping[str, str] | None = None,
        log: Sequence[Entry] = (),
        provenance: Sequence[Mapping[str, Any]] = (),
    ) -> Topology:
        """A topology from node ids per level and a table of edges.

        Parameters
        ----------
        levels
            Node ids of each level, from the inputs up, in any order.
        edges
            Columns `source_level`, `source`, `target_level`, `target`, in any order of rows; repeats count once.
        copies
            Node ids per level that are identity copies; their edges are in `edges` like all others.
        """
        titles = list(levels)
        ends = {end: pd.Index(titles).get_indexer(edges[end]) for end in ("source_level", "target_level")}
        if unknown := {str(name) for end, at in ends.items() for name in edges[end][at < 0].unique()}:
            raise OntologyError(f"an edge names levels that are not given: {culprits(sorted(unknown))}.")
        columns = [np.array(list(ids), dtype=object) for ids in levels.values()]
        columns += [edges[end].to_numpy(dtype=object) for end in ("source", "target")]
        numbers, ids = pd.factorize(np.concatenate(columns), use_na_sentinel=False)
        *of_levels, ends["source"], ends["target"] = np.split(numbers, np.cumsum([len(c) for c in columns[:-1]]))
        nodes = {}
        for title, own in zip(titles, of_levels, strict=True):
            own = each_once(own)
            nodes[title] = own[in_order(ids[own])]
        return cls._numbered(
            nodes,
            ids,
            pd.DataFrame(ends),
            copies=copies or {},
            names=names or {},
            log=log,
            provenance=provenance,
        )

    @classmethod
    def _numbered(
        cls,
        nodes: Mapping[str, np.ndarray],
        ids: np.ndarray,
        edges: pd.DataFrame,
        *,
        copies: Mapping[str, Iterable[str]],
        names: Mapping[str, str],
        log: Sequence[Entry],
        provenance: Sequence[Mapping[str, Any]],
    ) -> Topology:
        """As `from_edges`, with numbers of levels and places in `ids`; those of a level's nodes come in the order of their ids."""
        levels, places = [], []
        for name, own in nodes.items():
            levels.append(Level(name, tuple(ids[own]), frozenset(copies.get(name, ()))))
            places.append(np.full(len(ids), -1, dtype=np.int32))
            places[-1][own] = np.arange(len(own), dtype=np.int32)
        ends = {name: edges[name].to_numpy() for name in ("source_level", "source", "target_level", "target")}
        pair = ends["source_level"] * len(levels) + ends["target_level"]
        order = np.argsort(pair, kind="stable")
        masks = []
        for rows in np.split(order, np.flatnonzero(np.diff(pair[order])) + 1) if len(order) else ():
            low, high = (ends[end][rows[0]] for end in ("source_level", "target_level"))
            source, target = places[low][ends["source"][rows]], places[high][ends["target"][rows]]
            below, above = levels[low], levels[high]
            if len(lost := np.flatnonzero((source < 0) | (target < 0))):
                end = "source" if source[lost[0]] < 0 else "target"
                raise OntologyError(
                    f"an edge from {below.name!r} to {above.name!r} names {ids[ends[end][rows[lost[0]]]]!r}, "
                    "which is not a node there."
                )
            masks.append(Mask(below.name, above.name, below.nodes, above.nodes, np.stack([source, target], axis=1)))
        return cls(tuple(levels), tuple(masks), dict(names), tuple(log), tuple(provenance))

    def in_order(self, inputs: Sequence[str]) -> Topology:
        """The same wiring with its inputs in another order, such as that of the genome.

        Variants of a gene that lie beside each other are read together; nothing else depends on the order.

        Parameters
        ----------
        inputs
            All of them; what is not an input is passed over.

        Raises
        ------
        OntologyError
            If an input is not named, or twice.
        """
        own, known = self.levels[0], set(self.inputs)
        first = Level(own.name, tuple(name for name in inputs if name in known))
        if absent := known - set(first.nodes):
            raise OntologyError(f"the order leaves out {len(absent):,} inputs: {culprits(sorted(absent))}.")
        place = {name: i for i, name in enumerate(first.nodes)}
        moved = np.array([place[name] for name in own.nodes])
        masks = [
            mask if mask.source_level != own.name
            else replace(mask, sources=first.nodes, edges=np.stack([moved[mask.edges[:, 0]], mask.edges[:, 1]], axis=1))
            for mask in self.masks
        ]  # fmt: skip
        return replace(self, levels=(first, *self.levels[1:]), masks=tuple(masks))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Ids of the input nodes."""
        return self.levels[0].nodes

    @property
    def n_edges(self) -> int:
        """Number of weighted edges: all but those into identity copies."""
        return sum(len(mask) for mask in self.masks) - sum(len(level.copies) for level in self.levels)

    @property
    def n_nodes(self) -> int:
        """Number of nodes above the inputs, copies not counted."""
        return sum(len(level) - len(level.copies) for level in self.levels[1:])

    def level(self, name: str) -> Level:
        """The level called `name`."""
        for level in self.levels:
            if level.name == name:
                return level
        raise OntologyError(
            f"there is no level {name!r}; the topology has {culprits([x.name for x in self.levels], 20)}."
        )

    def label(self, node: str) -> str:
        """The readable name of a node id."""
        return self.names.get(node, node)

    @cached_property
    def outputs(self) -> tuple[tuple[str, str], ...]:
        """(level, node) of every node without outgoing edges, in the order of the levels."""
        return tuple((level.name, level.nodes[i]) for level in self.levels[1:] for i in self.tops(level.name))

    def tops(self, level: str) -> np.ndarray:
        """Which nodes of a level have no outgoing edges: their places, int64."""
        leads = np.zeros(len(self.level(level)), dtype=bool)
        for mask in self.masks:
            if mask.source_level == level:
                leads[mask.edges[:, 0]] = True
        return np.flatnonzero(~leads)

    @cached_property
    def members(self) -> dict[str, sparse.csr_array]:
        """Which inputs can influence each node: per level a boolean matrix (n_nodes, n_inputs), indices sorted."""
        inputs, n_inputs = self.levels[0].name, len(self.inputs)
        sizes = [len(level) for level in self.levels[1:]]
        first = dict(zip((level.name for level in self.levels[1:]), np.cumsum([0, *sizes]).tolist(), strict=False))
        entering = [(mask.edges[:, 0], first[mask.target_level] + mask.edges[:, 1]) for mask in self.masks
                    if mask.source_level == inputs]  # fmt: skip
        source, target = (np.concatenate(ends) for ends in zip(*entering, strict=True))
        leads = sparse.csr_array((np.ones(len(source), dtype=bool), (source, target)), shape=(n_inputs, sum(sizes)))
        reach = {inputs: sparse.csr_array(sparse.identity(n_inputs, dtype=bool, format="csr"))}
        below: dict[str, sparse.csr_array] = {}
        for level in self.levels[1:]:
            own = np.arange(len(level), dtype=np.int32)
            ends, shape = (own, first[level.name] + own), (len(level), sum(sizes))
            total = sparse.csr_array((np.ones(len(level), dtype=bool), ends), shape=shape)
            for mask in self.masks:
                if mask.target_level == level.name and mask.source_level != inputs:
                    total = total + mask.to_scipy().astype(bool) @ below[mask.source_level]
            below[level.name] = total
            reach[level.name] = sparse.csr_array((leads @ total.T.tocsr()).T.tocsr())
        return reach

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the names of levels and nodes, the copies and the edges."""
        digest = hashlib.sha256()
        for level in self.levels:
            digest.update(json.dumps([level.name, level.nodes, sorted(level.copies)]).encode())
        for mask in self.masks:
            digest.update(json.dumps([mask.source_level, mask.target_level]).encode())
            digest.update(mask.edges.astype("<i4").tobytes())
        return digest.hexdigest()

    def table(self) -> pd.DataFrame:
        """One row per node: level, id, name, copy, inputs below it, incoming and outgoing edges."""
        fan_in = {level.name: np.zeros(len(level), int) for level in self.levels}
        fan_out = {level.name: np.zeros(len(level), int) for level in self.levels}
        for mask in self.masks:
            fan_out[mask.source_level] += np.bincount(mask.edges[:, 0], minlength=len(mask.sources))
            fan_in[mask.target_level] += np.bincount(mask.edges[:, 1], minlength=len(mask.targets))
        parts = [
            pd.DataFrame(
                {
                    "level": level.name,
                    "node": level.nodes,
                    "name": [self.label(node) for node in level.nodes],
                    "copy": [node in level.copies for node in level.nodes],
                    "n_inputs": np.diff(self.members[level.name].indptr),
                    "fan_in": fan_in[level.name],
                    "fan_out": fan_out[level.name],
                }
            )
            for level in self.levels
        ]
        return pd.concat(parts, ignore_index=True)

    def to_edges(self) -> pd.DataFrame:
        """The edges as a table that `from_edges` reads back."""
        parts = [
            pd.DataFrame(
                {
                    "source_level": mask.source_level,
                    "source": np.array(mask.sources, dtype=object)[mask.edges[:, 0]],
                    "target_level": mask.target_level,
                    "target": np.array(mask.targets, dtype=object)[mask.edges[:, 1]],
                }
            )
            for mask in self.masks
        ]
        return pd.concat(parts, ignore_index=True)

    def save(self, path: Path | str) -> None:
        """Write the topology to one `.npz` file, whole or not at all; no pickle inside."""
        header = {
            "format": "vnn topology 1",
            "fingerprint": self.fingerprint,
            "levels": [[level.name, level.nodes, sorted(level.copies)] for level in self.levels],
            "masks": [[mask.source_level, mask.target_level] for mask in self.masks],
            "names": dict(self.names),
            "log": [entry.to_json() for entry in self.log],
            "provenance": self.provenance,
        }
        arrays: dict[str, Any] = {f"edges_{i}": mask.edges for i, mask in enumerate(self.masks)}
        with replacing(path) as part, part.open("wb") as file:
            np.savez_compressed(file, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)

    @classmethod
    def load(cls, path: Path | str) -> Topology:
        """Read what `save` wrote.

        Raises
        ------
        OntologyError
            If the file is not a topology, or its content no longer matches its fingerprint.
        """
        try:
            with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                header = json.loads(file["header"].tobytes())
                edges = [file[f"edges_{i}"] for i in range(len(header["masks"]))]
        except FileNotFoundError:
            raise
        except Exception as error:
            raise OntologyError(f"{path} is not a saved topology, or it is damaged: {error}.") from error
        levels = tuple(Level(name, tuple(nodes), frozenset(copies)) for name, nodes, copies in header["levels"])
        at = {level.name: level.nodes for level in levels}
        masks = tuple(
            Mask(low, high, at[low], at[high], pairs) for (low, high), pairs in zip(header["masks"], edges, strict=True)
        )
        log = tuple(Entry(**{**record, "names": tuple(record["names"])}) for record in header["log"])
        found = cls(levels, masks, header["names"], log, tuple(header["provenance"]))
        if found.fingerprint != header["fingerprint"]:
            raise OntologyError(f"{path} was changed after it was written: its content does not match its fingerprint.")
        return found

    def __repr__(self) -> str:
        sizes = " -> ".join(f"{len(level) - len(level.copies):,}" for level in self.levels)
        return f"Topology({sizes}; {self.n_edges:,} edges, {self.fingerprint[:12]})"


def _twice(names: Sequence[str]) -> list[str]:
    return sorted(name for name, n in Counter(names).items() if n > 1)

"""Connection weights: every path from a variant to the prediction with its weights, in the columns that GenNet writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from vnn._atomic import harmless_table, replacing
from vnn._errors import AlignmentError, culprits
from vnn.interpret.contrast import contrasts
from vnn.interpret.sweep import Sweep
from vnn.interpret.weights import weight_products
from vnn.layers import ODD
from vnn.training import Fit

MOST_PATHS = 5_000_000
AT_ONCE = 50_000  # variants


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges between two levels, by their source.

    Parameters
    ----------
    source, target
        The levels.
    ends
        Own nodes of both, int (n_edges, 2), sorted by source.
    weight
        (n_edges, units of the source, units of the target, R), 0 where a node has fewer units.
    mean, spread
        Of the weights over replicates, (n_edges,); between nodes of several units of the norm of their block.
    """

    source: str
    target: str
    ends: np.ndarray
    weight: np.ndarray
    mean: np.ndarray
    spread: np.ndarray

    @cached_property
    def start(self) -> np.ndarray:
        """Where the edges of each source begin."""
        n_sources = int(self.ends[:, 0].max(initial=-1)) + 1
        return np.searchsorted(self.ends[:, 0], np.arange(n_sources + 1))

    def of(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Edges out of some nodes: which of the nodes each leaves, and its place here."""
        inside = nodes < len(self.start) - 1
        at = np.where(inside, nodes, 0)
        first = np.where(inside, self.start[at], 0)
        count = np.where(inside, self.start[at + 1] - first, 0)
        which = np.repeat(np.arange(len(nodes)), count)
        return which, np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count) + first[which]


@torch.no_grad()
def edge_weights(fit: Fit) -> tuple[Edges, ...]:
    """The weights of every edge between levels, as the networks compute with them.

    Batch-norm is folded in, and inputs are in the units the network sees, as in `weight_scores`. Where turning a node loses
    nothing (odd activations, one unit) it is turned as its activity is, so that a weight has the same sign in every replicate.
    Replicates that diverged are left out.

    Raises
    ------
    ValueError
        If replicates are wired each in its own way.
    """
    network = fit.networks.replicates(fit.sound.tolist())
    if network.wirings:
        raise ValueError("these replicates are wired each in its own way, so that an edge has no mean weight.")
    sweep = Sweep(network)
    signs = _signs(fit)
    found = []
    for stage, linear in network.layers:
        for source, _, values in linear.parts():
            pairs = stage.edges[source]
            units_in, units_out = network.own_units(source), network.own_units(stage.level)
            k, j = units_in[pairs[:, 0]], units_out[pairs[:, 1]]
            size = k * j
            edge = np.repeat(np.arange(len(pairs)), size)
            place = np.arange(len(edge)) - np.repeat(np.cumsum(size) - size, size)
            a, b = place % k[edge], place // k[edge]
            weight = values.detach().double().numpy()
            row_out = (np.cumsum(units_out) - units_out)[pairs[edge, 1]] + b
            row_in = (np.cumsum(units_in) - units_in)[pairs[edge, 0]] + a
            if stage.level in sweep.gains:
                weight = weight * sweep.gains[stage.level][0][:, :, 0].double().numpy()[row_out]
            for level, row in ((source, row_in), (stage.level, row_out)):
                if level in signs:
                    weight = weight * signs[level][row]
            blocks = np.zeros((len(pairs), int(units_in.max()), int(units_out.max()), weight.shape[1]))
            blocks[edge, a, b] = weight
            order = np.lexsort((pairs[:, 1], pairs[:, 0]))
            mean, spread = _over_replicates(blocks)
            found.append(Edges(source, stage.level, pairs[order], blocks[order], mean[order], spread[order]))
    return tuple(found)


def edge_table(fit: Fit, edges: tuple[Edges, ...]) -> pd.DataFrame:
    """The edges above the inputs: source_level, source, source_name, target_level, target, target_name, weight, weight_sd."""
    names, inputs = fit.topology.names, fit.topology.levels[0].name
    parts = []
    for own in edges:
        if own.source == inputs:
            continue
        source, target = (np.array(fit.nodes(level), dtype=object) for level in (own.source, own.target))
        table = pd.DataFrame(
            {
                "source_level": own.source, "source": source[own.ends[:, 0]], "target_level": own.target,
                "target": target[own.ends[:, 1]], "weight": own.mean, "weight_sd": own.spread,
            }
        )  # fmt: skip
        for at, end in ((2, "source"), (5, "target")):
            table.insert(at, f"{end}_name", [names.get(node, node) for node in table[end]])
        parts.append(table)
    columns = ["source_level", "source", "source_name", "target_level", "target", "target_name", "weight", "weight_sd"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


@dataclass(frozen=True, eq=False)
class Connections:
    """All paths from the inputs to the prediction, or, where they are too many, all edges out of the inputs.

    Parameters
    ----------
    fit, edges
        Trained networks and their `edge_weights`.
    places
        Index: inputs, columns `chromosome` and `position`.
    most_paths
        With more paths a row is an edge out of a variant, and `weights_1` the sum of the products of the weights along all paths
        from there on; `raw_importance` is then the sum over these paths.
    """

    fit: Fit
    edges: tuple[Edges, ...]
    places: pd.DataFrame
    most_paths: int = MOST_PATHS

    def __post_init__(self) -> None:
        if absent := [name for name in self.fit.topology.inputs if name not in self.places.index]:
            raise AlignmentError(
                f"the table of places lacks {len(absent):,} of the {len(self.fit.topology.inputs):,} inputs: {culprits(absent)}."
            )

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """The levels that compute something, the inputs first."""
        return self._sweep_levels

    @cached_property
    def n_paths(self) -> int:
        """How many paths there are from all inputs to the prediction."""
        count: dict[str, np.ndarray] = {}
        for level in reversed(self.levels):
            own = self._attached[level].astype(float)
            for edges in self.edges:
                if edges.source == level:
                    own += np.bincount(
                        edges.ends[:, 0], weights=count[edges.target][edges.ends[:, 1]], minlength=len(own)
                    )
            count[level] = own
        return int(min(count[self.levels[0]].sum(), 2**62))

    @property
    def whole(self) -> bool:
        """Whether a row is a whole path."""
        return self.n_paths <= self.most_paths

    def frames(self, at_once: int = AT_ONCE) -> Iterator[pd.DataFrame]:
        """The table, the rows of some variants at a time, in their order.

        Columns as GenNet has them: `chr`, `bp`; for every layer i `node_layer_i`, the number of the node among those of its layer,
        `weights_i`, the weight of the edge by which the path leaves it (the last one leads to the prediction), and
        `layeri_name`; `raw_importance`, the product of the weights. Layers that a path does not touch are empty. Then, which
        GenNet has not: `relative_importance` (|product| over the sum of all, the mean over networks), `raw_importance_sd` and
        `sd_i`, standard deviations over networks, and `contrast` where there are several. Weights and products are means over
        networks; between nodes of several units a weight is the norm of its block, and a product sums over their units.
        """
        n = len(self.fit.topology.inputs)
        asked = contrasts(self.fit.target)
        for contrast in asked:
            heads = self._heads(contrast.logits)
            for start in range(0, n, at_once):
                rows = np.arange(start, min(start + at_once, n))
                table = self._rows(rows, heads)
                yield table.assign(contrast=contrast.name) if len(asked) > 1 else table

    def write(self, path: Path) -> None:
        """The table as CSV, whole or not at all, never as a whole in memory."""
        with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            for number, table in enumerate(self.frames()):
                harmless_table(table).to_csv(file, index=False, header=not number)

    def _rows(self, rows: np.ndarray, heads: _Heads) -> pd.DataFrame:
        ones = np.ones((len(rows), 1, heads.n_replicates))
        columns = {"node_layer_0": rows}
        routes = self._walk(0, rows, ones, ones, columns, heads)
        parts = list(routes) if self.whole else list(self._steps(rows, heads))
        table = pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
        for name in table.columns[table.isna().any()]:
            if name.startswith("node_layer"):
                table[name] = table[name].astype("Int32")
        table = table.sort_values("node_layer_0", kind="stable", ignore_index=True)
        own = self._placed[table["node_layer_0"].to_numpy()]
        layers = range(len(self.levels)) if self.whole else range(2)
        first = {"chr": self._chromosome[own], "bp": self._position[own]}
        made: dict[str, object] = dict(first)
        for i in layers:
            made[f"node_layer_{i}"] = table.get(f"node_layer_{i}")
            if i:
                made |= self._leaving(table, i - 1)
        made |= self._leaving(table, len(layers) - 1)
        made["raw_importance"] = table["raw"].astype(np.float32)
        made["relative_importance"] = table["relative"].astype(np.float32)
        made["raw_importance_sd"] = table["raw_sd"].astype(np.float32)
        made |= {f"sd_{i}": table.get(f"sd_{i}") for i in layers}
        return pd.DataFrame({name: value for name, value in made.items() if value is not None})

    def _leaving(self, table: pd.DataFrame, layer: int) -> dict[str, object]:
        names = self._names[self.levels[layer]] if self.whole or not layer else self._all_names
        held = table.get(f"named_{layer}", table.get(f"node_layer_{layer}"))
        if held is None:
            return {}
        at = held.astype("Int64")
        known = at.notna().to_numpy()
        label = np.full(len(table), None, dtype=object)
        label[known] = names[at[known].to_numpy(dtype=np.int64)]
        return {f"weights_{layer}": table.get(f"weights_{layer}"), f"layer{layer}_name": label}

    def _walk(
        self,
        layer: int,
        nodes: np.ndarray,
        value: np.ndarray,
        size: np.ndarray,
        columns: dict[str, np.ndarray],
        heads: _Heads,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Rows of all paths that go on from some nodes of a layer; `value` and `size` are products so far, (n, units, R)."""
        level = self.levels[layer]
        if (ends := np.flatnonzero(self._attached[level][nodes])).size:
            at = nodes[ends]
            raw = np.einsum("nkr,nkr->nr", value[ends], heads.value[level][at])
            most = np.einsum("nkr,nkr->nr", size[ends], heads.size[level][at])
            own = {name: column[ends] for name, column in columns.items()}
            yield own | heads.told(layer, level, at) | heads.importance(raw, most)
        for edges in self.edges:
            if edges.source != level:
                continue
            which, at = edges.of(nodes)
            if not len(which):
                continue
            target = edges.ends[at, 1]
            on = self.levels.index(edges.target)
            own = {name: column[which] for name, column in columns.items()}
            own |= {f"weights_{layer}": edges.mean[at].astype(np.float32), f"sd_{layer}": edges.spread[at].astype(np.float32),
                    f"node_layer_{on}": target}  # fmt: skip
            weight = edges.weight[at]
            led = np.einsum("nkr,nkjr->njr", value[which], weight)
            most = np.einsum("nkr,nkjr->njr", size[which], np.abs(weight))
            yield from self._walk(on, target, led, most, own, heads)

    def _steps(self, rows: np.ndarray, heads: _Heads) -> Iterator[dict[str, np.ndarray]]:
        """Rows of the edges out of some inputs, with all that lies above summed up."""
        for edges in self.edges:
            if edges.source != self.levels[0]:
                continue
            which, at = edges.of(rows)
            target = edges.ends[at, 1]
            above, most = heads.total[edges.target][target], heads.largest[edges.target][target]
            raw = np.einsum("nkr,nkr->nr", edges.weight[at][:, 0], above)
            size = np.einsum("nkr,nkr->nr", np.abs(edges.weight[at][:, 0]), most)
            total = above[:, 0] if above.shape[1] == 1 else np.linalg.norm(above, axis=1)
            mean, spread = total.mean(1), _spread(total)
            yield {
                "node_layer_0": rows[which], "weights_0": edges.mean[at].astype(np.float32),
                "sd_0": edges.spread[at].astype(np.float32), "node_layer_1": target,
                "named_1": target + self._first_name[edges.target], "weights_1": mean.astype(np.float32),
                "sd_1": spread.astype(np.float32),
            } | heads.importance(raw, size)  # fmt: skip

    @cached_property
    def _sweep_levels(self) -> tuple[str, ...]:
        return tuple(self._sweep.order)

    @cached_property
    def _sweep(self) -> Sweep:
        return Sweep(self.fit.networks.replicates(self.fit.sound.tolist()))

    @cached_property
    def _attached(self) -> dict[str, np.ndarray]:
        """Which nodes of every level a head reads."""
        network = self._sweep.network
        found = {level: np.zeros(len(network.own_units(level)), dtype=bool) for level in self._sweep.order}
        for linear in network.head_layers:
            for source, graph, _ in linear.parts():
                found[source][graph.src.numpy()] = True
        return found

    def _heads(self, logits: np.ndarray) -> _Heads:
        return _Heads(self._sweep, torch.from_numpy(logits), _signs(self.fit))

    @cached_property
    def _placed(self) -> np.ndarray:
        return self.places.index.get_indexer(pd.Index(self.fit.topology.inputs, dtype=object))

    @cached_property
    def _chromosome(self) -> np.ndarray:
        return self.places["chromosome"].to_numpy(dtype=object)

    @cached_property
    def _position(self) -> np.ndarray:
        return self.places["position"].to_numpy()

    @cached_property
    def _names(self) -> Mapping[str, np.ndarray]:
        names = self.fit.topology.names
        return {
            level: np.array([names.get(node, node) for node in self._sweep.network.own_nodes(level)], dtype=object)
            for level in self.levels
        }

    @cached_property
    def _all_names(self) -> np.ndarray:
        return np.concatenate([self._names[level] for level in self.levels])

    @cached_property
    def _first_name(self) -> dict[str, int]:
        sizes = [len(self._names[level]) for level in self.levels]
        return dict(zip(self.levels, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))


class _Heads:
    """What every node is worth at a contrast: by the heads that read it, and by all paths that go on from it."""

    def __init__(self, sweep: Sweep, contrast: torch.Tensor, signs: Mapping[str, np.ndarray]) -> None:
        network = sweep.network
        self.n_replicates = network.n_replicates
        with torch.no_grad():
            direct = sweep.direct(sweep.upstream(contrast))
            sized = sweep.direct(sweep.upstream(contrast).abs(), absolute=True)
            sums = weight_products(sweep, contrast, signed=True)
            sizes = weight_products(sweep, contrast, signed=False)

        def blocks(level: str, values: torch.Tensor, *, turned: bool) -> np.ndarray:
            units = network.own_units(level)
            node = np.repeat(np.arange(len(units)), units)
            unit = np.arange(len(node)) - np.repeat(np.cumsum(units) - units, units)
            found = np.zeros((len(units), int(units.max()), self.n_replicates))
            held = values.double().expand(len(node), self.n_replicates).numpy()
            found[node, unit] = held * signs[level] if turned and level in signs else held
            return found

        self.value = {level: blocks(level, values[:, :, 0], turned=True) for level, values in direct.items()}
        self.size = {level: blocks(level, values[:, :, 0], turned=False) for level, values in sized.items()}
        levels = [level for level in sweep.order if level in sums]
        self.total = {level: blocks(level, sums[level], turned=True) for level in levels}
        self.largest = {level: blocks(level, sizes[level], turned=False) for level in levels}
        self.all = self.largest[sweep.inputs].sum((0, 1))

    def told(self, layer: int, level: str, nodes: np.ndarray) -> dict[str, np.ndarray]:
        """The weights by which paths leave their last nodes."""
        value = self.value[level][nodes]
        held = value[:, 0] if value.shape[1] == 1 else np.linalg.norm(value, axis=1)
        return {f"weights_{layer}": held.mean(1).astype(np.float32), f"sd_{layer}": _spread(held).astype(np.float32)}

    def importance(self, raw: np.ndarray, size: np.ndarray) -> dict[str, np.ndarray]:
        """Mean and spread of products, and the share of their sizes in all, (n, R) each."""
        return {
            "raw": raw.mean(1),
            "raw_sd": _spread(raw),
            "relative": (size / np.where(self.all > 0, self.all, 1)).mean(1),
        }


def _signs(fit: Fit) -> dict[str, np.ndarray]:
    """By level how nodes of one unit are turned, (n_units, R)."""
    if fit.networks.recipe.activation not in ODD:
        return {}
    turned = {level: np.sign(reading.loading[:, fit.sound]) for level, reading in fit.readings.items()}
    found = {}
    for level, sign in turned.items():
        units = fit.networks.own_units(level)
        single = np.repeat(units == 1, units)
        found[level] = np.where(single[:, None] & (sign != 0), sign, 1.0)
    return found


def _over_replicates(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    held = blocks[:, 0, 0] if blocks.shape[1:3] == (1, 1) else np.linalg.norm(blocks, axis=(1, 2))
    return held.mean(1), _spread(held)


def _spread(values: np.ndarray) -> np.ndarray:
    """Standard deviation over replicates, (n, R) to (n,); missing with one."""
    return values.std(1, ddof=1) if values.shape[1] > 1 else np.full(len(values), np.nan)

"""VisibleNetwork: a topology that computes, its hidden nodes named genes, pathways and terms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from vnn._errors import AlignmentError, choose, culprits
from vnn.kernels import Graph, Packed, PackedPeople, reference
from vnn.kernels.backend import active, traced
from vnn.kernels.packed import PANEL
from vnn.layers import (
    BatchNorm,
    Draw,
    InputScaling,
    NodeDropout,
    Signal,
    SparseLinear,
    activation,
    gain,
    initial_weights,
    of_replicates,
    wired_rates,
)
from vnn.models.dense import DenseNetwork
from vnn.models.recipe import Recipe
from vnn.models.wiring import Stage, complete, resolve
from vnn.ontology.topology import Level, Topology

LANES = 16
COVARIATES = "covariates"
After = Literal["product", "normalisation", "activation"]


class VisibleNetwork(nn.Module):
    """A network whose hidden nodes are the nodes of a topology, wired only where it has edges.

    R replicates live side by side: the last axis of every parameter and buffer is the replicate, and
    nothing is ever summed over it. Inside, a level is a tensor (n_units, R, batch); outside, tensors are
    batch first.

    Parameters
    ----------
    topology
        Levels and masks.
    recipe
        What the nodes compute.
    n_targets
        Logits: 1 for a binary phenotype or a quantity, one per class otherwise.
    replicates
        Names of the replicates; their initial weights depend on them and on `seed`, not on their number or order.
    seed
        Seed of the study.
    n_covariates
        Columns that enter late, at the logits, or at the first level too; see `Recipe.covariates`.
    partners
        Name by which the initial weights and the dropout of each replicate are drawn, as a null carries those of a real
        replicate; its own name unless given.
    wirings
        For replicates that are wired each in its own way: by source and target level the source of every edge in
        every replicate, (n_edges, R), as `vnn.ontology.Wirings.sources` gives them. All pairs of levels with edges, or none.
    dropout, input_dropout
        Rate of each replicate, (R,), in place of that of the recipe.

    Attributes
    ----------
    imputes
        Whether x may hold NaN, replaced by `scaling.fill`; off unless a fit turns it on, since it costs a second product.

    Examples
    --------
    >>> import pandas as pd
    >>> edges = pd.DataFrame([("inputs", "TP53", "top", "apoptosis"), ("inputs", "BAX", "top", "apoptosis")],
    ...                      columns=["source_level", "source", "target_level", "target"])
    >>> topology = Topology.from_edges({"inputs": ["TP53", "BAX"], "top": ["apoptosis"]}, edges)
    >>> network = VisibleNetwork(topology).eval()
    >>> network(torch.zeros(8, 2)).shape
    torch.Size([8, 1, 1])
    """

    output_scale: Tensor
    output_shift: Tensor

    def __init__(
        self,
        topology: Topology,
        recipe: Recipe | None = None,
        *,
        n_targets: int = 1,
        replicates: Sequence[str] = ("0",),
        seed: int = 0,
        n_covariates: int = 0,
        partners: Sequence[str] | None = None,
        wirings: Mapping[tuple[str, str], np.ndarray] | None = None,
        dropout: Sequence[float] | None = None,
        input_dropout: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.topology, self.recipe = topology, recipe or Recipe()
        self.n_targets, self.n_covariates, self.seed = n_targets, n_covariates, seed
        self.replicate_names, self.imputes = tuple(replicates), False
        if len(set(self.replicate_names)) < len(self.replicate_names):
            raise ValueError(f"replicate names must be unique: {culprits(self.replicate_names)}.")
        self._partners = self.replicate_names if partners is None else tuple(partners)
        if len(self._partners) != len(self.replicate_names):
            raise ValueError(f"there are {len(self._partners)} partners for {len(self.replicate_names)} replicates.")
        self.drops_inputs = bool(self.recipe.input_dropout) if input_dropout is None else True
        own = {"dropout": dropout, "input_dropout": input_dropout}
        for name, rates in own.items():
            if rates is not None and len(rates) != len(self.replicate_names):
                raise ValueError(f"`{name}` has {len(rates)} rates for {len(self.replicate_names)} replicates.")
        self._wire(dict(wirings or {}), {name: np.array(rates) for name, rates in own.items() if rates is not None})
        self._draw_weights()

    @property
    def wirings(self) -> dict[tuple[str, str], np.ndarray]:
        """The source of every edge in every replicate, by source and target level; empty where all share the wiring."""
        return {
            (name, stage.level): graph.src.numpy()
            for stage, linear in self.layers
            for name, graph, _ in linear.parts()
            if graph.src.dim() > 1
        }

    @property
    def early(self) -> bool:
        """Whether the nodes of the first level read covariates."""
        return self.n_covariates > 0 and self.recipe.covariates == "early"

    @property
    def n_replicates(self) -> int:
        """Length of the replicate axis."""
        return len(self.replicate_names)

    # Building.

    def _wire(self, wirings: dict[tuple[str, str], np.ndarray], rates: dict[str, np.ndarray]) -> None:
        n = self.n_replicates
        if not isinstance(self.recipe.units, int):
            known = {node for level in self.topology.levels[1:] for node in level.nodes}
            if unknown := sorted(set(self.recipe.units) - known):
                raise ValueError(f"`units` names {len(unknown)} nodes the topology does not have: {culprits(unknown)}.")
        resolved = resolve(self.topology)
        inputs = self.topology.levels[0]
        self._stages, self._origin = resolved.stages, resolved.origin
        pairs = {(name, stage.level) for stage in self._stages for name in stage.edges}
        if wirings and wirings.keys() != pairs:
            raise ValueError(
                f"`wirings` has {culprits(sorted(wirings))}; the network has edges {culprits(sorted(pairs))}."
            )
        self._units = {inputs.name: np.ones(len(inputs), dtype=np.int64)}
        for stage in self._stages:
            self._units[stage.level] = self.recipe.units_of_all(stage.nodes)
        self.scaling = InputScaling(len(inputs), n)
        batch_norm = self.recipe.normalisation == "batch"
        self.linears = nn.ModuleList(
            self._linear(
                stage.edges, self._units[stage.level], bias=not batch_norm,
                wired={name: wirings[name, stage.level] for name in stage.edges if wirings},
            )
            for stage in self._stages
        )  # fmt: skip
        widths = [int(self._units[stage.level].sum()) for stage in self._stages]
        self.norms = nn.ModuleList(BatchNorm(width, n) for width in widths if batch_norm)
        self.activations = nn.ModuleList(activation(self.recipe.activation) for _ in self._stages)
        nodes = rates.get("dropout", self.recipe.dropout)
        self.dropouts = nn.ModuleList(
            self._dropout(stage.level, self._rates_of(nodes, stage.level, len(stage.nodes), wirings))
            for stage in self._stages
        )
        entering = rates.get("input_dropout", self.recipe.input_dropout)
        self.input_dropout = self._dropout(inputs.name, self._rates_of(entering, inputs.name, len(inputs), wirings))
        self._heads = self._head_stages()
        ones = np.ones(self.n_targets, dtype=np.int64)
        self.head_linears = nn.ModuleList(self._linear(head.edges, ones) for head in self._heads)
        if self.n_covariates:
            edges = {COVARIATES: complete(np.arange(self.n_covariates), self.n_targets)}
            self._units[COVARIATES] = np.ones(self.n_covariates, dtype=np.int64)
            self.covariate_scaling = InputScaling(self.n_covariates, n)
            self.covariate_linear = self._linear(edges, ones, bias=False)
        if self.early:
            first = self._stages[0]
            edges = {COVARIATES: complete(np.arange(self.n_covariates), len(first.nodes))}
            self.early_linear = self._linear(edges, self._units[first.level], bias=False)
        self.register_buffer("output_scale", torch.ones(self.n_targets, n))
        self.register_buffer("output_shift", torch.zeros(self.n_targets, n))

    def _linear(
        self,
        edges: Mapping[str, np.ndarray],
        units: np.ndarray,
        *,
        bias: bool = True,
        wired: Mapping[str, np.ndarray] | None = None,
    ) -> SparseLinear:
        own = wired or {}
        graphs = {
            name: Graph(
                pairs, len(self._units[name]), len(units), units_in=self._units[name], units_out=units,
                sources=own.get(name),
            )
            for name, pairs in edges.items()
        }  # fmt: skip
        return SparseLinear(graphs, self.n_replicates, bias=bias)

    def _head_stages(self) -> list[Stage]:
        nodes = tuple(str(i) for i in range(self.n_targets))
        if self.recipe.heads == "outputs":
            attached = {"outputs": {level.name: self.topology.tops(level.name) for level in self.topology.levels[1:]}}
        else:
            own = {stage.level: np.flatnonzero(self.topology.level(stage.level).own) for stage in self._stages}
            attached = {level: {level: places} for level, places in own.items()}
        heads = []
        for name, members in attached.items():
            rows: dict[str, list[np.ndarray]] = {}
            for level, places in members.items():
                where, row = (values[places] for values in self._origin[level])
                for at in dict.fromkeys(where.tolist()):
                    rows.setdefault(self.topology.levels[at].name, []).append(row[where == at])
            edges = {level: complete(np.concatenate(found), self.n_targets) for level, found in rows.items()}
            heads.append(Stage(name, nodes, edges))
        return heads

    def _leading_out(
        self, level: str, wirings: Mapping[tuple[str, str], np.ndarray], replicate: int
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        pairs, fan_ins = [], []
        for stage in self._stages:
            if level in stage.edges:
                every = np.concatenate([edges[:, 1] for edges in stage.edges.values()])
                own = stage.edges[level]
                if wirings:
                    own = np.stack([wirings[level, stage.level][:, replicate], own[:, 1]], axis=1)
                pairs.append(own)
                fan_ins.append(np.bincount(every, minlength=len(stage.nodes)))
        return pairs, fan_ins

    def _rates_of(
        self, rate: float | np.ndarray, level: str, n_nodes: int, wirings: Mapping[tuple[str, str], np.ndarray]
    ) -> np.ndarray:
        """Of each node, or, with wirings or a rate of each replicate, of each node and replicate."""
        most = []
        for replicate in range(self.n_replicates) if wirings else [0]:
            pairs, fan_ins = self._leading_out(level, wirings, replicate)
            most.append(wired_rates(1.0, pairs, n_nodes, fan_ins))
        if not wirings and not isinstance(rate, np.ndarray):
            return np.minimum(most[0], rate)
        return np.minimum(np.stack(most, axis=1), rate)

    def _dropout(self, level: str, rates: np.ndarray) -> NodeDropout:
        return NodeDropout(level, rates, self._units[level], self._partners, self.seed)

    def _names(self, level: str) -> tuple[str, ...]:
        if level == COVARIATES:
            return tuple(str(i) for i in range(self.n_covariates))
        return self.topology.level(level).own_nodes

    def _draw_weights(self) -> None:
        hidden = gain(self.recipe.activation)
        self._draw_into(self.linears, self._stages, hidden, "")
        self._draw_into(self.head_linears, self._heads, 1.0, "head ")
        if self.n_covariates:
            nodes = tuple(str(i) for i in range(self.n_targets))
            edges = {COVARIATES: complete(np.arange(self.n_covariates), self.n_targets)}
            self._draw_into([self.covariate_linear], [Stage(COVARIATES, nodes, edges)], 1.0, "head ")

    def _draw_into(self, linears: Iterable[nn.Module], stages: Sequence[Stage], scale: float, prefix: str) -> None:
        for linear, stage in zip(linears, stages, strict=True):
            assert isinstance(linear, SparseLinear)
            units = np.ones(self.n_targets, dtype=np.int64) if prefix else self._units[stage.level]
            sources = {name: (self._names(name), self._units[name], edges) for name, edges in stage.edges.items()}
            weights = initial_weights(
                prefix + stage.level,
                stage.nodes,
                units,
                sources,
                gain=scale,
                seed=self.seed,
                replicates=self._partners,
            )
            with torch.no_grad():
                for name, parameter in zip(linear.sources, linear.weights, strict=True):
                    parameter.copy_(torch.from_numpy(weights[name]))

    # Computing.

    def forward(
        self, x: Float[Tensor, "batch n_in"] | Packed, covariates: Float[Tensor, "batch n_covariates"] | None = None
    ) -> Float[Tensor, "batch n_replicates n_targets"]:
        """The deployed logits.

        Parameters
        ----------
        x
            Raw inputs in the order of `topology.inputs`, NaN where missing; or packed genotypes.
        covariates
            For a network that has them.

        Returns
        -------
        Tensor
            Log-odds, class logits, or the predicted quantity in its own units.
        """
        return self.deployed(self.heads(x, covariates))

    def deployed(self, heads: Mapping[str, Tensor]) -> Tensor:
        """The mean of the heads, in the units of the target."""
        return sum(heads.values()) / len(heads) * self.output_scale.T + self.output_shift.T

    def heads(
        self,
        x: Float[Tensor, "batch n_in"] | Packed | Signal,
        covariates: Float[Tensor, "batch n_covariates"] | None = None,
        *,
        weights: Float[Tensor, "n_replicates batch"] | None = None,
        draw: Draw | None = None,
    ) -> dict[str, Tensor]:
        """Logits of every head before they are combined, by its name, each (batch, R, n_targets).

        Parameters
        ----------
        x, covariates
            As for the network itself.
        weights
            Weight of each sample in each replicate; they enter the batch statistics. All 1 unless given.
        draw
            What dropout depends on; needed in training when the recipe has dropout.
        """
        return self.outcome(x, covariates, weights=weights, draw=draw)[0]

    def outcome(
        self,
        x: Float[Tensor, "batch n_in"] | Packed | Signal,
        covariates: Float[Tensor, "batch n_covariates"] | None = None,
        *,
        weights: Float[Tensor, "n_replicates batch"] | None = None,
        draw: Draw | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What `heads` returns, and the values of every computed level in the inner layout, (n_units, R, padded batch)."""
        signal = x if isinstance(x, Signal) else self.entrance(x)
        beside = self._beside(covariates, signal.n_samples, signal.width)
        if beside is not None:
            late = self._of_covariates(self.covariate_linear, beside)
            signal = signal._replace(covariates=beside) if self.early else signal
        values = self._run(signal, weights, draw)["activation"]
        heads = {}
        for head, linear in zip(self._heads, self.head_linears, strict=True):
            logits = linear(values, {})
            heads[head.level] = (logits if beside is None else logits + late)[:, :, : signal.n_samples].permute(2, 1, 0)
        return heads, values

    def activities(
        self,
        x: Tensor | Packed | Signal,
        covariates: Tensor | None = None,
        *,
        after: After = "activation",
        weights: Tensor | None = None,
        draw: Draw | None = None,
    ) -> dict[str, Tensor]:
        """Values of every node above the inputs, by level, each (batch, R, n_units).

        Columns follow the nodes of the level, copies included; a node of k units has k columns side by
        side, `units` says how many.

        Parameters
        ----------
        x
            Raw inputs, shape (batch, n_in).
        covariates
            Shape (batch, n_covariates), for a network whose nodes read them.
        after
            "product" (weighted sum and bias), "normalisation" or "activation".
        """
        choose("`after`", after, ("product", "normalisation", "activation"))
        signal = x if isinstance(x, Signal) else self.entrance(x)
        if covariates is not None:
            signal = self.beside(signal, covariates)
        values = dict(self._run(signal, weights, draw)[after])
        if any(level.copies for level in self.topology.levels):
            values[self.topology.levels[0].name] = self.scaling.apply_to(signal)
        return {
            level.name: self._rows_of(level, values)[:, :, : signal.n_samples].permute(2, 1, 0)
            for level in self.topology.levels[1:]
        }

    def units(self, level: str) -> np.ndarray:
        """Units of each node of a level, copies included."""
        where, row = self._origin[level]
        units = np.empty(len(row), dtype=np.int64)
        for at in np.unique(where):
            units[where == at] = self._units[self.topology.levels[at].name][row[where == at]]
        return units

    def own_units(self, level: str) -> np.ndarray:
        """Units of each node that a level computes itself, copies left out."""
        return self._units[level]

    def own_nodes(self, level: str) -> tuple[str, ...]:
        """Ids of the nodes that a level computes itself."""
        return self._names(level)

    def entrance(self, x: Tensor | Packed) -> Signal:
        """User tensors (batch, n_in) as the network holds them: feature-major, padded, missing values apart.

        Packed genotypes stay as they are.
        """
        if isinstance(x, Packed):
            return self.signal(x)
        if x.dim() != 2 or x.shape[1] != len(self.topology.inputs):
            raise AlignmentError(
                f"`x` has shape {tuple(x.shape)}; the network needs (batch, {len(self.topology.inputs):,}), "
                "columns in the order of `topology.inputs`."
            )
        return self.signal(x.T)

    def signal(self, columns: Tensor | Packed | PackedPeople, at: Tensor | None = None) -> Signal:
        """Feature-major values (n_in, n) of the samples `at` (int64; all unless given), padded to whole lanes.

        They are NaN where missing; of genotypes, their codebook is.
        """
        if isinstance(columns, PackedPeople):
            columns = columns[:, slice(None) if at is None else at]
        if isinstance(columns, Packed):
            return self._packed_signal(columns)
        columns = columns.to(self.output_scale.dtype)
        n_samples = columns.shape[1] if at is None else len(at)
        width = n_samples + _padding(n_samples)
        plain = at is None or columns.requires_grad or traced(columns)
        module = reference if plain else active(columns.device)
        take = getattr(module, "columns", reference.columns)
        values, missing = take(columns, at, width, imputes=self.imputes)
        return Signal(values, missing, n_samples)

    def beside(self, signal: Signal, covariates: Tensor | None) -> Signal:
        """The signal with raw covariates (batch, n_covariates) beside it, where nodes read them."""
        if not self.early:
            return signal
        return signal._replace(covariates=self._beside(covariates, signal.n_samples, signal.width))

    def _packed_signal(self, packed: Packed) -> Signal:
        if packed.codes.shape[1] != len(self.topology.inputs):
            raise AlignmentError(
                f"`x` holds {packed.codes.shape[1]:,} variants; the network has {len(self.topology.inputs):,} inputs, "
                "which must be the same variants in the order of `topology.inputs`."
            )
        book = packed.codebook.to(self.output_scale.dtype)
        whole = packed._replace(batch=PANEL * len(packed.panels), codebook=book)
        if packed.scaled or not self.imputes:
            return Signal(whole, None, packed.batch, packed.scaled)
        gaps = torch.isnan(book)
        missing = whole._replace(codebook=gaps.to(book.dtype))
        return Signal(whole._replace(codebook=book.masked_fill(gaps, 0.0)), missing, packed.batch)

    @property
    def layers(self) -> list[tuple[Stage, SparseLinear]]:
        """Every level as it is computed, copies replaced by what they repeat, with its product."""
        return [(stage, linear) for stage, (_, linear, _) in zip(self._stages, self._named_linears(), strict=False)]

    @property
    def head_layers(self) -> list[SparseLinear]:
        """The products of the heads."""
        return [linear for key, linear, _ in self._named_linears() if key.startswith("head")]

    def trace(self, signal: Signal) -> dict[str, dict[str, Tensor]]:
        """Values of every computed level by where they are read, "product", "normalisation", "activation", in the inner layout.

        The inner layout is (n_units, R, batch), padding behind `signal.n_samples` included; copies are not in it.
        """
        return self._run(signal, None, None)

    def _run(self, signal: Signal, weights: Tensor | None, draw: Draw | None) -> dict[str, dict[str, Tensor]]:
        padding = signal.width - signal.n_samples
        share = self._share(weights, signal.n_samples, padding) if self.training else None
        if draw is not None:
            draw = Draw(draw.step, pad(draw.samples, (0, padding)))
        inputs = self.topology.levels[0].name
        values: dict[str, Tensor | Signal] = {inputs: signal}
        if self.training and self.drops_inputs:
            values[inputs] = self.input_dropout(self.scaling.apply_to(signal), draw)
        products: dict[str, Tensor] = {}
        normalised: dict[str, Tensor] = {}
        active: dict[str, Tensor] = {}
        for i, stage in enumerate(self._stages):
            h = self.linears[i](values, self._scalings)
            if self.early and i == 0:
                h = h + self.entering(signal)
            products[stage.level] = h
            if self.norms:
                h = self.norms[i](h, share)
            normalised[stage.level] = h
            values[stage.level] = active[stage.level] = self.dropouts[i](self.activations[i](h), draw)
        return {"product": products, "normalisation": normalised, "activation": active}

    def entering(self, signal: Signal) -> Tensor:
        """What covariates add to the products of the first level, (n_units, R, batch).

        Raises
        ------
        AlignmentError
            If the signal has none beside it.
        """
        if signal.covariates is None:
            raise AlignmentError(
                f"the nodes of {self._stages[0].level!r} read {self.n_covariates} columns of covariates, and none were given. "
                "Give them beside the inputs: network.activities(x, covariates)."
            )
        return self._of_covariates(self.early_linear, signal.covariates)

    def _of_covariates(self, linear: SparseLinear, columns: Tensor) -> Tensor:
        signal = Signal(columns, None, columns.shape[2])
        made: Tensor = linear({COVARIATES: signal}, {COVARIATES: self.covariate_scaling})
        return made

    def _share(self, weights: Tensor | None, n_samples: int, padding: int) -> Tensor:
        if weights is None:
            weights = self.output_scale.new_ones(self.n_replicates, n_samples)
        if weights.shape != (self.n_replicates, n_samples):
            raise ValueError(
                f"`weights` has shape {tuple(weights.shape)}; it needs ({self.n_replicates}, {n_samples}): replicates, samples."
            )
        total = weights.sum(1, keepdim=True)
        return pad(weights / torch.where(total > 0, total, 1.0), (0, padding))

    @property
    def _scalings(self) -> dict[str, InputScaling]:
        return {self.topology.levels[0].name: self.scaling}

    def _beside(self, covariates: Tensor | None, n_samples: int, width: int) -> Tensor | None:
        given = None if covariates is None else tuple(covariates.shape)
        needed = (n_samples, self.n_covariates) if self.n_covariates else None
        if given != needed:
            raise AlignmentError(f"`covariates` has shape {given}; this network needs {needed}: samples, columns.")
        if covariates is None:
            return None
        columns = covariates.T.to(self.output_scale.dtype)
        return pad(columns, (0, width - n_samples)).contiguous()[:, None, :]

    def _rows_of(self, level: Level, values: Mapping[str, Tensor]) -> Tensor:
        if not level.copies:
            return values[level.name]
        rows = []
        for where, row in zip(*self._origin[level.name], strict=True):
            name = self.topology.levels[where].name
            first = int(self._units[name][:row].sum())
            rows.append(values[name][first : first + int(self._units[name][row])])
        return torch.cat(rows)

    # Other forms of the same network.

    def replicates(self, ids: Sequence[int | str]) -> VisibleNetwork:
        """An independent copy with some of the replicates, by position or name, in the order asked for."""
        known = {name: i for i, name in enumerate(self.replicate_names)}
        if unknown := [i for i in ids if i not in known and not (isinstance(i, int) and 0 <= i < self.n_replicates)]:
            raise ValueError(
                f"there are no replicates {culprits(unknown)}; there are {self.n_replicates}: {culprits(self.replicate_names)}."
            )
        at = [known[i] if isinstance(i, str) else i for i in ids]
        made = of_replicates(self, at)
        made.replicate_names = tuple(self.replicate_names[i] for i in at)
        made._partners = tuple(self._partners[i] for i in at)
        return made

    def dense(self, replicate: int | str = 0) -> DenseNetwork:
        """The same function of one replicate in plain masked `nn.Linear` modules, (batch, n_in) to (batch, n_targets).

        Written from the literal topology, copies included, so that it is an oracle of the sparse program,
        and what Captum and rivals are given. A network with covariates takes them as a second argument.

        Raises
        ------
        ValueError
            If the replicates are wired in their own way, which the topology does not say.
        """
        if self.wirings:
            raise ValueError(
                "these replicates are wired in their own way; make a network of `rewired_topology(wirings, draw)` instead."
            )
        return DenseNetwork(self.replicates([replicate]))

    def arrays(self) -> dict[str, str]:
        """Name of every saved array by what it is ("level 1/weight from inputs") and its key in `state_dict`."""
        named = {}
        for key, linear, where in self._named_linears():
            for j, source in enumerate(linear.sources):
                named[f"{where}/weight from {source}"] = f"{key}.weights.{j}"
            if linear.bias is not None:
                named[f"{where}/bias"] = f"{key}.bias"
        for i, stage in enumerate(self._stages if self.norms else ()):
            named |= {
                f"{stage.level}/batch-norm {what}": f"norms.{i}.{what}" for what in ("gain", "bias", "mean", "variance")
            }
        for what in ("scale", "shift", "fill"):
            named[f"{self.topology.levels[0].name}/{what}"] = f"scaling.{what}"
        if self.n_covariates:
            named[f"{COVARIATES}/weight"] = "covariate_linear.weights.0"
            named |= {f"{COVARIATES}/{what}": f"covariate_scaling.{what}" for what in ("scale", "shift", "fill")}
        if self.early:
            named[f"{self._stages[0].level}/weight from {COVARIATES}"] = "early_linear.weights.0"
        named |= {"output/scale": "output_scale", "output/shift": "output_shift"}
        if missed := self.state_dict().keys() - set(named.values()):
            raise RuntimeError(f"arrays without a name: {culprits(sorted(missed))}.")
        return named

    def _named_linears(self) -> Iterator[tuple[str, SparseLinear, str]]:
        for i, (linear, stage) in enumerate(zip(self.linears, self._stages, strict=True)):
            assert isinstance(linear, SparseLinear)
            yield f"linears.{i}", linear, stage.level
        for i, (linear, stage) in enumerate(zip(self.head_linears, self._heads, strict=True)):
            assert isinstance(linear, SparseLinear)
            yield f"head_linears.{i}", linear, f"head {stage.level}"

    def extra_repr(self) -> str:
        return f"{self.topology!r}, {self.n_replicates} replicates, {self.n_targets} targets"


def _padding(n_samples: int) -> int:
    """Columns up to whole lanes; none in a traced graph, whose batch may be of any size."""
    return 0 if torch.compiler.is_compiling() else -n_samples % LANES

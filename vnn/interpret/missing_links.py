"""Missing links: which gene belongs to which term, by networks that were trained without knowing.

Some annotations are hidden, networks are trained on the wiring that is left, and every absent edge from a
gene to a term is scored by what it would do in them. How well the hidden ones come first is the test; what they
score says how far to believe in edges that no ontology has.

For a term with weighted input z and multiplier m (the derivative of a logit to z), a gene with value x, and the
residual r (the derivative of the log likelihood to that logit), all on samples that the network never saw:

    gradient = mean over samples of |m| r x       what an edge with the sign of the term would do to the likelihood
    likeness = correlation of x and sign(m) z     whether the gene behaves as what the term reads
    score    = |gradient x likeness|              both averaged over splits and seeds before

The gradient alone asks for every gene that predicts, in whichever term leads to the prediction; likeness alone knows
nothing of the prediction. `docs/missing_links.md` has the measurements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.metrics import average_precision_score

from vnn._errors import AlignmentError, OntologyError, culprits
from vnn.chance import generator
from vnn.data.samples import Samples
from vnn.data.scaling import fit_scaling
from vnn.data.splits import Split
from vnn.interpret.deeplift import DeepLift
from vnn.interpret.scores import node_scores
from vnn.models import Recipe
from vnn.models.wiring import resolve
from vnn.ontology import Topology
from vnn.training import Fit, Training, fit
from vnn.training.cox import PartialLikelihood
from vnn.training.interval import interval

NETWORK, PERMUTED = "network", "network, labels permuted"
TRIVIAL = ("gene degree x term size", "co-expression", "semantic overlap")
ALL, USED = "all terms", "terms the networks use"
LEAST_GENES = 3  # that a term keeps when others are hidden
GENES = "genes"  # level of `Ontology.topology(gene_level=True)`
BINS = 3
AT_ONCE = 256
TIMES_THE_MEAN, MOST_NEEDED = 3.0, 0.5
FLAT = 1e-12


@dataclass(frozen=True, eq=False)
class MissingLinks:
    """Proposed annotations, and how far hidden ones were recovered.

    Parameters
    ----------
    table
        The absent pairs with the smallest q: gene, term, name, level, score (mean over repetitions), tail (share of absent
        pairs that score at least as much), q, co_expression (mean squared correlation with the genes of the term),
        gene_degree, term_size, used (in how many repetitions the term was among those the networks use).
    recovery
        One row per scope and ranking: average_precision over the repetitions with low and high; gain over the best trivial
        ranking of each repetition with gain_low and gain_high; chance (the share of pairs that are hidden ones), n_hidden,
        n_pairs (means), n_repetitions. Intervals are 95 % t intervals over repetitions: over what was hidden, not over people.
    by_repetition
        What these are means of: repetition, scope, ranking, average_precision, n_hidden, n_pairs.
    hidden
        Every annotation when it was hidden: repetition, gene, term, score, tail, used.
    missing_share
        Links taken to be missing from the ontology over those it has.
    """

    table: pd.DataFrame
    recovery: pd.DataFrame
    by_repetition: pd.DataFrame
    hidden: pd.DataFrame
    missing_share: float

    @property
    def assumption(self) -> str:
        """What q rests on, in words."""
        return (
            f"q is the expected share of wrong links among pairs that score at least as much, if the ontology lacks "
            f"{self.missing_share:.0%} as many annotations as it has and these score as the hidden ones did, in terms the networks "
            "use and in others apart. All absent pairs count as wrong, which makes q too large rather than too small. Links that "
            "are missing because nobody studied the gene may score differently from those that were hidden."
        )

    @property
    def words(self) -> tuple[str, ...]:
        """What was recovered, a sentence per scope."""
        found = []
        for scope, part in self.recovery.groupby("scope", sort=False):
            rows = part.set_index("ranking").to_dict("index")
            row = rows[NETWORK]
            if not row["n_repetitions"]:
                found.append(f"{scope}: there are none with hidden annotations, so nothing can be said.")
                continue
            best = max(TRIVIAL, key=lambda name: float(rows[name]["average_precision"]))
            verdict = (
                "Better than"
                if row["gain_low"] > 0
                else "Not better than"
                if row["gain"] < 0
                else "Not shown to be better than"
            )
            permuted = f", with permuted labels {rows[PERMUTED]['average_precision']:.3f}" if PERMUTED in rows else ""
            found.append(
                f"{scope}: average precision {row['average_precision']:.3f}{permuted}, by chance {row['chance']:.3f}; best trivial "
                f"ranking, {best}, {rows[best]['average_precision']:.3f}; gain {row['gain']:+.3f}, 95 % interval "
                f"{row['gain_low']:+.3f} to {row['gain_high']:+.3f} over {row['n_repetitions']} repetitions. {verdict} the trivial "
                "rankings."
            )
        return tuple(found)


def missing_links(
    topology: Topology,
    samples: Samples,
    *,
    target: str,
    splits: Sequence[Split],
    event: str | None = None,
    task: str | None = None,
    classes: Sequence[str] | None = None,
    repetitions: int = 5,
    missing: float | None = None,
    n_seeds: int = 2,
    label_draws: int = 1,
    recipe: Recipe | None = None,
    training: Training | None = None,
    seed: int = 0,
    most: int = 1000,
) -> MissingLinks:
    """Hide annotations, see whether networks recover them, and propose absent ones with a q.

    The annotations are dealt into as many parts as there are repetitions, genes of few and of many annotations and terms of few
    and of many genes evenly; each part is hidden once, and a term keeps at least three genes. Networks are trained on the
    rest, once on the labels and once on permuted ones, for every split and seed. Candidates are all features of `samples`,
    also those without any annotation, with all terms that have genes of their own; pairs the ontology implies (the gene is in
    a term below) are none. An annotation that a term also has from a term below is never hidden.

    Networks can only tell links of terms that lead to the prediction. Recovery is therefore given twice: over all terms, and
    over those the networks use: by `node_scores` of the same networks the share of the term is at least three times the mean
    of its level (half of the level where it has few terms), and its interval over splits leaves out 0.

    Parameters
    ----------
    topology
        The wiring, from inputs to terms; an edge from an input is an annotation.
    samples, target, splits, event, task, classes, recipe, training, seed
        As for `vnn.training.fit`. Every sample should be in a test part.
    repetitions
        Parts of the annotations; in each repetition one is hidden.
    missing
        Links the ontology is taken to lack, over those it has; one part unless given. See `MissingLinks.assumption`.
    n_seeds, label_draws
        Networks per split, and permutations of the labels; 0 leaves them out.
    most
        Rows of the table of proposals.

    Raises
    ------
    OntologyError
        If the wiring has a level of genes, or nothing can be hidden.
    AlignmentError
        If an input is not measured.
    ValueError
        If a number is out of range.

    References
    ----------
    Elkan & Noto (2008), doi:10.1145/1401890.1401920, for learning from positive and unlabelled examples.
    """
    _check(missing, repetitions, label_draws, splits)
    known = Annotations.of(topology, samples.features)
    train = partial(
        fit, samples=samples, target=target, splits=splits, event=event, task=task, classes=classes, n_seeds=n_seeds,
        recipe=recipe, training=training, seed=seed,
    )  # fmt: skip
    measured = _correlated(samples)
    rows: list[tuple[int, str, str, float, int, int]] = []
    asked = []
    for repetition, chosen in enumerate(known.parts(repetitions, seed=seed)):
        left = known.without(chosen)
        real = train(left)
        score = pair_scores(real, samples, known)
        rankings = {NETWORK: [score]}
        if label_draws:
            null = train(left, kind="labels", draws=range(label_draws))
            rankings[PERMUTED] = [pair_scores(null, samples, known, draw=draw) for draw in range(label_draws)]
        trivial = trivial_rankings(known, chosen, measured)
        rankings |= {name: [values] for name, values in zip(TRIVIAL, trivial, strict=True)}
        used = used_terms(real, samples, known)
        positive = known.pairs(chosen)
        for scope, terms in ((ALL, np.ones_like(used)), (USED, used)):
            among = (~known.member | positive) & terms[:, None]
            truth = positive[among]
            for ranking, values in rankings.items():
                precision = float(np.mean([_precision(truth, one[among]) for one in values]))
                rows.append((repetition, scope, ranking, precision, int(truth.sum()), truth.size))
        asked.append(_Asked(chosen, score, used, tails(known, score, used)))
    by_repetition = pd.DataFrame(
        rows, columns=["repetition", "scope", "ranking", "average_precision", "n_hidden", "n_pairs"]
    )
    hidden = pd.concat([one.hidden(known).assign(repetition=i) for i, one in enumerate(asked)], ignore_index=True)
    assumed = 1 / repetitions if missing is None else missing
    table = _proposals(known, asked, hidden, assumed, trivial_rankings(known, (), measured)[1], most)
    order = ["repetition", "gene", "term", "score", "tail", "used"]
    return MissingLinks(table, recovery_of(by_repetition), by_repetition, hidden[order], assumed)


@dataclass(frozen=True, eq=False)
class _Asked:
    """One repetition: what was hidden, and by term and gene what the networks said, (n_terms, n_genes); used is (n_terms,)."""

    chosen: tuple[tuple[str, str], ...]
    score: np.ndarray
    used: np.ndarray
    tail: np.ndarray

    def hidden(self, known: Annotations) -> pd.DataFrame:
        term_at, gene_at = known.term_at, known.gene_at
        rows = [
            (gene, term, self.score[at], self.tail[at], self.used[at[0]])
            for gene, term in self.chosen
            for at in [(term_at[term], gene_at[gene])]
        ]
        return pd.DataFrame(rows, columns=["gene", "term", "score", "tail", "used"])


def _proposals(
    known: Annotations, asked: Sequence[_Asked], hidden: pd.DataFrame, missing: float, likeness: np.ndarray, most: int
) -> pd.DataFrame:
    absent = ~known.member
    q = np.zeros(absent.shape)
    for one in asked:
        for used in (True, False):
            stratum = one.used == used
            pairs = absent & stratum[:, None]
            mine = hidden.loc[hidden["used"] == used, "tail"].to_numpy(dtype=float)
            n_missing = missing * int(known.direct[stratum].sum())
            q[pairs] += expected_error(one.tail[pairs], mine, n_missing) / len(asked)
    score = np.mean([one.score for one in asked], axis=0)
    row, column = np.nonzero(absent)
    order = np.lexsort((-score[absent], q[absent]))[:most]
    row, column = row[order], column[order]
    label = known.topology.label
    return pd.DataFrame(
        {
            "gene": [known.genes[i] for i in column],
            "term": [known.terms[i][1] for i in row],
            "name": [label(known.terms[i][1]) for i in row],
            "level": [known.terms[i][0] for i in row],
            "score": score[row, column],
            "tail": np.mean([one.tail[row, column] for one in asked], axis=0),
            "q": q[row, column],
            "co_expression": likeness[row, column],
            "gene_degree": known.direct.sum(0)[column],
            "term_size": known.direct.sum(1)[row],
            "used": np.sum([one.used for one in asked], axis=0)[row],
        }
    )


@dataclass(frozen=True, eq=False)
class Annotations:
    """Which gene is annotated to which term, and which edges can be hidden.

    Parameters
    ----------
    topology
        The wiring, copies replaced by what they repeat.
    genes, terms
        Candidates: all features, and all terms with genes of their own, as (level, node).
    direct, member
        Whether there is an edge, and whether the term has the gene at all, its terms below included; (n_terms, n_genes).
    lonely
        Edges without which the term would not have the gene.
    """

    topology: Topology
    genes: tuple[str, ...]
    terms: tuple[tuple[str, str], ...]
    direct: np.ndarray
    member: np.ndarray
    lonely: np.ndarray

    @classmethod
    def of(cls, topology: Topology, features: Sequence[str]) -> Annotations:
        """Those of a wiring, with these candidate genes."""
        if any(level.name == GENES for level in topology.levels):
            raise OntologyError(
                f"the wiring has a level {GENES!r} between inputs and terms, so that its inputs are not genes. Make it with "
                "gene_level=False, one feature per gene."
            )
        known = set(features)
        if absent := [name for name in topology.inputs if name not in known]:
            raise AlignmentError(
                f"`samples` lacks {len(absent):,} of the {len(topology.inputs):,} inputs of the wiring: {culprits(absent)}. "
                "Make the topology from the features of these samples."
            )
        plain = without_copies(topology)
        inputs = plain.levels[0].name
        masks = [mask for mask in plain.masks if mask.source_level == inputs]
        terms = tuple((mask.target_level, mask.targets[i]) for mask in masks for i in np.unique(mask.edges[:, 1]))
        at = {name: i for i, name in enumerate(features)}
        columns = np.array([at[name] for name in plain.inputs])

        def spread(by_level: Mapping[str, sparse.csr_array]) -> np.ndarray:
            found = np.zeros((len(terms), len(features)), dtype=bool)
            for level, matrix in by_level.items():
                row = {node: i for i, node in enumerate(plain.level(level).nodes)}
                mine = np.array([i for i, (where, _) in enumerate(terms) if where == level], dtype=int)
                found[np.ix_(mine, columns)] = matrix.tocsr()[[row[terms[i][1]] for i in mine]].toarray() > 0
            return found

        below = {mask.target_level: sparse.csr_array((len(mask.targets), len(plain.inputs))) for mask in masks}
        for mask in plain.masks:
            if mask.target_level in below and mask.source_level != inputs:
                below[mask.target_level] += mask.to_scipy() @ plain.members[mask.source_level].astype(np.float32)
        direct = spread({mask.target_level: mask.to_scipy() for mask in masks})
        member = spread({mask.target_level: plain.members[mask.target_level] for mask in masks})
        return cls(plain, tuple(features), terms, direct, member, direct & ~spread(below))

    @property
    def n_edges(self) -> int:
        """Number of annotations."""
        return int(self.direct.sum())

    @property
    def term_at(self) -> dict[str, int]:
        """Row of each term."""
        return {node: i for i, (_, node) in enumerate(self.terms)}

    @property
    def gene_at(self) -> dict[str, int]:
        """Column of each gene."""
        return {name: i for i, name in enumerate(self.genes)}

    def parts(self, n: int, *, seed: int) -> list[tuple[tuple[str, str], ...]]:
        """The (gene, term) to hide in each of n repetitions; together all that may be hidden, none twice.

        Gene degrees, term sizes and terms are spread evenly. What would leave a term with too few genes stays.

        Raises
        ------
        OntologyError
            If a part holds nothing.
        """
        row, column = np.nonzero(self.lonely)
        degree, size = self.direct.sum(0), self.direct.sum(1)
        rng = generator(seed, "hidden links")
        order = np.lexsort((rng.random(len(row)), row, _bin(degree)[column], _bin(size)[row]))
        part = np.empty(len(order), dtype=int)
        part[order] = (np.arange(len(order)) + rng.integers(n)) % n
        found = []
        for k in range(n):
            left, chosen = size.copy(), []
            for i in np.flatnonzero(part == k):
                if left[row[i]] > LEAST_GENES:
                    left[row[i]] -= 1
                    chosen.append((self.genes[column[i]], self.terms[row[i]][1]))
            found.append(tuple(sorted(chosen)))
        if empty := sum(not chosen for chosen in found):
            raise OntologyError(
                f"{empty} of {n} repetitions have nothing to hide: {len(row):,} of {self.n_edges:,} annotations are not also in a "
                f"term below, and a term keeps at least {LEAST_GENES} genes of its own. Use larger terms or fewer repetitions."
            )
        return found

    def pairs(self, chosen: Sequence[tuple[str, str]]) -> np.ndarray:
        """Some (gene, term) as a mask, (n_terms, n_genes)."""
        found = np.zeros_like(self.direct)
        term_at, gene_at = self.term_at, self.gene_at
        for gene, term in chosen:
            found[term_at[term], gene_at[gene]] = True
        return found

    def without(self, chosen: Sequence[tuple[str, str]]) -> Topology:
        """The wiring without these annotations; a gene that has no other is no input of it."""
        edges = self.topology.to_edges()
        inputs = self.topology.levels[0].name
        gone = pd.MultiIndex.from_frame(edges[["source", "target"]]).isin(set(chosen))
        edges = edges[~(gone & (edges["source_level"] == inputs).to_numpy())]
        levels = {level.name: level.nodes for level in self.topology.levels}
        levels[inputs] = tuple(sorted(set(edges.loc[edges["source_level"] == inputs, "source"])))
        return Topology.from_edges(
            levels, edges, names=self.topology.names, log=self.topology.log, provenance=self.topology.provenance
        )


def without_copies(topology: Topology) -> Topology:
    """The same network with true skip edges in place of identity copies."""
    if not any(level.copies for level in topology.levels):
        return topology
    stages = resolve(topology).stages
    levels = {topology.levels[0].name: topology.inputs} | {stage.level: stage.nodes for stage in stages}
    parts = [
        pd.DataFrame(
            {
                "source_level": source,
                "source": np.array(levels[source], dtype=object)[pairs[:, 0]],
                "target_level": stage.level,
                "target": np.array(stage.nodes, dtype=object)[pairs[:, 1]],
            }
        )
        for stage in stages
        for source, pairs in stage.edges.items()
    ]
    return Topology.from_edges(
        levels, pd.concat(parts), names=topology.names, log=topology.log, provenance=topology.provenance
    )


def pair_scores(made: Fit, samples: Samples, known: Annotations, *, draw: int | None = None) -> np.ndarray:
    """The score of every term with every gene, (n_terms, n_genes), on samples that each network never saw.

    Parameters
    ----------
    made
        Networks trained without what is hidden; those that diverged are left out. A null of the labels is
        asked about the labels it learnt.
    samples, known
        Of the study.
    draw
        Only the networks of this draw of a null.
    """
    n_outputs = made.target.n_outputs
    gradient = np.zeros((n_outputs, len(known.terms), len(known.genes)))
    likeness = np.zeros_like(gradient)
    n_networks = 0
    for part in _parts(made, samples, known, draw):
        for k in range(n_outputs):
            for r in range(part.product.shape[1]):
                turned = np.sign(part.multiplier[k, :, r].mean(-1, keepdims=True))
                pushed = turned * part.multiplier[k, :, r] * part.residual[k, r]
                z = turned * _standard(part.product[:, r])
                n = part.genes.shape[1]
                gradient[k] += _by_node(pushed @ part.genes.T / n, part.units)
                likeness[k] += _by_node(z @ _standard(part.genes).T / n, part.units)
        n_networks += part.product.shape[1]
    if not n_networks:
        raise ValueError("no network held any sample out, so that pairs cannot be scored; use splits with test parts.")
    found: np.ndarray = np.abs(gradient * likeness).sum(0) / n_networks**2
    return found


@dataclass(frozen=True, eq=False)
class _Part:
    """The networks of a split on its test part.

    Parameters
    ----------
    genes
        In standard deviations of the training part around the mean of the test part, (n_genes, n).
    multiplier, product
        Derivative of each logit to what each unit reads, and what it reads, units of the terms in their order:
        (n_logits, n_units, R, n) and (n_units, R, n).
    residual
        Derivative of the log likelihood to each logit, (n_logits, R, n).
    units
        Number of units of each term.
    """

    genes: np.ndarray
    multiplier: np.ndarray
    product: np.ndarray
    residual: np.ndarray
    units: np.ndarray


def _parts(made: Fit, samples: Samples, known: Annotations, draw: int | None) -> Iterator[_Part]:
    sound = made.sound
    table = made.replicates.iloc[sound]
    mine = np.ones(len(sound), bool) if draw is None else (table["draw"] == draw).to_numpy()
    for split in made.splits:
        replicates = np.flatnonzero(mine & (table["split"] == split.name).to_numpy()).tolist()
        if not replicates or not split.test:
            continue
        part = samples.select(ids=split.test)
        scaling = fit_scaling(samples.values[:, samples.index(split.train)], impute="mean")
        genes = scaling.apply(part.values)
        genes -= genes.mean(1, keepdims=True)
        multiplier, product, units = _read(made, part, known, replicates)
        yield _Part(genes, multiplier, product, _residual(made, part, sound[replicates], replicates), units)


@torch.no_grad()
def _read(
    made: Fit, part: Samples, known: Annotations, replicates: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Multipliers and products of the terms of the candidates, and their units."""
    values, covariates, networks = made.columns(part, replicates)
    machine = DeepLift(networks)
    levels = list(dict.fromkeys(level for level, _ in known.terms))
    at, units = {}, {}
    for level in levels:
        row = {node: i for i, node in enumerate(networks.own_nodes(level))}
        own = networks.own_units(level)
        wanted = [row[node] for where, node in known.terms if where == level]
        first = np.cumsum(own) - own
        at[level] = np.concatenate([np.arange(first[i], first[i] + own[i]) for i in wanted])
        units[level] = own[wanted]
    none = None if covariates is None else torch.zeros(covariates.shape[1], networks.n_replicates)
    multipliers, products = [], []
    for columns in torch.arange(values.shape[1]).split(AT_ONCE):
        late = None if covariates is None else covariates[columns]
        signal = networks.beside(networks.signal(values[:, columns]), late)
        n = signal.n_samples
        comparison = machine.compare(signal, signal, late, none)
        held = networks.trace(signal)["product"]
        by_logit = [machine.explain(comparison, one).multipliers for one in torch.eye(networks.n_targets)]
        multipliers.append(
            np.stack(
                [np.concatenate([found[level][at[level], :, :n].numpy() for level in levels]) for found in by_logit]
            )
        )
        products.append(np.concatenate([held[level][at[level], :, :n].numpy() for level in levels]))
    return (
        np.concatenate(multipliers, axis=-1).astype(np.float64),
        np.concatenate(products, axis=-1).astype(np.float64),
        np.concatenate([units[level] for level in levels]),
    )


def _residual(made: Fit, part: Samples, networks: np.ndarray, replicates: list[int]) -> np.ndarray:
    """Derivative of the log likelihood to each logit, (n_logits, R, n_samples)."""
    at = {name: i for i, name in enumerate(made.ids)}
    mine = [at[i] for i in part.ids]
    predicted = made.predict(part).values[:, replicates]
    found = []
    for j, r in enumerate(networks):
        truth = made.target.truth[mine] if made.labels is None else made.labels[r][mine]
        held = predicted[:, j]
        if made.target.task == "cox":
            found.append(PartialLikelihood(truth[:, 0], truth[:, 1])(held[:, 0])[1][None])
        elif made.target.task == "multiclass":
            found.append(((truth[:, None] == np.arange(held.shape[1])) - held).T)
        else:
            found.append((truth - held[:, -1])[None])
    return np.stack(found, axis=1).astype(np.float64)


def used_terms(made: Fit, samples: Samples, known: Annotations) -> np.ndarray:
    """Whether the networks use each term for any contrast; see `missing_links`."""
    table = node_scores(made, samples).table
    n_nodes = table.groupby(["level", "contrast"])["node"].transform("size")
    large = table["share"].abs() >= np.minimum(TIMES_THE_MEAN / n_nodes, MOST_NEEDED)
    sure = ~(table["share_low"] * table["share_high"] <= 0)
    used = set(table.loc[large & sure, ["level", "node"]].itertuples(index=False, name=None))
    return np.array([term in used for term in known.terms], dtype=bool)


def trivial_rankings(
    known: Annotations, chosen: Sequence[tuple[str, str]], values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What needs no network, in the order of `TRIVIAL`, each (n_terms, n_genes), without what is hidden.

    Gene degree times term size; mean squared correlation of the gene with the genes of the term, itself left out; largest
    Jaccard index of the genes of the term and of any other term the gene is annotated to.

    Parameters
    ----------
    known, chosen
        Annotations, and which of them are hidden.
    values
        Standardised values of the candidate genes, (n_genes, n_samples).
    """
    direct = (known.direct & ~known.pairs(chosen)).astype(np.float64)
    size, degree = direct.sum(1), direct.sum(0)
    together = np.empty_like(direct)
    for columns in np.array_split(np.arange(len(values)), max(1, len(values) // AT_ONCE)):
        squared = (values @ values[columns].T / values.shape[1]) ** 2
        own = direct[:, columns] * squared[columns, np.arange(len(columns))]
        count = size[:, None] - direct[:, columns]
        together[:, columns] = (direct @ squared - own) / np.maximum(count, 1)
    shared = direct @ direct.T
    jaccard = shared / np.maximum(size[:, None] + size - shared, 1)
    np.fill_diagonal(jaccard, 0)
    overlap = np.zeros_like(direct)
    for column in np.flatnonzero(degree):
        overlap[:, column] = jaccard[:, direct[:, column] > 0].max(1)
    return np.outer(size, degree), together, overlap


def tails(known: Annotations, score: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Share of the absent pairs that score at least as much as each pair, among terms that are used and among others apart.

    Parameters
    ----------
    known
        Annotations, hidden ones included: they are not absent.
    score, used
        Shape (n_terms, n_genes) and (n_terms,).
    """
    found = np.ones_like(score)
    for stratum in (used, ~used):
        absent = np.sort(score[stratum][~known.member[stratum]])
        above = len(absent) - np.searchsorted(absent, score[stratum], side="left")
        found[stratum] = np.maximum(above, 1) / max(len(absent), 1)
    return found


def expected_error(tail: np.ndarray, hidden: np.ndarray, n_missing: float) -> np.ndarray:
    """q of absent pairs: expected share of wrong ones among those that score at least as much.

    At tail u, of N absent pairs u N score as much; if `n_missing` links are missing and score as the hidden ones, they find
    n_missing K(u) / (H + 1) of them, where K(u) of H hidden ones have a tail of at most u. All absent pairs count as wrong,
    so that q is too large rather than too small where the assumption holds.

    Parameters
    ----------
    tail
        Share of the absent pairs that score at least as much as each of them, (n_pairs,).
    hidden
        The same of the hidden pairs of all repetitions.
    n_missing
        Links assumed missing.
    """
    ordered = np.sort(hidden)
    steps, inverse = np.unique(tail, return_inverse=True)
    found = n_missing * np.searchsorted(ordered, steps, side="right") / (len(hidden) + 1)
    wrong = steps * len(tail)
    q = np.minimum.accumulate((wrong / (wrong + found))[::-1])[::-1]
    return np.asarray(q[inverse])


def recovery_of(by_repetition: pd.DataFrame) -> pd.DataFrame:
    """Means and intervals over repetitions, and gains over the best trivial ranking of each."""
    rows = []
    for scope, part in by_repetition.groupby("scope", sort=False):
        precision = part.pivot(index="repetition", columns="ranking", values="average_precision")
        best = precision[list(TRIVIAL)].max(axis=1)
        first = part.drop_duplicates("repetition")
        for ranking in dict.fromkeys(part["ranking"]):
            own, gain = precision[ranking].dropna(), (precision[ranking] - best).dropna()
            rows.append(
                {
                    "scope": scope,
                    "ranking": ranking,
                    **_interval("average_precision", "low", "high", own),
                    **_interval("gain", "gain_low", "gain_high", gain),
                    "chance": float((first["n_hidden"] / first["n_pairs"].replace(0, np.nan)).mean()),
                    "n_hidden": float(first["n_hidden"].mean()),
                    "n_pairs": float(first["n_pairs"].mean()),
                    "n_repetitions": len(own),
                }
            )
    return pd.DataFrame(rows)


def _check(missing: float | None, repetitions: int, label_draws: int, splits: Sequence[Split]) -> None:
    if missing is not None and not 0 < missing <= 10:
        raise ValueError(
            f"`missing` is {missing:g}; give links assumed missing over annotations there are, above 0 and at most 10."
        )
    if repetitions < 2 or label_draws < 0:
        raise ValueError(
            f"`repetitions` is {repetitions} and `label_draws` {label_draws}; at least 2 and 0 are needed."
        )
    if not any(split.test for split in splits):
        raise ValueError("no split has a test part, so that no network can be asked about samples it never saw.")


def _interval(mean: str, low: str, high: str, values: pd.Series) -> dict[str, float]:
    found = interval(values.to_numpy(dtype=float)[:, None], 0.0)
    return {name: float(value[0]) for name, value in zip((mean, low, high), found, strict=True)}


def _precision(truth: np.ndarray, score: np.ndarray) -> float:
    return float(average_precision_score(truth, score)) if truth.any() else float("nan")


def _bin(values: np.ndarray) -> np.ndarray:
    """Low, middle or high third, equal values together."""
    ends = np.quantile(values, np.arange(1, BINS) / BINS) if len(values) else np.zeros(BINS - 1)
    found: np.ndarray = np.searchsorted(ends, values, side="left")
    return found


def _correlated(samples: Samples) -> np.ndarray:
    """Values with mean 0 and standard deviation 1, gaps and constant genes 0."""
    return _standard(fit_scaling(samples.values, impute="mean").apply(samples.values))


def _standard(values: np.ndarray) -> np.ndarray:
    """Rows with mean 0 and standard deviation 1; constant ones 0."""
    centred = values - values.mean(-1, keepdims=True)
    sd = centred.std(-1, keepdims=True)
    found: np.ndarray = centred / np.where(sd > FLAT, sd, np.inf)
    return found


def _by_node(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Units of a node summed along the first axis."""
    if (units == 1).all():
        return values
    found: np.ndarray = np.add.reduceat(values, np.cumsum(units) - units, axis=0)
    return found

"""A whole study: one TOML file in, a folder with networks, activities, attributions, performance and a page out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from vnn._atomic import write_csv, write_text
from vnn._errors import StudyError
from vnn.data import Check, Samples
from vnn.data.genotypes import Cohort
from vnn.interpret import (
    Activities,
    NodeScores,
    activities,
    activity_effects,
    crosscheck,
    node_scores,
)
from vnn.interpret.scored import Scored
from vnn.interpret.verdict import Verdict
from vnn.models.network import COVARIATES
from vnn.ontology import Topology
from vnn.report import write_figures, write_page
from vnn.study.contents import content_of, node_table
from vnn.study.folder import CHECKPOINT, bind, chosen_settings, claimed, same_wiring
from vnn.study.gene_networks import gene_network_table
from vnn.study.genome import Genome, GenomeTables, genome_tables, read_genome, with_sizes, write_genome
from vnn.study.kept import write_kept
from vnn.study.material import Material, checks_of, read_material
from vnn.study.nulls import at_once, finished, in_words, null_summary, null_table, train_nulls, wiring_null
from vnn.study.rivals import study_performance, write_associations
from vnn.study.search import fix_settings
from vnn.study.settings import Study
from vnn.study.train import dismiss, train
from vnn.study.verdict import beside, judged
from vnn.training import Fit
from vnn.training.evaluation import Calibration, calibration, comparison
from vnn.training.loop import Listener
from vnn.training.spread import check_workers, forget

PAGE = "page.html"


@dataclass(frozen=True, eq=False)
class Results:
    """What a study found, and where it lies.

    Parameters
    ----------
    study, samples, topology, fit
        What went in, and the trained networks.
    activities
        Oriented activities of every node.
    effects
        Activity effect of every node on held-out samples, largest first.
    scores
        Attribution of every input, node and edge on held-out samples.
    pathways
        Effects and attribution shares of every node above the inputs, largest effect first.
    performance
        Held-out performance per split, model and metric.
    comparison
        Its means, and the gain of the network over each model, with interval and p.
    calibration
        How far held-out probabilities can be taken at their word; None for quantities.
    checks
        Data checks.
    agreement
        Our DeepLIFT beside independent implementations.
    nulls
        Held-out score of every network, real and null; see `vnn.study.nulls.null_table`.
    null_summary
        The real networks beside each kind of null.
    verdict
        What is said of every node; None where no null networks were asked for.
    scored
        The scores of every network the verdict rests on.
    beside
        Scores of the real networks by several methods.
    genome, genome_tables
        Variants and genes of a genotype study, and what is said of them; None for others.
    folder
        Where all of it was written; `page.html` is for reading.
    """

    study: Study
    samples: Samples | Cohort
    topology: Topology
    fit: Fit
    activities: Activities
    effects: pd.DataFrame
    scores: NodeScores
    pathways: pd.DataFrame
    performance: pd.DataFrame
    comparison: pd.DataFrame
    calibration: Calibration | None
    checks: tuple[Check, ...]
    agreement: pd.DataFrame
    nulls: pd.DataFrame
    null_summary: pd.DataFrame
    verdict: Verdict | None
    scored: Scored | None
    beside: Scored | None
    genome: Genome | None
    genome_tables: GenomeTables | None
    folder: Path

    @property
    def null_words(self) -> tuple[str, ...]:
        """What the null networks say of the prediction, a sentence for each kind."""
        return tuple(in_words(self.nulls, self.null_summary))


def run_study(
    study: Study | Path | str,
    *,
    listener: Listener | None = None,
    tell: Callable[[str], None] = lambda _: None,
    together: bool = False,
) -> Results:
    """Run a study from files to a page; a study that was interrupted goes on.

    Written to its folder: `page.html` (and `figures/`), `study.json`, `topology.npz`, `ontology-log.csv`, `fit/`,
    `activities.csv.gz`, `predictions.csv`, `pathways.csv`, `inputs.csv`, `flows.csv.gz`, `performance.csv`, `comparison.csv`,
    `checks.csv`, `crosscheck.csv`, `nulls.csv`, `null_summary.csv`, `nulls/` (the null networks), with these
    `verdict.csv`, `stability/` and `scores/` (of every network); for classes `calibration.csv`,
    `calibration_curve.csv` and `temperatures.csv`; `search.csv` and `search.json` (settings tried, settings chosen) where the
    study asks for a search; for genotypes `association.csv.gz`, `gene_tests.csv`, `gene_networks.csv`,
    `gene_networks_by_split.csv`, `connection_weights.csv`, `edge_weights.csv`,
    `importance_variants.csv`, `importance_genes.csv`, `importance_pathways.csv` and `scores_per_person.csv` (see
    `vnn.study.genome`), `variants.tsv.gz` and `components.tsv.gz`, which new people need, and `quality.csv`,
    `quality_variants.tsv.gz` and `quality_people.csv.gz`. Each file is replaced whole or not at all.

    Parameters
    ----------
    study
        A `Study`, or the path of its TOML file.
    listener
        Told after every epoch.
    tell
        Told in a few words what is done next.
    together
        The other processes of `torch.distributed` follow this study (`vnn.study.train.follow`) and take part in its training.

    Raises
    ------
    StudyError
        If the output folder holds another study, or another process is running this one.
    """
    if not isinstance(study, Study):
        study = Study.read(study)
    if study.data.traits:
        raise StudyError(
            f"data.target names {len(study.data.traits)} columns, a study each; use `vnn.study.run_traits` or the command "
            "`vnn run`."
        )
    identity = study.identity
    check_workers(study.nulls.workers, study.nulls.backend)
    with claimed(study, identity) as folder:
        tell("reading")
        material = read_material(study)
        samples, topology = material.samples, material.topology
        wiring_null(study, material)
        same_wiring(folder / "topology.npz", topology)
        bind(study, identity)
        topology.save(folder / "topology.npz")
        write_csv(folder / "ontology-log.csv", _log_table(topology))
        for name, table in material.kept.items():
            write_kept(folder / name, table)
        tell("checking the data")
        checks = checks_of(study, material)
        write_csv(folder / "checks.csv", pd.DataFrame([(c.name, c.state, c.text) for c in checks],
                                                      columns=["name", "state", "text"]), index=False)  # fmt: skip
        fix_settings(study, material, folder, listener, tell)
        tell(f"training {len(material.splits) * study.n_seeds} networks")
        trained = _trained(study, material, folder, listener, together)
        train_nulls(study, material, folder, listener, tell, together=together)
        if together:
            dismiss()
        tell("reading activities")
        found = activities(trained, samples)
        effects = activity_effects(trained, found)
        if study.report.activities:
            write_csv(folder / "activities.csv.gz", found.table())
        write_csv(folder / "predictions.csv", trained.predict(samples).table(held_out=True))
        tell("attributing predictions to nodes")
        asked = study.attribution
        scores = node_scores(trained, samples, baseline=asked.baseline, group=asked.group, n_draws=asked.draws)
        pathways = node_table(topology, effects, scores)
        inputs = scores.table[scores.table["level"].isin([topology.levels[0].name, COVARIATES])]
        write_csv(folder / "pathways.csv", pathways, index=False)
        write_csv(folder / "inputs.csv", inputs, index=False)
        write_csv(folder / "flows.csv.gz", scores.flows, index=False)
        agreement = crosscheck(trained, samples, baseline=asked.baseline, group=asked.group, n_samples=asked.crosscheck)
        write_csv(folder / "crosscheck.csv", agreement, index=False)
        tell("comparing with simpler models")
        measured = _performance(study, identity, trained, material, folder, tell)
        tested = write_associations(material, trained, folder)
        compared = comparison(measured)
        write_csv(folder / "performance.csv", measured, index=False)
        write_csv(folder / "comparison.csv", compared, index=False)
        certainty = calibration(trained, samples)
        if certainty is not None:
            write_csv(folder / "calibration.csv", certainty.table, index=False)
            write_csv(folder / "calibration_curve.csv", certainty.curve, index=False)
            write_csv(
                folder / "temperatures.csv", certainty.temperature_table(trained.replicates["id"].tolist()), index=False
            )
        nulls = null_table(folder, material, trained)
        summary = null_summary(nulls)
        write_csv(folder / "nulls.csv", nulls, index=False)
        write_csv(folder / "null_summary.csv", summary, index=False)
        genome = None if study.genotypes is None else read_genome(study, material)
        loci = None if genome is None else genome.loci(study.loci)
        ruled = judged(study, material, trained, folder, compared, summary, tell, loci) if finished(folder) else None
        if ruled is not None:
            if genome is not None:
                ruled = (with_sizes(ruled[0], genome), ruled[1])
            write_csv(folder / "verdict.csv", ruled[0].table, index=False)
            for name, one in ruled[0].stability.items():
                held = folder / "stability" / re.sub(r"[^\w-]+", "_", name)
                held.mkdir(parents=True, exist_ok=True)
                one.to_csv(held)
        told = None
        if genome is not None:
            tell("writing what is said of variants and genes")
            told = genome_tables(genome, trained, samples, scores, pathways, None if ruled is None else ruled[0])
            told = replace(told, networks=gene_network_table(folder, genome, study.loci, *tested))
            told = replace(told, words=(*told.words, *write_genome(folder, genome, trained, told)))
        results = Results(
            study,
            samples,
            topology,
            trained,
            found,
            effects,
            scores,
            pathways,
            measured,
            compared,
            certainty,
            checks,
            agreement,
            nulls,
            summary,
            None if ruled is None else ruled[0],
            None if ruled is None else ruled[1],
            None if ruled is None else beside(study, trained, samples),
            genome,
            told,
            folder,
        )
        tell("writing the page")
        content = content_of(results)
        write_page(folder / PAGE, content)
        written = write_figures(folder / "figures", content) if study.report.figures else ()
        for stale in (folder / "figures").glob("*"):
            if stale not in written:
                stale.unlink()
    return results


def _trained(study: Study, material: Material, folder: Path, listener: Listener | None, together: bool) -> Fit:
    if (folder / "fit" / "fit.json").exists():
        forget(folder / CHECKPOINT)
        return Fit.load(folder / "fit", material.topology)
    trained = train(
        study,
        material,
        checkpoint=folder / CHECKPOINT,
        at_once=None if together else at_once(study, material),
        listener=listener,
        together=together,
        settings=chosen_settings(folder),
    )
    trained.save(folder / "fit")
    forget(folder / CHECKPOINT)
    return trained


def _performance(
    study: Study, identity: str, trained: Fit, material: Material, folder: Path, tell: Callable[[str], None]
) -> pd.DataFrame:
    """Measured once and kept: baselines take as long as the networks."""
    kept = folder / "performance.json"
    asked = {"identity": identity, "models": study.compare.models, "calibrated": True}
    if study.genotypes is not None:
        asked["rivals"] = "packed rows, gene networks"
    if kept.exists():
        held = json.loads(kept.read_text())
        if held["asked"] == json.loads(json.dumps(asked)):
            table = pd.DataFrame(held["rows"], columns=held["columns"])
            table.attrs = held["attrs"]
            return table
    table = study_performance(study, material, trained, folder, tell)
    rows = table.astype(object).where(table.notna(), None).to_numpy().tolist()
    write_text(kept, json.dumps({"asked": asked, "columns": list(table.columns), "rows": rows, "attrs": table.attrs}))
    return table


def _log_table(topology: Topology) -> pd.DataFrame:
    rows = [(e.step, e.kind, e.reason, name) for e in topology.log for name in e.names]
    return pd.DataFrame(rows, columns=["step", "kind", "reason", "name"])

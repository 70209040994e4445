"""One sample explained by a trained study: its prediction, and what moved it away from the baseline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from vnn.interpret.one_sample import OneSample

RAW = "Logits are as the networks give them; probabilities are calibrated."


@dataclass(frozen=True, eq=False)
class ExplainedSample:
    """The explanation of one sample as the study allows it to be shown.

    Parameters
    ----------
    explained
        The explanation.
    notes
        What a reader must know: what was filled, and what could not be said.
    """

    explained: OneSample
    notes: tuple[str, ...]

    def text(self, *, level: str | None = None, most: int = 10) -> str:
        """The explanation for a terminal: prediction, the nodes of a level that moved it, and notes.

        Parameters
        ----------
        level
            The first level of pathways unless given.
        most
            How many nodes.
        """
        found = self.explained
        chosen = found.levels[1] if level is None else level
        lines = [f"{found.sample}, by {found.n_networks} of {found.n_all} networks (those that did not learn from it):"]
        for name, mean, low, high in found.prediction[["mean", "low", "high"]].itertuples(name=None):
            lines.append(f"  {name!s:<24} {mean:.3f}{_within(low, high)}")
        lines += ["", f"{found.contrast}: {found.start:+.3f} at the baseline, {found.end:+.3f} here. At {chosen}:"]
        mine = found.nodes[found.nodes["level"] == chosen]
        percentiles = dict(zip(mine["node"], mine["percentile"].astype(float), strict=True))
        for step in found.steps(chosen, most=most):
            at = percentiles.get(step.node, float("nan"))
            said = _within(step.low, step.high) + ("" if at != at else f"  percentile {at:.0f}")
            lines.append(f"  {step.label[:40]:<40} {step.value:+.3f}{said}")
        lines += ["", f"Against {found.baseline}.", *self.notes]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Everything for a program."""
        return self.explained.to_json() | {"notes": list(self.notes)}


def explained_sample(
    study: Path,
    data: Sequence[str],
    sample: str,
    *,
    labels: Path | None = None,
    samples_in: Literal["rows", "columns"] | None = None,
    layer: str | None = None,
    label: str | None = None,
    ambiguous: str = "auto",
) -> ExplainedSample:
    """Explain one sample of a table with the networks in the output folder `study`.

    The baseline is that of the study. Percentiles need the files of the study; where these have moved they are missing, and a
    note says so. A person of the study is shown as its `[report] individuals` says; a new one by the name in the table.

    Parameters
    ----------
    study, data, labels, samples_in, layer, ambiguous
        As for `vnn.cli.cohort.predicted`.
    sample
        Id of the sample in the table.
    label
        The class to explain; see `vnn.interpret.one_sample.one_sample`.

    Raises
    ------
    StudyError
        If the folder holds no study, or the study shows no single people and the sample is one of them.
    """
    from vnn._errors import AlignmentError, StudyError, choose, culprits
    from vnn.cli.cohort import _asked, _files, needed_of
    from vnn.interpret.one_sample import one_sample, shown
    from vnn.ontology import Topology
    from vnn.study import RECORD, DataSection, Study, prepare, read_material
    from vnn.study.newcomers import newcomers
    from vnn.study.settings import AttributionSection
    from vnn.training import Fit

    if not (study / RECORD).exists():
        raise StudyError(f"{study} is not the output folder of a study: it holds no {RECORD}.")
    record = json.loads((study / RECORD).read_text())["study"]
    fit = Fit.load(study / "fit", Topology.load(study / "topology.npz"))
    own = sample in set(fit.ids)
    individuals = record["report"]["individuals"]
    if own and individuals == "none":
        raise StudyError(
            f'the study shows no single people (report.individuals = "none"), and {sample!r} is one of them. New people can be '
            'explained; for people of the study who agreed run it with "pseudonym" or "full".'
        )
    stated = DataSection(**record["data"])
    notes = [RAW]
    if record.get("genotypes") is not None:
        met = newcomers(study, _files(stated, data)[""], needed_of(fit), labels=labels, ambiguous=ambiguous)  # type: ignore[arg-type]
        if sample not in met.ids:
            choose("the sample", sample, met.ids)
        samples = met.samples([sample])
        notes += met.log
    else:
        section, targets = _asked(stated, fit, _files(stated, data), labels, samples_in, layer)
        try:
            samples = prepare(section, targets, dtype=fit.training.dtype).samples
        except AlignmentError as error:
            error.add_note("The networks need these columns of every new sample; --labels TABLE gives them.")
            raise
    known = None
    held = [*stated.files.values(), *stated.label_files]
    if all(Path(file).exists() for file in held):
        genotyped = record.get("genotypes") is not None
        whole = (read_material(Study(**record)) if genotyped else prepare(stated, [], dtype=fit.training.dtype)).samples
        if set(fit.ids) <= set(whole.ids):
            known = whole.select(ids=fit.ids)
    if known is None and not set(fit.ids) <= set(samples.ids):
        notes.append("The study's own files are not where they were, so that there are no percentiles.")
    asked = AttributionSection(**record["attribution"])
    found = one_sample(
        fit, samples, sample, known=known, label=label, baseline=asked.baseline, group=asked.group, n_draws=asked.draws
    )
    filled = found.nodes.loc[~found.nodes["measured"], "node"]
    if len(filled):
        notes.append(
            f"{len(filled):,} inputs are not measured and were filled from the training part: {culprits(filled)}."
        )
    if found.distance == found.distance:
        notes.append(
            f"Root mean squared z-score of the inputs {found.distance:.2f}, more than that of {found.distance_percentile:.0f} % "
            "of the training samples; near 100 % the networks may never have seen anyone alike."
        )
    notes.append("Association, not causation; not validated for clinical use.")
    return ExplainedSample(shown(found, individuals) if own else found, tuple(notes))


def explain(
    study: Annotated[Path, typer.Argument(metavar="FIT", help="Output folder of a study.")],
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="Table, GCT, .h5ad or genotypes that hold the sample; OMICS=FILE for each of several omics.",
        ),
    ],
    sample: Annotated[str, typer.Option(help="Id of the sample.")],
    labels: Annotated[Path | None, typer.Option(help="Table or CLS of labels and covariates.")] = None,
    samples_in: Annotated[str | None, typer.Option(help='"rows" or "columns" of DATA.')] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of an .h5ad.")] = None,
    label: Annotated[str | None, typer.Option(help="Class to explain.")] = None,
    ambiguous: Annotated[
        str, typer.Option(help='Of genotypes, what becomes of A/T and C/G: "auto", "keep" or "drop"; see vnn predict.')
    ] = "auto",
    level: Annotated[str | None, typer.Option(help="Level to print; the first level of pathways unless given.")] = None,
    most: Annotated[int, typer.Option(min=1, help="How many nodes to print.")] = 10,
    figure: Annotated[Path | None, typer.Option(help="Draw the waterfall here (.png or .svg).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program.")] = False,
) -> None:
    """Explain the prediction of one sample: which pathways and genes moved it away from the baseline."""
    from vnn._errors import StudyError, choose

    choose("--ambiguous", ambiguous, ("auto", "keep", "drop"))
    if samples_in is not None:
        choose("--samples-in", samples_in, ("rows", "columns"))
    if figure is not None:
        choose("the kind of figure", figure.suffix, (".png", ".svg"))
        if figure.exists():
            raise StudyError(f"{figure} exists already; name another file, or remove it.")
    found = explained_sample(
        study, data, sample, labels=labels, samples_in=samples_in, layer=layer, label=label, ambiguous=ambiguous,  # type: ignore[arg-type]
    )  # fmt: skip
    if level is not None:
        choose("the level", level, found.explained.levels)
    if figure is not None:
        from vnn._atomic import replacing
        from vnn.report.waterfall import draw_waterfall

        with replacing(figure) as part:
            draw_waterfall(found.explained, level, most=most).savefig(
                part, format=figure.suffix[1:], dpi=200, bbox_inches="tight", facecolor="white"
            )
    typer.echo(json.dumps(found.to_json()) if as_json else found.text(level=level, most=most))


def _within(low: float, high: float) -> str:
    return "" if low != low else f"  ({low:+.3f} to {high:+.3f})"

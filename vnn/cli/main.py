"""The command line: one subcommand per thing a user does, torch loaded only where it is needed."""

from __future__ import annotations

import json
import logging
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vnn.cli import data, ontology, stability
from vnn.cli.explain import explain

if TYPE_CHECKING:
    from vnn.interpret.verdict import Verdict
    from vnn.study import Results
    from vnn.training.loop import Listener

INTERRUPTED = 130
WIDTH = 118

app = typer.Typer(
    help="Visible neural networks in genomics: from files to named pathway activities.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
bench_app = typer.Typer(help="Measure speed and memory beside rivals.", no_args_is_help=True)
ontology.add(app)
data.add(app)
app.add_typer(bench_app, name="bench")


@contextmanager
def _progress(quiet: bool) -> Iterator[tuple[Listener | None, Callable[[str], None]]]:
    """Who draws a progress bar on a terminal and says nothing elsewhere: told after every epoch, and at every step."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield None, lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None, note="")

        def listen(state: object) -> None:
            from vnn.training import Progress as State

            assert isinstance(state, State)
            validation = (
                "" if state.validation_loss != state.validation_loss else f", validation {state.validation_loss:.3f}"
            )
            note = f"{state.living} of {state.replicates} networks, loss {state.train_loss:.3f}{validation}"
            bar.update(task, total=state.epochs, completed=state.epoch, note=note)

        yield listen, lambda step: bar.update(task, description=step, total=None, note="")


def _show(results: Results, most: int) -> None:
    from vnn.report import WORDS, performance_text, ranking_text, verdict_text

    typer.echo(f"{results.samples!r}")
    typer.echo(f"{results.topology!r}\n")
    typer.echo(performance_text(results.performance) + "\n")
    for check in results.checks:
        if check.state == "warning":
            typer.echo(f"Warning, {check.name}: {check.text}\n")
    for sentence in results.null_words:
        typer.echo(textwrap.fill(sentence, WIDTH) + "\n")
    inputs = "genes" if results.genome is None else "variants"
    if results.verdict is not None:
        typer.echo(verdict_text(results.verdict, most=most, inputs=inputs) + "\n")
    typer.echo(ranking_text(results.effects, most=most, inputs=inputs) + "\n")
    typer.echo(textwrap.fill(WORDS, WIDTH))
    folder = os.path.relpath(results.folder)
    typer.echo(f"\nEverything is in {folder}; open {folder}/page.html in a browser.")


def _number(value: float) -> float | None:
    return None if value != value else value


def _summary(results: Results) -> dict[str, object]:
    compared = results.comparison
    headline, network = compared.attrs["headline"], compared.attrs["network"]
    own = compared[compared["metric"] == headline]
    return {
        "folder": str(results.folder),
        "page": str(results.folder / "page.html"),
        "topology": results.topology.fingerprint,
        "metric": headline,
        "network": network,
        "performance": {
            str(row["model"]): {name: _number(row[name]) for name in ("mean", "sd", "gain", "low", "high", "p_holm")}
            for row in own.to_dict("records")
        },
        "nulls": json.loads(results.null_summary.to_json(orient="records")),
        "warnings": [check.name for check in results.checks if check.state == "warning"],
        "verdict": [] if results.verdict is None else _verdicts(results.verdict),
        "pathways": json.loads(results.pathways.head(20).to_json(orient="records")),
    }


def _verdicts(found: Verdict) -> list[dict[str, object]]:
    columns = ["contrast", "level", "node", "name", "score", "q_labels", "q_wiring", "group", "leader"]
    held: list[dict[str, object]] = json.loads(found.robust[columns].to_json(orient="records"))
    return held


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="Study file (TOML).")],
    most: Annotated[int, typer.Option(help="How many pathways to print.")] = 10,
    check: Annotated[
        bool, typer.Option("--check", help="Say what would happen: read and check everything, train and write nothing.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that train the null networks, instead of nulls.workers.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program.")] = False,
) -> None:
    """Run a whole study; one that was interrupted goes on where it was."""
    from vnn.study import Study, plan, run_traits, studies_of
    from vnn.study.train import company, follow

    asked = Study.read(study)
    if workers is not None:
        asked = asked.model_copy(update={"nulls": asked.nulls.model_copy(update={"workers": workers})})
    with company(asked) as number:
        if number:
            for own in () if check else studies_of(asked).values():
                follow(own)
            return
        if check:
            typer.echo("\n\n".join(plan(own) for own in studies_of(asked).values()))
            return
        with _progress(as_json) as (listener, tell):
            results = run_traits(asked, listener=listener, tell=tell, together=number is not None)
    if as_json:
        found = {trait: _summary(held) for trait, held in results.items()}
        typer.echo(json.dumps(found if asked.data.traits else found[asked.data.target]))
        return
    for trait, held in results.items():
        if asked.data.traits:
            typer.echo(f"== {trait} ==\n")
        _show(held, most)


@app.command()
def init(
    values: Annotated[
        Path, typer.Argument(metavar="TABLE", help="Table, GCT or .h5ad of the measured values, or genotypes.")
    ],
    labels: Annotated[Path | None, typer.Option(help="Table of what is known of each sample.")] = None,
    target: Annotated[str | None, typer.Option(help="Column to predict; the likeliest unless given.")] = None,
    ontology: Annotated[
        str | None,
        typer.Option(help="Name of the catalogue, a recipe, or a .gmt file; Reactome, or for genotypes genes alone."),
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where the files of the ontology lie.")] = None,
    genes: Annotated[
        Path | None,
        typer.Option(
            help="For genotypes, the file that tells the genes of variants: GTF, BED, list, table, ANNOVAR, VEP."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(help="Study file to write.")] = Path("study.toml"),
) -> None:
    """Write a commented study file for a table by looking at it."""
    from vnn._atomic import write_text
    from vnn._errors import StudyError
    from vnn.study import study_file

    if values.exists() and output.exists():
        raise StudyError(f"{output} exists already; name another file with --output, or remove it.")
    text = study_file(
        values, labels=labels, target=target, ontology=ontology, folder=folder, genes=genes, output=output
    )
    write_text(output, text)
    typer.echo(text)
    typer.echo(f"Written to {output}. Read it, change what is wrong, then: vnn run --check {output}")


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option(help="Folder for the simulated cohort, its study file and the results.")
    ] = Path("vnn-demo"),
    seed: Annotated[int, typer.Option(help="Seed of the cohort and of the study.")] = 1,
) -> None:
    """Simulate a cohort with a planted causal pathway, train, and see whether the pathway is found."""
    from vnn.cli.demo import planted
    from vnn.study import run_study

    cohort = planted(output, seed)
    typer.echo(cohort.text() + "\n")
    with _progress(False) as (listener, tell):
        results = run_study(cohort.study, listener=listener, tell=tell)
    _show(results, 10)
    typer.echo(
        f"\nThe planted pathway, {cohort.causal!r}, has rank {cohort.rank(results.pathways)} of {len(results.pathways)}."
    )


@app.command()
def predict(
    study: Annotated[Path, typer.Argument(metavar="FIT", help="Output folder of a study.")],
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="NEW_DATA",
            help="Table, GCT or .h5ad of new samples, or genotypes of any format; OMICS=FILE for each of several omics.",
        ),
    ],
    labels: Annotated[Path | None, typer.Option(help="Table or CLS of their labels and covariates.")] = None,
    samples_in: Annotated[str | None, typer.Option(help='"rows" or "columns" of NEW_DATA.')] = None,
    layer: Annotated[str | None, typer.Option(help="Layer of an .h5ad.")] = None,
    ambiguous: Annotated[
        str,
        typer.Option(
            help='Of genotypes: "keep" takes A/T and C/G as they are named, "drop" leaves them out, "auto" does so if any other '
            "variant is on the other strand."
        ),
    ] = "auto",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Write predictions (CSV) here instead of printing them; of genotypes beside them what is said (.report.txt) "
            "and how each variant was found (.variants.csv)."
        ),
    ] = None,
    activities_to: Annotated[
        Path | None, typer.Option("--activities", help="Write pathway activities (CSV) here.")
    ] = None,
) -> None:
    """Predict new samples with a trained study; features join by name, variants by place and alleles."""
    from vnn._atomic import harmless_table, write_csv, write_text
    from vnn._errors import StudyError, choose
    from vnn.cli.cohort import predicted

    if samples_in is not None:
        choose("--samples-in", samples_in, ("rows", "columns"))
    choose("--ambiguous", ambiguous, ("auto", "keep", "drop"))
    report, table = (
        (None, None) if output is None else (output.with_suffix(f".{end}") for end in ("report.txt", "variants.csv"))
    )
    for path in (output, activities_to, report, table):
        if path is not None and path.exists():
            raise StudyError(f"{path} exists already; name another file, or remove it.")
    found = predicted(study, data, labels=labels, samples_in=samples_in, layer=layer, ambiguous=ambiguous)  # type: ignore[arg-type]
    typer.echo(found.text, err=True)
    if output is None:
        typer.echo(harmless_table(found.predictions).to_csv(), nl=False)
    else:
        write_csv(output, found.predictions)
        if found.variants is not None and report is not None and table is not None:
            write_text(report, found.text + "\n")
            write_csv(table, found.variants)
    if activities_to is not None:
        write_csv(activities_to, found.activities)


app.command()(explain)
stability.add(app)


@app.command()
def kernels(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program.")] = False) -> None:
    """What computes the sparse products here, why something is missing, and what of the machine matters."""
    from vnn.kernels import describe
    from vnn.kernels.machine import facts

    records, machine = describe(), facts()
    if as_json:
        typer.echo(json.dumps({"backends": records} | machine))
        return
    for record in records:
        typer.echo(f"{record['backend']:<12} {record['state']:<10} {record['detail']}")
    runtimes = ", ".join(machine["openmp"]) or "none loaded"
    warning = " (more than one: threads may get in each other's way)" if len(machine["openmp"]) > 1 else ""
    typer.echo(f"instruction set: {machine['instruction_set'] or 'none, not compiled'}; threads: {machine['threads']}")
    typer.echo(f"OpenMP runtimes: {runtimes}{warning}")
    typer.echo(f"last-level cache: {machine['last_level_cache'] / 2**20:.0f} MB; torch {machine['torch']}")


def _measured(records: list[dict[str, object]], json_file: Path | None) -> None:
    from vnn._atomic import write_text
    from vnn.bench import line, profile_lines

    for record in records:
        typer.echo("\n".join([line(record), *profile_lines(record)]))
    if json_file is not None:
        write_text(json_file, json.dumps(records, indent=1))


@bench_app.command("controls")
def bench_controls(
    studies: Annotated[
        list[Path] | None, typer.Argument(help="Study files; the demo's planted cohort unless given.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the records here.")] = None,
    rewired: Annotated[int, typer.Option(help="Draws of rewired networks.")] = 39,
    reassigned: Annotated[int, typer.Option(help="Draws of reassigned genes.")] = 19,
    labels: Annotated[int, typer.Option(help="Draws of permuted labels.")] = 19,
    equalised: Annotated[int, typer.Option(help="Draws of inputs made equally predictive.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the planted cohort.")] = 0,
) -> None:
    """Held-out performance of the network beside null, dense and linear networks and classical baselines."""
    from tempfile import TemporaryDirectory

    from vnn._atomic import write_text
    from vnn.cli.demo import planted
    from vnn.study import Study
    from vnn.study.controls import controls, controls_text

    draws = {"rewired": rewired, "reassigned": reassigned, "labels": labels, "equalised": equalised}
    records = []
    with TemporaryDirectory() as folder:
        for path in studies or [planted(Path(folder), seed).study]:
            found = controls(Study.read(path), draws=draws, tell=lambda line: typer.echo(line, err=True))
            typer.echo(controls_text(found))
            records += found
    if json_file is not None:
        write_text(json_file, json.dumps(records, indent=1))


@bench_app.command("ontology")
def bench_ontology(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the records here.")] = None,
    scale: Annotated[
        list[float] | None, typer.Option(help="Sizes in units of the Gene Ontology; 1, 2 and 4 unless given.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each size is measured.")] = 3,
    obo: Annotated[
        Path | None, typer.Option(help="An OBO file to measure, with --gaf, instead of made-up ones.")
    ] = None,
    gaf: Annotated[Path | None, typer.Option(help="Its annotations.")] = None,
    variants: Annotated[
        list[int] | None, typer.Option(help="Wire so many variants to genes to terms instead, and make the network.")
    ] = None,
) -> None:
    """From the files of an ontology to a wiring over 20,000 genes: time, memory, growth with size."""
    from vnn.bench.ontologies import genomes, ontologies

    if variants:
        if obo or gaf or len(scale or ()) > 1:
            raise ValueError(
                "--variants takes a made-up ontology of one --scale; leave --obo, --gaf and further scales out."
            )
        _measured(genomes(variants=variants, rounds=rounds, scale=(scale or [1.0])[0]), json_file)
        return
    if (obo is None) != (gaf is None):
        raise ValueError("--obo and --gaf go together; give both files or neither.")
    files = None if obo is None or gaf is None else (obo, gaf)
    _measured(ontologies(scales=scale or (1, 2, 4), rounds=rounds, files=files), json_file)


@bench_app.command("genotypes")
def bench_genotypes(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the records here.")] = None,
    variants: Annotated[int, typer.Option(min=1000, help="Variants of the whole size.")] = 1_000_000,
    people: Annotated[int, typer.Option(min=64, help="People of the whole size.")] = 5_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often the store and the statistics take turns.")] = 5,
    wide: Annotated[bool, typer.Option(help="Whether 6,000,000 variants of 1,000 people are trained as well.")] = True,
    folder: Annotated[Path | None, typer.Option(help="Where made-up files lie meanwhile, 1.5 GB.")] = None,
) -> None:
    """A genotype study: the packed store, statistics beside PLINK 2, epochs in units of reading floats, and their growth."""
    from vnn.bench.cohorts import cohorts

    _measured(cohorts(variants=variants, people=people, rounds=rounds, wide=wide, folder=folder), json_file)


@bench_app.command("attributions")
def bench_attributions(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the records here.")] = None,
    samples: Annotated[int, typer.Option(help="People explained.")] = 1000,
    rounds: Annotated[int, typer.Option(help="Alternating rounds per rival.")] = 3,
    topology: Annotated[Path | None, typer.Option(help="A saved topology instead of random gene sets.")] = None,
    dense: Annotated[bool, typer.Option(help="Whether Captum also runs on the dense twin; it takes minutes.")] = True,
) -> None:
    """DeepLIFT of all levels in one sweep beside Captum layer by layer."""
    from vnn.bench import attributions

    _measured(attributions(samples=samples, rounds=rounds, topology=topology, dense=dense), json_file)


def _numbers(option: str, text: str | None, example: str, least: int, most: int | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    parts = [part.replace(",", "").replace("_", "") for part in text.lower().split("x")]
    if not all(part.isdecimal() for part in parts) or not least <= len(parts) <= (most or len(parts)):
        raise ValueError(f"{option} is {text!r}; it needs whole numbers with x between them, such as {example}.")
    return tuple(map(int, parts))


@bench_app.command("kernels")
def bench_kernels(
    case: Annotated[str, typer.Option(help='"standard", "genotypes" or "replicates".')] = "standard",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the records here.")] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Batch sizes; 64 and 256 for the standard case, else 256.")
    ] = None,
    replicates: Annotated[
        int | None, typer.Option(help="Replicates; 1 for the standard case, 16 for replicates.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Alternating rounds per rival.")] = 15,
    topology: Annotated[
        Path | None, typer.Option(help="Measure the largest mask of this topology instead of the usual size.")
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="NxMxE", help="Sources, targets and edges instead of the usual size.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="Run ours on this backend.")] = None,
    dense: Annotated[bool, typer.Option(help="Whether the dense rival takes part; it is slow.")] = True,
) -> None:
    """The sparse product beside dense, COO, CSR, gather + index_add and torch-sparse; packed genotypes in T."""
    from vnn.bench import kernels as measure

    n_m_e = _numbers("--size", size, "20000x2600x120000", 3, 3)
    records = measure(
        case=case, batches=batch, replicates=replicates, rounds=rounds, topology=topology, dense=dense, backend=backend,
        size=n_m_e,  # type: ignore[arg-type]
    )  # fmt: skip
    _measured(records, json_file)


@bench_app.command("step")
def bench_step(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the records here.")] = None,
    batch: Annotated[int, typer.Option(help="Samples per step.")] = 64,
    rounds: Annotated[int, typer.Option(help="Alternating rounds per rival.")] = 15,
    topology: Annotated[
        Path | None, typer.Option(help="A saved topology without skips instead of random edges.")
    ] = None,
    levels: Annotated[
        str | None, typer.Option(metavar="NxNx...", help="Nodes of every level, genes first; as P-NET unless given.")
    ] = None,
    edges: Annotated[int | None, typer.Option(help="Edges in all; 71,000 unless given.")] = None,
    backend: Annotated[str | None, typer.Option(help="Run ours on this backend.")] = None,
    dense: Annotated[bool, typer.Option(help="Whether dense masked layers take part; they are slow.")] = True,
    profile: Annotated[bool, typer.Option("--profile", help="Say where the time of our step goes.")] = False,
) -> None:
    """A whole training step of a P-NET-size network beside the same network in plain PyTorch."""
    from vnn.bench import step
    from vnn.bench.wirings import PNET_EDGES, PNET_LEVELS

    sizes = _numbers("--levels", levels, "9000x1387x1066x447x147x26", 2, None)
    records = step(
        batch=batch, rounds=rounds, topology=topology, levels=sizes or PNET_LEVELS, n_edges=edges or PNET_EDGES,
        dense=dense, profile=profile, backend=backend,
    )  # fmt: skip
    _measured(records, json_file)


@bench_app.command("replicates")
def bench_replicates(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the records here.")] = None,
    batch: Annotated[int, typer.Option(help="Samples per step.")] = 64,
    rounds: Annotated[int, typer.Option(help="Alternating rounds.")] = 7,
    replicates: Annotated[
        list[int] | None, typer.Option("--replicates", "-r", help="How many; 1, 2, 4, 8, 20 and 60 unless given.")
    ] = None,
    topology: Annotated[
        Path | None, typer.Option(help="A saved topology without skips instead of random edges.")
    ] = None,
    levels: Annotated[
        str | None, typer.Option(metavar="NxNx...", help="Nodes of every level, genes first; as Reactome unless given.")
    ] = None,
    edges: Annotated[int | None, typer.Option(help="Edges in all; 45,200 unless given.")] = None,
    dense: Annotated[bool, typer.Option(help="Whether dense masked layers take part; they are slow.")] = True,
    study: Annotated[bool, typer.Option(help="Whether a whole study of 20 is timed beside processes of one.")] = True,
) -> None:
    """Steps of many replicates at once beside as many separate steps; a whole study beside separate processes."""
    from vnn import bench
    from vnn.bench.side_by_side import REACTOME_EDGES, REACTOME_LEVELS, REPLICATES

    sizes = _numbers("--levels", levels, "20000x1100x600x300x100x26", 2, None) or REACTOME_LEVELS
    n_edges = edges or REACTOME_EDGES
    records = bench.replicates(
        batch=batch, rounds=rounds, replicates=replicates or REPLICATES, topology=topology, levels=sizes,
        n_edges=n_edges, dense=dense,
    )  # fmt: skip
    if study:
        records += bench.whole_study(sizes, n_edges)
    _measured(records, json_file)


def _run_of(seeds: str) -> range:
    first, _, last = seeds.partition("-")
    if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) < int(first):
        raise ValueError(f"--seeds is {seeds!r}; it needs a whole number or two with - between them, such as 1-20.")
    return range(int(first), int(last or first) + 1)


@bench_app.command("genotypes-truth")
def bench_genotypes_truth(
    file: Annotated[Path, typer.Option(help="Holds a JSON record a line; what is there is not run again.")] = Path(
        "vnn-genotypes-truth.jsonl"
    ),
    scenario: Annotated[
        list[str] | None, typer.Option(help="additive, dominance, within, across; all unless given.")
    ] = None,
    seeds: Annotated[str, typer.Option(metavar="N-M", help="Seeds, such as 0-9 or 3.")] = "0-9",
    methods: Annotated[
        str, typer.Option(help='"network", "pairs", "rivals", or several with commas between them.')
    ] = "network,pairs,rivals",
    size: Annotated[
        str | None, typer.Option(metavar="NxNxN", help="People, variants and genes instead of 10000x50000x2000.")
    ] = None,
) -> None:
    """Simulated genotype studies: which genes the visible network and its rivals name, and how well they predict."""
    from vnn.bench import genotype_truth as truth

    n = _numbers("--size", size, "2000x3000x150", 3, 3)
    records = truth.run(
        file,
        scenarios=scenario or truth.SCENARIOS,
        seeds=_run_of(seeds),
        methods=[name.strip() for name in methods.split(",")],
        size=None if n is None else truth.Size(n[0], n[1], n[2], pathways=max(n[2] // 20, 2)),
        tell=lambda line: typer.echo(line, err=True),
    )
    typer.echo(truth.summary_text(truth.summary(records)))


@bench_app.command("truth")
def bench_truth(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all records and their summary here.")] = None,
    folder: Annotated[
        Path,
        typer.Option(help="Holds the finished pieces; what is there is not run again, and processes may share it."),
    ] = Path("vnn-truth"),
    setting: Annotated[str, typer.Option(help='"reactome" or "small".')] = "reactome",
    data: Annotated[Path | None, typer.Option(help="Folder of the real inputs, instead of VNN_DATA.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Arms; all the setting has unless given.")] = None,
    seeds: Annotated[str, typer.Option(metavar="N-M", help="Seeds, such as 1-20 or 3.")] = "1-20",
    methods: Annotated[str | None, typer.Option(help="Names with commas between them; all unless given.")] = None,
    limit: Annotated[float | None, typer.Option(help="Seconds after which nothing new is begun.")] = None,
) -> None:
    """Planted cohorts: how often each method names the causal pathway, and what else it calls."""
    from vnn._atomic import write_text
    from vnn.bench import truth

    where = truth.setting(setting, data=data)
    records = truth.run(
        where,
        folder,
        arms=arm or [name for name, plan in truth.ARMS.items() if where.real is not None or not plan.real],
        seeds=_run_of(seeds),
        methods=None if methods is None else [name.strip() for name in methods.split(",")],
        limit=limit,
        tell=lambda line: typer.echo(line, err=True),
    )
    found = truth.summary(records)
    typer.echo(truth.summary_text(found))
    if json_file is not None:
        rows = json.loads(found.to_json(orient="records"))
        write_text(json_file, json.dumps({"summary": rows, "records": records}, indent=1))


def main() -> None:
    """Run the command line; what went wrong is told in words, without a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if show := getattr(error, "show", None):  # a mistake in the command itself, told by typer in its own words
            show()
            sys.exit(getattr(error, "exit_code", 2))
        if not isinstance(error, (ValueError, RuntimeError, OSError, ImportError)):
            raise
        notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
        typer.echo(f"vnn: {error}{notes}", err=True)
        sys.exit(1)
    if code == INTERRUPTED:
        typer.echo("\nInterrupted; the same command goes on from the last checkpoint.", err=True)
    sys.exit(code)

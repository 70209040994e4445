"""The benchmark in pieces: one line of a file for each cohort and method, so that a kill loses one cohort at most."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vnn._errors import StudyError, choose
from vnn.bench.genotype_truth.classical import rivals
from vnn.bench.genotype_truth.cohorts import SCENARIOS, Planted, Size, cohort
from vnn.bench.genotype_truth.evaluation import Ranked, evaluate
from vnn.bench.genotype_truth.ours import visible_network
from vnn.bench.genotype_truth.paired import paired_genes

METHODS: Mapping[str, Callable[[Planted], list[Ranked]]] = {
    "network": visible_network,
    "pairs": paired_genes,
    "rivals": rivals,
}


def run(
    file: Path | str,
    *,
    scenarios: Sequence[str] = SCENARIOS,
    seeds: Sequence[int] = range(10),
    methods: Sequence[str] = tuple(METHODS),
    size: Size | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Run the methods on the cohorts; what the file has is not run again.

    Parameters
    ----------
    file
        A JSON record on each line: scenario, seed, group ("network", "pairs" or "rivals"), people, variants, genes, causal, seconds
        of the group, and what `evaluate` returns. The lines of a cohort and group are appended at once.
    scenarios, seeds
        Which cohorts; all scenarios of a seed before the next seed.
    methods
        "network", "pairs", "rivals".
    size
        Of the cohorts.
    tell
        Told of every group that was run.

    Returns
    -------
    All records asked for that are in the file now.

    Raises
    ------
    StudyError
        If the file holds cohorts of another size.
    """
    path, size = Path(file), size or Size()
    for name in scenarios:
        choose("the scenario", name, SCENARIOS)
    for name in methods:
        choose("the group of methods", name, METHODS)
    for seed in seeds:
        for scenario in scenarios:
            done = {(record["scenario"], record["seed"], record["group"]) for record in _read(path, size)}
            todo = [name for name in methods if (scenario, seed, name) not in done]
            if not todo:
                continue
            with TemporaryDirectory() as folder:
                planted = cohort(scenario, seed, Path(folder) / "cohort", size)
                for name in todo:
                    began = time.perf_counter()
                    found = METHODS[name](planted)
                    seconds = time.perf_counter() - began
                    about = {
                        "scenario": scenario, "seed": seed, "group": name, "people": size.people, "variants": size.variants,
                        "genes": size.genes, "causal": size.causal, "seconds": seconds,
                        "oracle_auc": planted.study.truth.oracle["phenotype"]["auc"],
                    }  # fmt: skip
                    lines = [json.dumps(about | record) + "\n" for record in evaluate(planted, found)]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with path.open("a", encoding="utf-8") as out:
                        out.write("".join(lines))
                    tell(f"{scenario}, seed {seed}, {name}: {seconds:.0f} s")
    wanted = {(scenario, seed, name) for scenario in scenarios for seed in seeds for name in methods}
    return [record for record in _read(path, size) if (record["scenario"], record["seed"], record["group"]) in wanted]


def _read(path: Path, size: Size) -> list[dict[str, Any]]:
    """The records of a file; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    records: list[dict[str, Any]] = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    for record in records:
        told = {name: record[name] for name in ("people", "variants", "genes", "causal")}
        asked = {name: getattr(size, name) for name in told}
        if told != asked:
            raise StudyError(
                f"{path} holds cohorts of {told}; these are of {asked}. Name another file, or remove this one."
            )
    return records

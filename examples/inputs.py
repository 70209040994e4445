"""Where the examples find the public files they read, and what they print."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from vnn.report import WORDS, performance_text, ranking_text, verdict_text
from vnn.study import NullSection, Results, Study, run_study
from vnn.training import Progress

DATA = Path(os.environ.get("VNN_DATA", Path(__file__).parents[2] / "shared" / "data"))


def text(results: Results) -> str:
    """What an example prints."""
    weaknesses = [f"Known weakness: {line}" for line in results.study.report.weaknesses]
    warnings = [f"Warning, {check.name}: {check.text}" for check in results.checks if check.state == "warning"]
    verdict = [] if results.verdict is None else [*results.null_words, "", verdict_text(results.verdict), ""]
    parts = [repr(results.samples), repr(results.topology), "", performance_text(results.performance), "", *verdict,
             ranking_text(results.effects, most=15), "", *warnings, *weaknesses, WORDS,
             f"The page: {results.folder / 'page.html'}"]  # fmt: skip
    return "\n".join(parts)


def told(progress: Progress) -> None:
    """A line now and then."""
    if progress.epoch % 20 == 0:
        done = f"epoch {progress.epoch} of {progress.epochs}, {progress.living} networks"
        print(f"  {done}, {progress.seconds:.0f} s", flush=True)


def judged(study: Study) -> Study:
    """The study with null networks and a verdict: five folds once, two seeds, the screening design."""
    once = study.splits.model_copy(update={"repeats": 1})
    return study.model_copy(update={"n_seeds": 2, "splits": once, "nulls": NullSection(design="screening")})


def main(study: Callable[[Path], Study], name: str, origin: str) -> None:
    """Run an example from the command line."""
    if not DATA.exists():
        sys.exit(f"the data are not in {DATA}; set VNN_DATA to the folder that holds them. {origin}")
    words = argparse.ArgumentParser()
    words.add_argument("output", nargs="?", type=Path, default=Path(f"runs/{name}"), help="where the results go")
    words.add_argument(
        "--verdict",
        action="store_true",
        help="null networks too: which pathways matter, by the rule of docs/verdict.md",
    )
    asked = words.parse_args()
    made = study(asked.output)
    print(text(run_study(judged(made) if asked.verdict else made, listener=told)))

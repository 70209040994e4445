"""Where the examples find the public files they read, and what they print."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from vnn.report import WORDS, performance_text, ranking_text
from vnn.study import Results, Study, run_study
from vnn.training import Progress

DATA = Path(os.environ.get("VNN_DATA", Path(__file__).parents[2] / "shared" / "data"))


def text(results: Results) -> str:
    """What an example prints."""
    weaknesses = [f"Known weakness: {line}" for line in results.study.report.weaknesses]
    warnings = [f"Warning, {check.name}: {check.text}" for check in results.checks if check.state == "warning"]
    parts = [repr(results.samples), repr(results.topology), "", performance_text(results.performance), "",
             ranking_text(results.effects, most=15), "", *warnings, *weaknesses, WORDS,
             f"The page: {results.folder / 'page.html'}"]  # fmt: skip
    return "\n".join(parts)


def told(progress: Progress) -> None:
    """A line now and then."""
    if progress.epoch % 20 == 0:
        done = f"epoch {progress.epoch} of {progress.epochs}, {progress.living} networks"
        print(f"  {done}, {progress.seconds:.0f} s", flush=True)


def main(study: Callable[[Path], Study], name: str, origin: str) -> None:
    """Run an example from the command line; the first argument is where its results go."""
    if not DATA.exists():
        sys.exit(f"the data are not in {DATA}; set VNN_DATA to the folder that holds them. {origin}")
    print(text(run_study(study(Path(sys.argv[1] if len(sys.argv) > 1 else f"runs/{name}")), listener=told)))

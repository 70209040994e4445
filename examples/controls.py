"""What the wiring is worth in the example studies: real, null, dense and linear networks and classical baselines.

Run it with:  python examples/controls.py [OUTPUT]

Two cohorts are planted as `vnn demo` does, one easy and one harder, and two are real: leukaemia, which is a ceiling, and
survival with glioblastoma, which is hard. It takes about 20 minutes of one core; docs/controls.md shows what it found.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import gbm_survival
import leukaemia
from inputs import DATA

from vnn._atomic import write_text
from vnn.cli.demo import planted
from vnn.study import Study
from vnn.study.controls import controls, controls_text

DRAWS = {"rewired": 199, "reassigned": 9, "labels": 9}


def studies(output: Path) -> Iterator[Study]:
    """The studies, smaller than on their own pages: five folds once, two seeds."""
    for oracle_auc in (0.95, 0.85):
        written = planted(output / f"planted {oracle_auc}", seed=0, oracle_auc=oracle_auc)
        yield Study.read(written.study).model_copy(update={"name": f"Planted pathway, oracle AUC {oracle_auc}"})
    if DATA.exists():
        yield leukaemia.study(output / "leukaemia", repeats=1, epochs=50).model_copy(update={"n_seeds": 2})
        yield gbm_survival.study(output / "gbm-survival", repeats=1, n_seeds=2, epochs=50)
    else:
        print(f"the data are not in {DATA}; set VNN_DATA to the folder that holds them. Only planted cohorts are run.")


def main(output: Path) -> None:
    """Print a table for each study, and write the records of all."""
    records = []
    for study in studies(output):
        began = time.monotonic()
        found = controls(study, draws=DRAWS)
        print(controls_text(found), f"\n{time.monotonic() - began:.0f} s\n", flush=True)
        records += found
        write_text(output / "controls.json", json.dumps(records, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/controls"))

"""The search of a study: before everything else, once, and for the nulls as well."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.study.test_run import STUDY, content, write_study
from vnn._errors import StudyError
from vnn.study import Study, plan, run_study
from vnn.training import loop
from vnn.training.loop import Progress

SEARCHED = STUDY + (
    "\n[search]\nn = 6\nfirst = 2\n[search.space]\nlr = [1e-4, 3e-2]\nweight_decay = 'fixed'\n"
    "[nulls]\nlabels = 1\nhalf_samples = 1\n"
)


class Killed(Exception):
    pass


def settings_in(file: Path) -> pd.DataFrame:
    rows = pd.DataFrame(json.loads(file.read_text())["replicates"])
    return rows.set_index("split")[["lr", "weight_decay", "dropout", "input_dropout"]]


def test_it_is_done_first_and_the_nulls_have_what_was_chosen(tmp_path: Path) -> None:
    told: list[str] = []
    study = write_study(tmp_path, SEARCHED)
    run_study(study, tell=told.append)
    assert [words.split()[0] for words in told][:5] == ["reading", "checking", "searching", "training", "training"]
    folder = tmp_path / "results"
    table = pd.read_csv(folder / "search.csv")
    assert len(table) == 3 * 6
    chosen = table[table["chosen"]].set_index("split")[["lr", "weight_decay", "dropout", "input_dropout"]]
    assert (chosen["weight_decay"] == 1).all()
    assert len(set(table["lr"])) == 6
    pd.testing.assert_frame_equal(settings_in(folder / "fit" / "fit.json"), chosen)
    pd.testing.assert_frame_equal(settings_in(folder / "nulls" / "labels-0000-0000" / "fit.json"), chosen)
    halves = settings_in(folder / "nulls" / "half_samples-0000-0000" / "fit.json")
    common = json.loads((folder / "search.json").read_text())["common"]
    assert (halves == pd.Series(common)[halves.columns]).all(axis=None)
    assert not list(folder.glob("search.checkpoint*"))
    before = content(folder)
    told.clear()
    run_study(study, listener=lambda progress: pytest.fail("it trained again"), tell=told.append)
    assert not [words for words in told if words.startswith("searching")]
    assert content(folder) == before


def test_nulls_that_are_added_later_have_what_was_chosen(tmp_path: Path) -> None:
    run_study(write_study(tmp_path, SEARCHED))
    chosen = (tmp_path / "results" / "search.json").read_bytes()
    run_study(write_study(tmp_path, SEARCHED.replace("labels = 1", "labels = 2")))
    assert (tmp_path / "results" / "search.json").read_bytes() == chosen
    later, first = (settings_in(tmp_path / "results" / "nulls" / f"labels-000{k}-000{k}" / "fit.json") for k in (1, 0))
    pd.testing.assert_frame_equal(later, first)


def test_killed_in_the_search_and_after_it_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        write_study(tmp_path / name, SEARCHED)
    run_study(tmp_path / "whole" / "study.toml")
    kills, seen = 0, set()
    while True:
        told: list[Progress] = []

        def kill(progress: Progress, told: list[Progress] = told) -> None:
            told.append(progress)
            if len(told) == 7:
                raise Killed

        try:
            run_study(tmp_path / "killed" / "study.toml", listener=kill)
            break
        except Killed:
            kills += 1
            assert kills < 40
            seen.add((tmp_path / "killed" / "results" / "search.json").exists())
    assert seen == {False, True}
    mine, whole = (content(tmp_path / name / "results") for name in ("killed", "whole"))
    assert {k: v for k, v in mine.items() if k != "study.json"} == {k: v for k, v in whole.items() if k != "study.json"}


def test_the_plan_tells_it(tmp_path: Path) -> None:
    study = Study.read(write_study(tmp_path, SEARCHED))
    text = plan(study)
    assert "Search: 6 settings x 3 splits x 1 seeds, 6 until epoch 2, 2 until epoch 8" in text
    assert "and the search take at most about" in text
    run_study(study)
    assert "Search:" not in plan(study)
    assert "Search:" not in plan(Study.read(write_study(tmp_path)))


def test_a_study_without_a_search_is_the_study_it_was(tmp_path: Path) -> None:
    one = Study.read(write_study(tmp_path)).identity
    assert Study.read(write_study(tmp_path, STUDY + "\n[search]\neta = 4\n")).identity == one
    assert Study.read(write_study(tmp_path, SEARCHED)).identity != one


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("k = 3", "k = 3\nvalidation = 0", r"a search is judged by the validation parts; set splits\.validation above 0"),
        ("n = 6", "n = -1", r"search\.n is -1"),
        ("[1e-4, 3e-2]", "[3e-2, 1e-4]", r"search\.space\.lr.*lower bound 0\.03 is above the upper bound 0\.0001"),
        ("lr = [", "rate = [", r"search\.space\.rate is not known; known here are lr, weight_decay"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_named(tmp_path: Path, old: str, new: str, what: str) -> None:
    with pytest.raises(StudyError, match=what):
        Study.read(write_study(tmp_path, SEARCHED.replace(old, new, 1)))

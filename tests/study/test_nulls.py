"""Null networks as a part of a study: what is trained, kept, added, and said."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.study.test_run import STUDY, command, content, write_study
from vnn._errors import StudyError
from vnn.study import Results, Study, plan, read_material, run_study
from vnn.study.contents import content_of
from vnn.study.nulls import duration, halves_of, in_words, null_fits, null_summary
from vnn.training import loop

NULLS = "\n[nulls]\nlabels = 3\nrewired = 2\nhalf_samples = 2\nat_once = 6\n"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("nulls"), STUDY + NULLS)


@pytest.fixture(scope="module")
def results(study: Path) -> Results:
    return run_study(study)


def test_every_draw_of_every_split_is_trained_once(results: Results) -> None:
    counts = results.nulls.groupby("kind").size().to_dict()
    assert counts == {"real": 3, "labels": 9, "rewired": 6, "half_samples": 4}
    assert results.nulls.groupby("kind")["draw"].nunique().to_dict() == {
        "real": 0, "labels": 3, "rewired": 2, "half_samples": 2,
    }  # fmt: skip
    assert not results.nulls.duplicated(["kind", "draw", "split", "seed"]).any()


def test_chunks_hold_no_more_than_asked_for(results: Results) -> None:
    names = sorted(path.name for path in (results.folder / "nulls").iterdir())
    assert names == [
        "half_samples-0000-0001", "labels-0000-0001", "labels-0002-0002", "rewired-0000-0001",
    ]  # fmt: skip


def test_the_real_networks_are_those_of_a_study_without_nulls(results: Results, tmp_path: Path) -> None:
    alone = run_study(write_study(tmp_path))
    for name, values in alone.fit.networks.state_dict().items():
        assert (values == results.fit.networks.state_dict()[name]).all()


def test_nulls_learnt_other_labels_and_halves_the_real_ones(results: Results, study: Path) -> None:
    real = results.fit.target.values
    for chunk, held in null_fits(results.folder, read_material(Study.read(study))):
        if chunk.kind == "labels":
            assert held.labels is not None
            assert all((row != real).any() and (np.bincount(row) == np.bincount(real)).all() for row in held.labels)
        else:
            assert held.labels is None


def test_halves_are_complements_and_each_is_judged_on_the_other(study: Path) -> None:
    asked = Study.read(study)
    samples = read_material(asked).samples
    splits = halves_of(asked, samples)
    assert len(splits) == 4
    for one, other in zip(splits[::2], splits[1::2], strict=True):
        assert {*one.train, *one.validation} == set(other.test)
        assert {*other.train, *other.validation} == set(one.test)
        assert not set(one.test) & set(other.test)
        assert set(one.test) | set(other.test) == set(samples.ids)


def test_the_rank_of_the_real_networks_is_what_the_table_gives(results: Results) -> None:
    for row in results.null_summary.itertuples():
        own = results.nulls[results.nulls["kind"] == row.kind]
        draws = [own[own["draw"] == draw]["value"].mean() for draw in sorted(set(own["draw"]))]
        real = results.nulls[results.nulls["kind"] == "real"]["value"].mean()
        assert row.p == pytest.approx((1 + sum(draw >= real for draw in draws)) / (1 + len(draws)))
        assert row.smallest_p == pytest.approx(1 / (1 + len(draws)))
        assert row.real == pytest.approx(real)


def test_permuted_labels_cannot_be_predicted(tmp_path: Path) -> None:
    found = run_study(write_study(tmp_path, STUDY.replace("epochs = 8", "epochs = 25") + "\n[nulls]\nlabels = 20\n"))
    (row,) = found.null_summary.to_dict("records")
    draws = found.nulls[found.nulls["kind"] == "labels"].groupby("draw")["value"].mean()
    assert abs(draws.mean() - 0.5) < 3.5 * draws.std() / np.sqrt(len(draws))
    assert row["real"] > row["high"]
    assert row["p"] == pytest.approx(1 / 21)


def test_a_network_that_lost_its_value_is_counted_not_hidden() -> None:
    table = pd.DataFrame(
        [("real", None, "a", 0, "stopped", 0.8), ("labels", 0, "a", 0, "stopped", 0.5), ("labels", 1, "a", 0, "diverged", np.nan)],
        columns=["kind", "draw", "split", "seed", "state", "value"],
    )  # fmt: skip
    (row,) = null_summary(table).to_dict("records")
    assert row["n_missing"] == 1
    assert row["n_draws"] == 2
    assert np.isnan(row["p"])
    table.attrs = {"headline": "AUC", "words": {"labels": "permuted"}}
    assert "without a p: 1 networks of these draws have no value" in in_words(table, null_summary(table))[0]


def test_memory_that_does_not_hold_one_network_says_so_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_study(tmp_path, STUDY + "\n[nulls]\nlabels = 1\n")
    pages = os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: 0 if name == "SC_AVPHYS_PAGES" else pages(name))
    with pytest.raises(StudyError, match=r"weights takes .* MB to train.*memory are free"):
        plan(Study.read(path))


def test_added_draws_keep_those_that_are_there(tmp_path: Path) -> None:
    first = run_study(write_study(tmp_path, STUDY + "\n[nulls]\nlabels = 2\n"))
    before = content(first.folder / "nulls")
    more = run_study(write_study(tmp_path, STUDY + "\n[nulls]\nlabels = 5\n"))
    after = content(more.folder / "nulls")
    assert {name: after[name] for name in before} == before
    values = more.nulls.set_index(["kind", "draw", "split"])["value"]
    for key, value in first.nulls.set_index(["kind", "draw", "split"])["value"].items():
        assert values[key] == value
    assert sorted(set(more.nulls["draw"].dropna())) == [0, 1, 2, 3, 4]


def test_fewer_draws_than_are_there_are_told_as_they_are(results: Results, tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY + NULLS.replace("labels = 3", "labels = 1"))
    shutil.copytree(results.folder, tmp_path / "results")
    assert run_study(path).null_summary.set_index("kind").loc["labels", "n_draws"] == 3


def test_another_unit_of_permutation_is_another_study(results: Results, tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY + NULLS + 'unit = "site"\n')
    shutil.copytree(results.folder, tmp_path / "results")
    with pytest.raises(StudyError, match=r"nulls\.unit"):
        run_study(path)


def test_in_chunks_or_at_once_the_draws_have_the_same_values(results: Results, tmp_path: Path) -> None:
    whole = run_study(write_study(tmp_path, STUDY + NULLS.replace("at_once = 6", "at_once = 100")))
    key = ["kind", "draw", "split", "seed"]
    pd.testing.assert_frame_equal(
        whole.nulls.sort_values(key, ignore_index=True), results.nulls.sort_values(key, ignore_index=True)
    )


def test_run_again_it_trains_nothing(results: Results, study: Path) -> None:
    before = content(results.folder)
    run_study(study, listener=lambda progress: pytest.fail("it trained again"))
    assert content(results.folder) == before


def test_progress_tells_the_chunk_and_the_time_left(tmp_path: Path) -> None:
    told: list[str] = []
    run_study(write_study(tmp_path, STUDY + NULLS), tell=told.append)
    steps = [step.removeprefix("training null networks: ") for step in told if step.startswith("training null")]
    assert steps[0] == "labels-0000-0001, chunk 1 of 4"
    assert [step.split(",")[1] for step in steps] == [f" chunk {i} of 4" for i in range(1, 5)]
    assert all(re.search(r", about \d+ (seconds?|minutes) left$", step) for step in steps[1:])


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.1, "1 second"), (89, "89 seconds"), (91, "2 minutes"), (5500, "1.5 hours")]
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_plan_counts_networks_chunks_and_time(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY + NULLS)
    text = plan(Study.read(path))
    for words in (
        "9 networks of 3 draws, labels permuted; in 2 chunks",
        "6 networks of 2 draws, wiring rewired, all degrees kept; in 1 chunk",
        "4 networks of 2 draws, pairs of complementary halves of the samples; in 1 chunk",
        "all 22 networks take at most about",
    ):
        assert words in text, (words, text)
    assert not (tmp_path / "results").exists()
    run_study(path)
    assert "Null networks:" not in plan(Study.read(path))


def test_the_page_the_tables_and_the_command_say_what_nulls_gave(tmp_path: Path) -> None:
    found = command("run", write_study(tmp_path, STUDY + NULLS))
    assert found.returncode == 0, found.stderr
    assert "Labels permuted, 3 draws: held-out AUC" in found.stdout
    assert "Wiring rewired, all degrees kept, 2 draws" in found.stdout
    page = (tmp_path / "results" / "page.html").read_text()
    assert "Labels permuted, 3 draws" in page
    held = json.loads(command("run", "--json", tmp_path / "study.toml").stdout)
    assert {row["kind"]: row["n_draws"] for row in held["nulls"]} == {"labels": 3, "rewired": 2}
    assert len(pd.read_csv(tmp_path / "results" / "nulls.csv")) == 22


@pytest.mark.parametrize(("design", "seeds"), [("screening", 1), ("full", 3)])
def test_a_design_needs_its_seeds(tmp_path: Path, design: str, seeds: int) -> None:
    text = STUDY.replace("seed = 3", f"seed = 3\nn_seeds = {seeds}") + f'\n[nulls]\ndesign = "{design}"\n'
    with pytest.raises(StudyError, match=f"needs n_seeds of at least {seeds + 1}; it is {seeds}"):
        Study.read(write_study(tmp_path, text))


def test_a_design_is_its_numbers_unless_others_are_stated(tmp_path: Path) -> None:
    text = STUDY.replace("seed = 3", "seed = 3\nn_seeds = 4") + '\n[nulls]\ndesign = "full"\nrewired = 7\n'
    nulls = Study.read(write_study(tmp_path, text)).nulls
    assert [nulls.n_draws(kind) for kind in ("labels", "rewired", "reassigned", "half_samples")] == [100, 7, 0, 25]


def test_a_unit_that_is_no_group_names_those_there_are(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY + '\n[nulls]\nlabels = 1\nunit = "sit"\n')
    with pytest.raises((StudyError, ValueError), match=r"'sit'.*site"):
        run_study(path)


# Processes that have imported everything before they begin, so that twenty kills do not take minutes.
READY = multiprocessing.get_context("forkserver")
READY.set_forkserver_preload(["tests.study.test_nulls"])


def _run_with_many_checkpoints(study: Path) -> None:
    loop.CHECKPOINT_SECONDS = 0.02
    run_study(study)


def _killed(study: Path, kills: int, seed: int) -> int:
    """Kill the study at random moments after it begins to train nulls; how often it was alive to be killed.

    Where a fast machine is done before, it has its last chunk to train again.
    """
    rng, done = random.Random(seed), 0
    folder = study.parent / "results" / "nulls"
    for _ in range(2 * kills):
        process = READY.Process(target=_run_with_many_checkpoints, args=(study,))
        process.start()
        before = _written(folder)
        while process.is_alive() and _written(folder) == before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.2))
        if process.is_alive():
            process.kill()
            done += 1
        process.join()
        if process.exitcode == 0:
            shutil.rmtree(max((path for path in folder.iterdir() if path.is_dir()), key=os.path.getmtime))
        if done == kills:
            break
    return done


def _written(folder: Path) -> dict[str, int]:
    found = {}
    for path in folder.rglob("*"):
        try:
            found[str(path)] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return found


def test_killed_at_twenty_random_moments_the_study_ends_with_the_same_files(tmp_path: Path) -> None:
    nulls = NULLS.replace("labels = 3", "labels = 16").replace("rewired = 2", "rewired = 12")
    longer = STUDY.replace("epochs = 8", "epochs = 40").replace("[training]", "[training]\npatience = 40") + nulls
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        write_study(tmp_path / name, longer)
    run_study(tmp_path / "whole" / "study.toml")
    assert _killed(tmp_path / "killed" / "study.toml", 20, seed=1) == 20
    run_study(tmp_path / "killed" / "study.toml")
    whole, killed = (content(tmp_path / name / "results") for name in ("whole", "killed"))
    assert whole.keys() == killed.keys()
    assert {name for name in whole if whole[name] != killed[name]} <= {"study.json"}


def test_a_kill_after_a_fit_was_written_leaves_no_checkpoint(tmp_path: Path) -> None:
    path = write_study(tmp_path, STUDY + NULLS)
    run_study(path)
    before = content(tmp_path / "results")
    (tmp_path / "results" / "training.checkpoint").touch()
    (tmp_path / "results" / "nulls" / ".labels-0000-0001.checkpoint").touch()
    run_study(path)
    assert content(tmp_path / "results") == before


def test_networks_that_diverged_are_named(results: Results) -> None:
    table = results.fit.replicates.copy()
    table.loc[1, "state"] = "diverged"
    facts = content_of(replace(results, fit=replace(results.fit, replicates=table))).facts
    assert "1 diverged and were left out" in facts["networks"]
    assert repr(table.loc[1, "id"]) in facts["networks"]

"""Several traits in one study file: a study of each, the same as alone, and a table over them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.study.test_run import STUDY, command, content, write_study
from vnn._errors import StudyError
from vnn.study import Study, run_study, run_traits, studies_of

TWO = STUDY.replace('target = "phenotype"\nclasses = ["control", "case"]', 'target = ["phenotype", "height"]')
NULLS = "\n[nulls]\nlabels = 3\n"


def write(folder: Path, text: str = TWO) -> Path:
    folder.mkdir(exist_ok=True)
    path = write_study(folder, text)
    people = pd.read_csv(folder / "people.csv", index_col=0)
    people["height"] = 170 + 10 * np.random.default_rng(0).standard_normal(len(people))
    people.to_csv(folder / "people.csv")
    return path


def test_each_trait_is_the_study_of_it_alone(tmp_path: Path) -> None:
    found = run_traits(Study.read(write(tmp_path / "both", TWO + NULLS)))
    assert list(found) == ["phenotype", "height"]
    assert [held.fit.target.task for held in found.values()] == ["binary", "regression"]
    for trait, held in found.items():
        alone = run_study(write(tmp_path / trait, TWO.replace('["phenotype", "height"]', f'"{trait}"') + NULLS))
        assert held.study.identity == alone.study.identity
        for name, values in alone.fit.networks.state_dict().items():
            assert (values == held.fit.networks.state_dict()[name]).all()
        pd.testing.assert_frame_equal(held.nulls, alone.nulls)


def test_the_table_compares_them_after_holm(tmp_path: Path) -> None:
    found = run_traits(Study.read(write(tmp_path, TWO + NULLS)))
    table = pd.read_csv(tmp_path / "results" / "traits.csv").set_index("trait")
    for trait, held in found.items():
        assert table.loc[trait, "p"] == pytest.approx(held.null_summary["p"].iloc[0])
    smaller, larger = sorted(table["p"])
    assert sorted(table["p_holm"]) == pytest.approx([min(2 * smaller, 1), max(min(2 * smaller, 1), larger)])
    assert list(table["metric"]) == [held.comparison.attrs["headline"] for held in found.values()]


def test_the_command_runs_all_and_again_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path)
    checked = command("run", "--check", path)
    assert checked.stdout.count("3 networks (3 splits x 1 seeds)") == 2, checked.stderr
    first = command("run", "--json", path)
    assert first.returncode == 0, first.stderr
    held = json.loads(first.stdout)
    assert set(held) == {"phenotype", "height"}
    assert held["height"]["folder"] == str(tmp_path / "results" / "height")
    before = content(tmp_path / "results")
    run_traits(Study.read(path), listener=lambda progress: pytest.fail("it trained again"))
    assert content(tmp_path / "results") == before


@pytest.mark.parametrize(
    ("stated", "what"),
    [
        ("target = []", "target is an empty list"),
        ('target = ["height", "height"]', "names a column twice"),
        ('target = ["height", "a/b"]', "'a/b' cannot be one"),
        ('target = ["height", "phenotype"]\nclasses = ["control", "case"]', "event and classes belong to one target"),
    ],
)
def test_what_a_list_of_targets_may_not_be(tmp_path: Path, stated: str, what: str) -> None:
    with pytest.raises(StudyError, match=what):
        Study.read(write(tmp_path, TWO.replace('target = ["phenotype", "height"]', stated)))


def test_one_study_of_several_traits_is_refused_with_what_to_call(tmp_path: Path) -> None:
    study = Study.read(write(tmp_path))
    with pytest.raises(StudyError, match="run_traits"):
        run_study(study)
    assert list(studies_of(study)) == ["phenotype", "height"]
    assert not (tmp_path / "results").exists()

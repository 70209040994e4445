"""Input that breaks other programs, through the whole study."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.planted import cohort, gene_sets
from tests.study.test_run import STUDY, write_study
from vnn._errors import OntologyError, StudyError
from vnn.study import ReportSection, Study, run_study

SCRIPT, FORMULA = "<script>alert(1)</script>", "=cmd()"


def test_hostile_names_are_text_on_the_page_and_in_the_tables(tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY.replace("figures = false", "figures = true"))
    genes = sorted({gene for members in gene_sets().values() for gene in members})
    renamed = {genes[0]: SCRIPT, genes[1]: FORMULA}
    table = pd.read_csv(tmp_path / "expression.csv", index_col=0).rename(columns=renamed)
    table.to_csv(tmp_path / "expression.csv")
    sets = {"set 0": "<img src=x onerror=alert(2)>", "set 1": "@SUM(A1)"}
    lines = [
        "\t".join([sets.get(name, name), "made up", *(renamed.get(g, g) for g in members)])
        for name, members in gene_sets().items()
    ]
    (tmp_path / "sets.gmt").write_text("\n".join(lines) + "\n")
    run_study(study)
    page = (tmp_path / "results" / "page.html").read_text()
    assert SCRIPT not in page
    assert "<img src=x" not in page
    assert "alert(1)" in page
    for name in ("inputs.csv", "pathways.csv"):
        text = (tmp_path / "results" / name).read_text()
        assert not any(cell.startswith(("=", "@")) for line in text.splitlines() for cell in line.split(","))
    inputs = pd.read_csv(tmp_path / "results" / "inputs.csv")
    assert {SCRIPT, f"'{FORMULA}"} <= set(inputs["node"])


def test_one_pathway_is_enough(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    (tmp_path / "sets.gmt").write_text("\t".join(["only", "x", *gene_sets()["set 3"]]) + "\n")
    results = run_study(study)
    assert results.pathways["node"].tolist() == ["only"]
    assert results.pathways["share"].abs().item() == pytest.approx(1)


def test_one_feature_is_enough_where_the_study_allows_it(tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY.replace('name = "sets.gmt"', 'name = "sets.gmt"\nmin_genes = 1'))
    cohort().to_frame().iloc[:, :1].to_csv(tmp_path / "expression.csv")
    gene = cohort().features[0]
    (tmp_path / "sets.gmt").write_text(f"a\tx\t{gene}\nb\tx\tother\n")
    results = run_study(study)
    assert results.topology.inputs == (gene,)
    assert results.scores.table[results.scores.table["level"] == "inputs"]["node"].tolist() == [gene]


def test_one_sample_is_too_few_and_says_so(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    for name in ("expression.csv", "people.csv"):
        table = pd.read_csv(tmp_path / name, index_col=0).sort_index()
        table.iloc[:1].to_csv(tmp_path / name)
    with pytest.raises(ValueError, match=r"1 sample|two different labels|at least"):
        run_study(study)


def test_a_constant_label_is_named(tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY.replace('classes = ["control", "case"]\n', ""))
    people = pd.read_csv(tmp_path / "people.csv", index_col=0).assign(phenotype="case")
    people.to_csv(tmp_path / "people.csv")
    with pytest.raises(ValueError, match=r"'phenotype' is 'case' in all of 120 samples"):
        run_study(study)


def test_identifiers_of_another_species_do_not_meet(tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY.replace('name = "sets.gmt"', 'name = "human-small"'))
    table = cohort().to_frame()
    mouse = ["Trp53", "Brca1", "Egfr", "Myc", "Pten", "Akt1", "Kras", "Rb1"]
    table.columns = [mouse[i] if i < len(mouse) else f"Gm{i}" for i in range(table.shape[1])]
    table.to_csv(tmp_path / "expression.csv")
    with pytest.raises(OntologyError, match=r"'Trp53'|look like") as caught:
        run_study(study)
    assert "Trp53" in str(caught.value)


def test_an_unknown_activation_lists_the_known(tmp_path: Path) -> None:
    study = write_study(tmp_path, STUDY.replace("[splits]", '[network]\nactivation = "tahn"\n\n[splits]'))
    with pytest.raises(ValueError, match=r"network\.activation is 'tahn'; known are 'tanh', .*Did you mean 'tanh'"):
        run_study(study)


def test_no_crosscheck_when_none_is_asked_for(tmp_path: Path) -> None:
    results = run_study(write_study(tmp_path, STUDY.replace("crosscheck = 2", "crosscheck = 0")))
    assert results.agreement.empty
    assert (tmp_path / "results" / "page.html").exists()


def test_survival_with_covariates_reaches_the_page(tmp_path: Path) -> None:
    text = STUDY.replace('target = "phenotype"', 'target = "months"\nevent = "died"\ncovariates = ["age"]')
    study = write_study(tmp_path, text.replace('classes = ["control", "case"]\n', ""))
    people = pd.read_csv(tmp_path / "people.csv", index_col=0).sort_index()
    people["months"], people["died"] = range(1, 121), [1, 0, 1] * 40
    people["age"] = [40 + i % 30 for i in range(120)]
    people.to_csv(tmp_path / "people.csv")
    results = run_study(study)
    assert results.comparison.attrs["headline"] == "C-index"
    assert results.effects["contrast"].unique().tolist() == ["correlation with risk (died)"]
    page = (tmp_path / "results" / "page.html").read_text()
    assert "age (covariate)" in page
    assert "40 events" in page or "80 events" in page


@pytest.mark.parametrize("individuals", ["none", "pseudonym"])
def test_nobody_is_named_where_nobody_may_be(tmp_path: Path, individuals: str) -> None:
    """Ids of dropped and duplicated people, of donors that name splits, and blank columns of people who were not held out."""
    text = STUDY.replace("[report]", f'[report]\nindividuals = "{individuals}"').replace(
        "figures = false", "figures = true"
    )
    text = text.replace('groups = ["site"]', 'groups = ["site"]\nunlabelled = "drop"\nunmatched = "drop"')
    text = text.replace("k = 3", 'kind = "hold-out"\ntest = 0.1')
    study = write_study(tmp_path, text)
    table = pd.read_csv(tmp_path / "expression.csv", index_col=0)
    table.loc["extra patient"] = 1.0
    table.iloc[3] = table.iloc[7]
    table.to_csv(tmp_path / "expression.csv")
    people = pd.read_csv(tmp_path / "people.csv", index_col=0)
    people.loc[people.index[5], "phenotype"] = None
    people.to_csv(tmp_path / "people.csv")
    results = run_study(study)
    written = [(tmp_path / "results" / "page.html").read_text()]
    written += [path.read_text() for path in (tmp_path / "results" / "figures").glob("*.svg")]
    for text in written:
        assert "extra patient" not in text
        assert not [i for i in results.samples.ids if f"{i}" in text]
        assert people.index[5] not in text
    held_out = results.fit.held_out(results.samples.ids).any(1).sum()
    assert f"All {held_out:,} people who were held out" in written[0] or individuals == "none"
    run_study(Study.read(study).model_copy(update={"report": ReportSection(individuals="none", figures=False)}))
    assert not list((tmp_path / "results" / "figures").glob("*"))


def test_small_groups_are_refused_where_they_may_not_be_shown(tmp_path: Path) -> None:
    text = STUDY.replace('target = "phenotype"', 'target = "thirds"').replace('classes = ["control", "case"]\n', "")
    study = write_study(tmp_path, text.replace("[report]", '[report]\nindividuals = "none"'))
    people = pd.read_csv(tmp_path / "people.csv", index_col=0)
    people.iloc[:3, people.columns.get_loc("thirds")] = "ultra"
    people.to_csv(tmp_path / "people.csv")
    with pytest.raises(StudyError, match=r"'ultra \(3\)' are smaller.*data\.least_per_class = 5"):
        run_study(study)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("models = []", 'models = ["boosted tree"]', "Did you mean 'boosted trees'"),
        ("models = []", 'models = ["covariates only"]', "compare.models is 'covariates only'"),
        ("[attribution]", '[attribution]\ngroup = ["sit", "Lund"]', "Did you mean 'site'"),
        ("[attribution]", '[attribution]\ngroup = ["site", "Bergen"]', "known are 'Lund', 'Oslo', 'Rome'"),
    ],
)
def test_what_would_fail_after_training_fails_before_it(tmp_path: Path, old: str, new: str, what: str) -> None:
    study = write_study(tmp_path, STUDY.replace(old, new))
    with pytest.raises(ValueError, match=what):
        run_study(study, listener=lambda progress: pytest.fail("it trained"))


def test_missing_values_without_imputation_are_named_before_training(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    table = pd.read_csv(tmp_path / "expression.csv", index_col=0)
    table.iloc[0, 3] = None
    table.to_csv(tmp_path / "expression.csv")
    with pytest.raises(StudyError, match=r"1 of 50 inputs have missing values.*training\.impute"):
        run_study(study, listener=lambda progress: pytest.fail("it trained"))

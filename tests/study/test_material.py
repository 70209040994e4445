"""What a study reads: several omics, several features of a gene, rare classes, missing labels, survival."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.planted import cohort, gene_sets, wiring
from tests.study.test_run import STUDY, write_study
from vnn._errors import StudyError
from vnn.study import Study, read_material


def change(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def test_several_omics_meet_in_the_gene(tmp_path: Path) -> None:
    text = change(
        STUDY,
        ('values = "expression.csv"', 'values = { rna = "expression.csv", cna = "copies.csv" }'),
        ('name = "sets.gmt"', 'name = "sets.gmt"\ngene_level = true'),
    )
    study = write_study(tmp_path, text)
    copies = cohort().to_frame().iloc[::-1, :40]
    copies.to_csv(tmp_path / "copies.csv")
    material = read_material(Study.read(study))
    topology = material.topology
    assert set(topology.inputs) == {f"rna:{g}" for g in wiring().inputs} | {
        f"cna:{g}" for g in copies.columns if g in set(wiring().inputs)
    }
    genes = topology.levels[1]
    assert set(genes.nodes) >= set(wiring().inputs)
    mask = next(m for m in topology.masks if m.target_level == genes.name and m.source_level == "inputs")
    into = {(mask.sources[s], mask.targets[t]) for s, t in mask.edges}
    gene = next(g for g in copies.columns if g in set(wiring().inputs))
    assert {(f"rna:{gene}", gene), (f"cna:{gene}", gene)} <= into
    row = material.samples.features.index(f"cna:{gene}")
    assert material.samples.values[row] == pytest.approx(
        copies[gene].loc[list(material.samples.ids)].to_numpy(), abs=1e-5
    )


def test_several_features_of_a_gene_by_the_stated_rule(tmp_path: Path, real: object) -> None:
    hgnc = real("geneid/hgnc_complete_set.txt.gz")  # type: ignore[operator]
    text = change(
        STUDY,
        ('target = "phenotype"', f'target = "phenotype"\nidentifiers = "{hgnc}"\nseveral = "mean"'),
        ("[ontology]", "[ontology]\nmin_genes = 1"),
    )
    study = write_study(tmp_path, text)
    values = cohort().to_frame().iloc[:, :4].set_axis(["TP53", "LFS1", "EGFR", "BAX"], axis=1)
    values.to_csv(tmp_path / "expression.csv")
    (tmp_path / "sets.gmt").write_text("a\tx\tTP53\tEGFR\nb\tx\tBAX\tEGFR\n")
    material = read_material(Study.read(study))
    assert material.topology.inputs == ("BAX", "EGFR", "TP53")
    row = material.samples.features.index("TP53")
    expected = values[["TP53", "LFS1"]].mean(axis=1).loc[list(material.samples.ids)]
    assert material.samples.values[row] == pytest.approx(expected.to_numpy(), abs=1e-5)
    assert any("LFS1 -> TP53" in name for entry in material.topology.log for name in entry.names)


def test_the_genes_of_the_ontology_get_approved_symbols_too(tmp_path: Path, real: object) -> None:
    hgnc = real("geneid/hgnc_complete_set.txt.gz")  # type: ignore[operator]
    text = change(
        STUDY,
        ('target = "phenotype"', f'target = "phenotype"\nidentifiers = "{hgnc}"'),
        ("[ontology]", "[ontology]\nmin_genes = 1"),
    )
    study = write_study(tmp_path, text)
    values = cohort().to_frame().iloc[:, :3].set_axis(["TP53", "EGFR", "BAX"], axis=1)
    values.to_csv(tmp_path / "expression.csv")
    (tmp_path / "sets.gmt").write_text("a\tx\t7157\t1956\nb\tx\t581\t1956\t999999999\n")
    topology = read_material(Study.read(study)).topology
    assert topology.inputs == ("BAX", "EGFR", "TP53")
    assert any(entry.step == "translate" and "999999999" in entry.names for entry in topology.log)


def test_a_table_of_probes_without_a_table_of_genes_is_refused(tmp_path: Path) -> None:
    study = write_study(tmp_path, change(STUDY, ('target = "phenotype"', 'target = "phenotype"\nthrough = "p.tsv"')))
    with pytest.raises(StudyError, match="give identifiers as well"):
        Study.read(study)


@pytest.mark.parametrize(("rule", "n", "classes"), [("drop", 115, 3), ("merge", 120, 4)])
def test_rare_classes(tmp_path: Path, rule: str, n: int, classes: int) -> None:
    text = change(STUDY, ('target = "phenotype"', f'target = "thirds"\nleast_per_class = 4\nrare = "{rule}"'),
                  ('classes = ["control", "case"]\n', ""))  # fmt: skip
    study = write_study(tmp_path, text)
    people = pd.read_csv(tmp_path / "people.csv", index_col=0)
    people.iloc[:2, people.columns.get_loc("thirds")] = "rare"
    people.iloc[2:5, people.columns.get_loc("thirds")] = "odd"
    people.to_csv(tmp_path / "people.csv")
    material = read_material(Study.read(study))
    assert material.samples.n_samples == n
    assert len(material.target.classes) == classes
    refusing = write_study(tmp_path, text.replace(f'rare = "{rule}"', 'rare = "error"'))
    people.to_csv(tmp_path / "people.csv")
    with pytest.raises(ValueError, match="'rare' \\(2\\)"):
        read_material(Study.read(refusing))


def test_samples_without_a_label_are_named_or_dropped(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    people = pd.read_csv(tmp_path / "people.csv", index_col=0)
    people.iloc[:3, people.columns.get_loc("phenotype")] = np.nan
    people.to_csv(tmp_path / "people.csv")
    with pytest.raises(StudyError, match=r'3 of 120 samples have no phenotype.*data\.unlabelled = "drop"'):
        read_material(Study.read(study))
    study = write_study(tmp_path, change(STUDY, ('target = "phenotype"', 'target = "phenotype"\nunlabelled = "drop"')))
    people.to_csv(tmp_path / "people.csv")
    material = read_material(Study.read(study))
    assert material.samples.n_samples == 117
    assert any(line.startswith("unlabelled: 3 samples") for line in material.samples.log)


def test_survival_is_split_by_the_event(tmp_path: Path) -> None:
    text = change(STUDY, ('target = "phenotype"', 'target = "months"\nevent = "died"'),
                  ('classes = ["control", "case"]\n', ""))  # fmt: skip
    study = write_study(tmp_path, text)
    people = pd.read_csv(tmp_path / "people.csv", index_col=0)
    people["months"] = np.arange(1, 121)
    people["died"] = (np.arange(120) % 3 == 0).astype(int)
    people.to_csv(tmp_path / "people.csv")
    material = read_material(Study.read(study))
    assert material.target.task == "cox"
    assert material.target.events is not None
    assert material.target.events.sum() == 40
    died = people["died"]
    for split in material.splits:
        assert 12 <= died[list(split.test)].sum() <= 15


def test_counts_become_log_cpm_when_asked(tmp_path: Path) -> None:
    study = write_study(tmp_path, change(STUDY, ('target = "phenotype"', 'target = "phenotype"\nlog_cpm = true')))
    table = cohort().to_frame()
    counts = (2**table).round().clip(lower=0).astype(int) + 1
    counts.to_csv(tmp_path / "expression.csv")
    material = read_material(Study.read(study))
    expected = np.log1p(counts.div(counts.sum(axis=1), axis=0) * 1e6)
    found = material.samples.to_frame()
    assert found.loc[expected.index, expected.columns].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-4)


def test_gene_sets_of_the_study_are_the_wiring(tmp_path: Path) -> None:
    material = read_material(Study.read(write_study(tmp_path)))
    assert set(material.topology.inputs) == {g for genes in gene_sets().values() for g in genes}

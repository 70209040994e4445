"""Files to samples: joined by name whatever their order, refused where they do not meet."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from vnn._errors import AlignmentError
from vnn.data.read import read_samples

VALUES = "id,TP53,EGFR\ns1,1,2\ns2,3,4\ns3,5,6\n"
TURNED = "gene,s3,s1,s2\nEGFR,6,2,4\nTP53,5,1,3\n"
LABELS = "sample\tgroup\tage\tsite\ns2\tb\t20\tLund\ns1\ta\t10\tOslo\ns3\tb\t30\tLund\n"


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


Put = Callable[[str, str], Path]


@pytest.mark.parametrize("values", [VALUES, TURNED])
def test_the_side_of_the_samples_follows_the_labels(put: Put, values: str) -> None:
    samples = read_samples(
        put("v.csv", values), labels=put("l.tsv", LABELS), targets=["group"], covariates=["age"], groups=["site"]
    )
    assert samples.select(["TP53"], ["s1", "s2", "s3"]).values.tolist() == [[1, 3, 5]]
    assert samples.targets["group"].to_dict() == {"s1": "a", "s2": "b", "s3": "b"}
    assert samples.covariates["age"].to_dict() == {"s1": 10, "s2": 20, "s3": 30}
    assert samples.groups["site"].to_dict() == {"s1": "Oslo", "s2": "Lund", "s3": "Lund"}
    assert list(samples.targets.index) == list(samples.ids)


def test_the_order_of_lines_means_nothing(put: Put) -> None:
    lines = LABELS.splitlines(keepends=True)
    first = read_samples(put("v.csv", VALUES), labels=put("l.tsv", LABELS), targets=["group"])
    other = read_samples(put("v.csv", VALUES), labels=put("l.tsv", lines[0] + "".join(lines[:0:-1])), targets=["group"])
    assert first.targets.equals(other.targets)


def test_sources_say_what_was_read(put: Put) -> None:
    samples = read_samples(put("v.csv", VALUES), labels=put("l.tsv", LABELS), targets=["group"])
    assert samples.sources == (
        {"name": "v.csv", "sha256": sha256(VALUES.encode()).hexdigest(), "role": "values"},
        {"name": "l.tsv", "sha256": sha256(LABELS.encode()).hexdigest(), "role": "labels"},
    )


def test_labels_may_stand_in_the_table_of_values(put: Put) -> None:
    path = put("v.csv", "SAMPLE_ID,OS,TP53,stage\np1,1,0.5,I\np2,0,1.5,II\n")
    samples = read_samples(path, targets="OS", groups="stage")
    assert (samples.features, samples.ids) == (("TP53",), ("p1", "p2"))
    assert samples.targets["OS"].tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"v.csv has no column 'os'; it has .*Did you mean 'OS'"):
        read_samples(path, targets=["os"])
    with pytest.raises(ValueError, match=r"columns of v.csv are samples, so 'OS' cannot be among them"):
        read_samples(path, targets=["OS"], samples_in="columns")


def test_unknown_label_column_lists_the_columns_and_the_nearest(put: Put) -> None:
    with pytest.raises(
        ValueError, match=r"l.tsv has no column 'groups'; it has 'age', 'group', 'site'. Did you mean 'group'"
    ):
        read_samples(put("v.csv", VALUES), labels=put("l.tsv", LABELS), targets=["groups"])


def test_samples_on_one_side_only_are_counted_named_and_droppable(put: Put) -> None:
    values, labels = put("v.csv", VALUES), put("l.tsv", LABELS.replace("s3", "s9"))
    with pytest.raises(AlignmentError) as caught:
        read_samples(values, labels=labels, targets=["group"])
    message = str(caught.value)
    assert "1 samples of v.csv are not in l.tsv: 's3'" in message
    assert "1 samples of l.tsv are not in v.csv: 's9'" in message
    assert 'unmatched="drop"' in message
    assert "the 2 that are" in message
    samples = read_samples(values, labels=labels, targets=["group"], unmatched="drop")
    assert samples.ids == ("s1", "s2")
    assert samples.targets["group"].tolist() == ["a", "b"]
    assert [line.split(":")[0] for line in samples.log] == ["join", "join"]


def test_the_side_of_the_samples_is_asked_for_when_nothing_tells(put: Put) -> None:
    with pytest.raises(
        AlignmentError, match=r"rows are called 's1', 's2', 's3', columns 'TP53', 'EGFR'. Pass samples_in"
    ):
        read_samples(put("v.csv", VALUES))
    assert read_samples(put("v.csv", VALUES), samples_in="rows").features == ("TP53", "EGFR")
    assert read_samples(put("v.csv", VALUES), samples_in="columns").ids == ("TP53", "EGFR")


def test_labels_that_match_neither_side_show_what_each_looks_like(put: Put) -> None:
    labels = put("l.tsv", "sample\tgroup\nTCGA-1\ta\n")
    with pytest.raises(AlignmentError, match=r"1 samples in the labels 0 are rows and 0 are columns.*for 'TCGA-1'"):
        read_samples(put("v.csv", VALUES), labels=labels, targets=["group"])


def test_repeated_ids_name_the_file(put: Put) -> None:
    labels = put("l.tsv", LABELS.replace("s3", "s2"))
    with pytest.raises(AlignmentError, match=r"1 of the sample ids occur more than once: 's2'") as caught:
        read_samples(put("v.csv", VALUES), labels=labels, targets=["group"])
    assert caught.value.__notes__ == [f"reading {labels}"]


def test_several_label_files_are_joined(put: Put) -> None:
    more = put("m.csv", "id,dose\ns3,3\ns2,2\ns1,1\n")
    samples = read_samples(
        put("v.csv", VALUES), labels=[put("l.tsv", LABELS), more], targets=["dose"], covariates=["age"]
    )
    assert samples.targets["dose"].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match=r"the column 'age' is in each of 'l.tsv', 'm.csv'"):
        read_samples(
            put("v.csv", VALUES), labels=[put("l.tsv", LABELS), put("m.csv", "id,age\ns1,1\n")], targets=["age"]
        )


def test_label_files_of_the_same_name_are_both_joined(put: Put, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    other = put("more/l.tsv", "id\tdose\ns1\t1\ns2\t2\n")
    with pytest.raises(AlignmentError, match=r"1 samples of v.csv are not in .*more/l.tsv: 's3'"):
        read_samples(put("v.csv", VALUES), labels=[put("l.tsv", LABELS), other], targets=["dose"])


def test_a_target_cannot_be_a_covariate(put: Put) -> None:
    with pytest.raises(ValueError, match=r"'age' is a target and a covariate"):
        read_samples(put("v.csv", VALUES), labels=put("l.tsv", LABELS), targets=["age"], covariates=["age"])


def test_cls_labels_by_position_and_checks_the_length(put: Put) -> None:
    matrix = put("v.gct", "#1.2\n1\t3\nNAME\tDescription\ts1\ts2\ts3\nTP53\t\t1\t2\t3\n")
    samples = read_samples(matrix, labels=put("l.cls", "3 2 1\n# ALL AML\n0 0 1\n"))
    assert samples.targets["class"].to_dict() == {"s1": "ALL", "s2": "ALL", "s3": "AML"}
    with pytest.raises(AlignmentError, match=r"l.cls labels 2 samples and v.gct has 3"):
        read_samples(matrix, labels=put("l.cls", "2 2 1\n# ALL AML\n0 1\n"))


def test_unknown_formats_and_misplaced_options(put: Put) -> None:
    with pytest.raises(ValueError, match=r"values.xlsx has the ending '.xlsx'; values are read from .gct, .h5ad, .csv"):
        read_samples("values.xlsx")
    with pytest.raises(ValueError, match=r"labels are read from .cls, .csv"):
        read_samples("values.csv", labels="labels.docx")
    with pytest.raises(ValueError, match=r"only AnnData has layers"):
        read_samples(put("v.csv", VALUES), layer="raw", samples_in="rows")
    with pytest.raises(ValueError, match=r"the format of v.gct decides it"):
        read_samples("v.gct", samples_in="rows")
    with pytest.raises(FileNotFoundError, match=r"nowhere.csv"):
        read_samples("nowhere.csv", samples_in="rows")


@pytest.mark.data
def test_leukaemia(real: Callable[[str], Path]) -> None:
    samples = read_samples(
        real("expression/Leukemia_hgu95av2.trim.gct.gz"), labels=real("expression/Leukemia.cls"), dtype="float64"
    )
    assert (samples.n_features, samples.n_samples) == (9020, 48)
    assert samples.targets["class"].value_counts().to_dict() == {"ALL": 24, "AML": 24}


@pytest.mark.data
def test_binn_proteomics_with_its_missing_values(real: Callable[[str], Path]) -> None:
    samples = read_samples(
        real("expression/binn_sample_datamatrix.csv.gz"),
        labels=real("expression/binn_sample_design_matrix.tsv"),
        targets=["group"],
    )
    assert (samples.n_features, samples.n_samples) == (554, 197)
    assert samples.targets["group"].value_counts().to_dict() == {2: 123, 1: 74}
    complete = ~np.isnan(samples.values).any(axis=1)
    assert complete.sum() == 166
    assert samples.select(["P08603"], ["TM_P1911_190"]).values.item() == pytest.approx(22.381865859256926, rel=1e-6)


@pytest.mark.data
def test_pnet_tables_with_unequal_sides(real: Callable[[str], Path]) -> None:
    folder = "architectures/pnet_join"
    y, add, cna = (real(f"{folder}/{name}.csv") for name in ("y", "add", "cna"))
    with pytest.raises(AlignmentError) as caught:
        read_samples(real(f"{folder}/rna.csv"), labels=y, targets=["Heterogeneity"])
    assert "4 samples of rna.csv are not in y.csv: 'Sample107'" in str(caught.value)
    assert "4 samples of y.csv are not in rna.csv: 'Sample44'" in str(caught.value)
    samples = read_samples(
        real(f"{folder}/rna.csv"),
        labels=[y, add, cna],
        targets=["Heterogeneity"],
        covariates=["Purity", "Ploidy"],
        unmatched="drop",
    )
    assert (samples.n_features, samples.n_samples) == (654, 20)
    assert samples.targets.loc["Sample159", "Heterogeneity"] == 0.295454545
    assert samples.covariates.loc["Sample146"].tolist() == [0.89, 1.98]
    assert len(samples.log) == 6


@pytest.mark.data
def test_gennet_subjects_with_an_unnamed_padded_index(real: Callable[[str], Path]) -> None:
    path = real("genotype/gennet_a_to_z/run_folder/subjects.csv")
    samples = read_samples(path, targets=["labels"], groups=["set"], sample_column="patient_id")
    assert (samples.features, samples.n_samples) == (("genotype_row",), 14000)

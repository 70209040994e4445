"""GenNet's tables of paths and folders of masks."""

from __future__ import annotations

import csv
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from vnn._errors import OntologyError
from vnn.ontology import Topology
from vnn.ontology.gennet import read_gennet, read_gennet_masks, write_gennet

HEADER = "chr,layer0_node,layer0_name,layer1_node,layer1_name,layer2_node,layer2_name\n"
ROWS = ["1,1,s1   ,7,geneB ,0,P\n", "1,0,s0   ,2,geneA ,0,P\n", "1,2,s2   ,7,geneB ,0,P\n", "1,0,s0   ,2,geneA ,1,Q\n"]


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "topology.csv"
        path.write_text(text)
        return path

    return write


def edges(topology):
    return {tuple(row) for row in topology.to_edges()[["source", "target"]].to_numpy()}


EXPECTED = {("s1", "geneB"), ("s0", "geneA"), ("s2", "geneB"), ("geneB", "P"), ("geneA", "P"), ("geneA", "Q")}


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "".join(ROWS),
        HEADER + "".join(ROWS[::-1]),
        "," + HEADER + "".join(f"{i},{row}" for i, row in enumerate(ROWS)),
        (HEADER + "".join(ROWS)).replace("\n", "\r\n"),
        HEADER.replace("layer0_name", "layer0_name   ") + "".join(ROWS),
    ],
)
def test_paths_become_masks_whose_edges_are_there_once(file, text):
    topology = read_gennet(file(text))
    assert edges(topology) == EXPECTED
    assert [len(mask) for mask in topology.masks] == [3, 3]
    assert [level.name for level in topology.levels] == ["inputs", "level 1", "level 2"]
    assert [str(entry) for entry in topology.log] == ["read gennet: 1 columns not read: 'chr'"]


def test_levels_can_be_named(file):
    topology = read_gennet(file(HEADER + ROWS[0]), levels=["variants", "genes", "pathways"])
    assert [level.name for level in topology.levels] == ["variants", "genes", "pathways"]
    with pytest.raises(OntologyError, match="there are 3 levels, and 1 names"):
        read_gennet(file(HEADER + ROWS[0]), levels=["variants"])


@pytest.mark.parametrize(
    ("text", "says", "line"),
    [
        (HEADER + "1,0,s0,2,geneA,0,P\n1,1,s1,2,geneB,0,P\n", "layer 1 calls its node 2 'geneA' and 'geneB'", 3),
        (
            HEADER + "1,0,s0,2,geneA,0,P\n1,1,s1,3,geneA,0,P\n",
            "layer 1 gives 1 names to several nodes each: 'geneA'",
            None,
        ),
        (HEADER + "1,0,s0,2,geneA,0,P\n1,1,s1,3\n", "a path needs 7 fields", 3),
        (HEADER + "1,0,s0,2, ,0,P\n", "a path needs 7 fields", 2),
        (HEADER, "no path below it", None),
        ("chr,layer0_node,layer0_name,layer2_node,layer2_name\n", "without a gap", 1),
        ("parent,child\n", "at least two layers", 1),
    ],
)
def test_broken_tables_are_located(file, text, says, line):
    with pytest.raises(OntologyError, match=says) as caught:
        read_gennet(file(text))
    assert caught.value.__notes__ == ["reading topology.csv" + (f", line {line}" if line else "")]


@pytest.mark.data
def test_the_published_regression_example(real, tmp_path):
    topology = read_gennet(real("genotype/gennet_regression/topology.csv"))
    assert [len(level) for level in topology.levels] == [100, 10, 2]
    assert [len(mask) for mask in topology.masks] == [100, 10]
    write_gennet(topology, tmp_path / "topology.csv")
    assert read_gennet(tmp_path / "topology.csv").fingerprint == topology.fingerprint
    assert len((tmp_path / "topology.csv").read_text().splitlines()) == 101


@pytest.mark.data
def test_the_published_classification_example(real):
    path = real("genotype/gennet_a_to_z/run_folder/topology.csv")
    topology = read_gennet(path)
    assert [len(level) for level in topology.levels] == [100, 10]
    with path.open() as file:
        assert edges(topology) == {(row["layer0_name"], row["layer1_name"]) for row in csv.DictReader(file)}


@st.composite
def neighbouring(draw):
    """Topologies whose edges join neighbouring levels and whose nodes all lead to the last."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    levels = [[f"n {k},{i}" for i in range(n)] for k, n in enumerate(sizes)]
    names = ["inputs", *(f"level {k}" for k in range(1, len(sizes)))]
    rows = []
    for k, (low, high) in enumerate(pairwise(levels)):
        pairs = set(draw(st.lists(st.tuples(st.sampled_from(low), st.sampled_from(high)))))
        pairs |= {(node, draw(st.sampled_from(high))) for node in low} | {
            (draw(st.sampled_from(low)), node) for node in high
        }
        rows += [(names[k], a, names[k + 1], b) for a, b in sorted(pairs)]
    table = pd.DataFrame(rows, columns=["source_level", "source", "target_level", "target"])
    return Topology.from_edges(dict(zip(names, levels, strict=True)), table)


@settings(deadline=None, max_examples=40)
@given(neighbouring(), st.randoms(use_true_random=False))
def test_written_paths_hold_every_edge_and_nothing_else(tmp_path_factory, topology, chance):
    path = tmp_path_factory.mktemp("gennet") / "topology.csv"
    assert write_gennet(topology, path) == ()
    assert read_gennet(path).fingerprint == topology.fingerprint
    header, *lines = path.read_text().splitlines()
    chance.shuffle(lines)
    walked = set()
    for row in csv.DictReader([header, *lines]):
        path_nodes = [row[f"layer{k}_name"] for k in range(len(topology.levels))]
        walked |= set(pairwise(path_nodes))
    assert walked == edges(topology)
    path.write_text("\n".join([header, *lines]))
    assert read_gennet(path).fingerprint == topology.fingerprint


def build(rows, copies=None, names=None):
    table = pd.DataFrame(rows, columns=["source_level", "source", "target_level", "target"])
    nodes: dict[str, list[str]] = {"inputs": [], "level 1": [], "level 2": []}
    for low, a, high, b in rows:
        nodes[low].append(a)
        nodes[high].append(b)
    return Topology.from_edges(nodes, table, copies=copies, names=names)


def test_what_topology_csv_cannot_hold_is_refused(tmp_path):
    chain = [("inputs", "a", "level 1", "x"), ("level 1", "x", "level 2", "z")]
    with pytest.raises(OntologyError, match=r"1 edges pass over a level \('inputs' -> 'level 2'\).*skips=\"copies\""):
        write_gennet(build([*chain, ("inputs", "b", "level 2", "z")]), tmp_path / "t.csv")
    with pytest.raises(OntologyError, match="1 nodes end below the last level: 'y'"):
        write_gennet(build([*chain, ("inputs", "a", "level 1", "y")]), tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_what_is_lost_is_counted(tmp_path):
    rows = [("inputs", "a", "level 1", "x"), ("inputs", "b", "level 1", "b")]
    rows += [("level 1", "x", "level 2", "z"), ("level 1", "b", "level 2", "z")]
    topology = build(rows, copies={"level 1": ["b"]}, names={"z": "The top"})
    assert [str(entry) for entry in write_gennet(topology, tmp_path / "t.csv", chromosomes={"a": "16"})] == [
        "write gennet: 1 nodes written without their readable names: 'z'",
        "write gennet: 1 nodes written as nodes of their own: the format has no copies: 'b @ level 1'",
    ]
    assert (tmp_path / "t.csv").read_text().splitlines()[1:] == ["16,0,a,1,x,0,z", "0,1,b,0,b,0,z"]


class TestMasks:
    @pytest.fixture
    def folder(self, tmp_path):
        sparse.save_npz(
            tmp_path / "mask_0.npz", sparse.coo_matrix(np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]]))
        )
        sparse.save_npz(tmp_path / "mask_1.npz", sparse.coo_matrix(np.array([[1, 0], [1, 0], [1, 1]])))
        return tmp_path

    def test_rows_are_inputs_and_what_is_cut_off_is_counted(self, folder):
        topology = read_gennet_masks(folder, names=["abcd", "xyz", ["p", "q"]])
        assert edges(topology) == {("a", "x"), ("b", "x"), ("c", "y"), ("x", "p"), ("y", "p")}
        assert [str(entry) for entry in topology.log] == [
            "read gennet: 1 nodes of inputs dropped: they lead to no node: 'd'",
            "read gennet: 1 nodes of level 1 dropped: no input reaches them: 'z'",
            "read gennet: 1 nodes of level 2 dropped: no input reaches them: 'q'",
        ]
        assert [f["name"] for f in topology.provenance[0]["files"]] == ["mask_0.npz", "mask_1.npz"]

    def test_numbers_stand_for_names_and_are_logged(self, folder):
        topology = read_gennet_masks(folder)
        assert topology.inputs == ("0", "1", "2")
        assert topology.log[0].names == ("inputs", "level 1", "level 2")

    def test_masks_must_follow_each_other(self, folder, tmp_path):
        (folder / "mask_1.npz").rename(folder / "a.npz")
        with pytest.raises(
            OntologyError, match=r"a\.npz has 2 columns, and the next mask by name, mask_0.npz, has 4 rows"
        ):
            read_gennet_masks(folder)
        with pytest.raises(OntologyError, match=r"holds no \.npz file"):
            read_gennet_masks(tmp_path / "none")
        (folder / "b.npz").write_text("<html>")
        with pytest.raises(OntologyError, match=r"b\.npz is no sparse matrix"):
            read_gennet_masks(folder)

    def test_a_mask_of_zeros_is_refused(self, folder):
        sparse.save_npz(folder / "mask_1.npz", sparse.coo_matrix((3, 2)))
        with pytest.raises(OntologyError, match="'level 1' to 'level 2': the mask is all 0"):
            read_gennet_masks(folder)

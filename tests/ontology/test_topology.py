"""Levels, masks and topologies: canonical, checked, saved and read back."""

from __future__ import annotations

import json

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from vnn._errors import OntologyError
from vnn.ontology import Entry, Level, Mask, Topology

COLUMNS = ["source_level", "source", "target_level", "target"]
LEVELS = {"inputs": ["a", "b", "c"], "level 1": ["x", "y"], "level 2": ["z"]}
EDGES = [
    ("inputs", "a", "level 1", "x"),
    ("inputs", "b", "level 1", "x"),
    ("inputs", "b", "level 1", "y"),
    ("inputs", "c", "level 2", "z"),
    ("level 1", "x", "level 2", "z"),
    ("level 1", "y", "level 2", "z"),
]


def build(levels=LEVELS, edges=EDGES, **more) -> Topology:
    return Topology.from_edges(levels, pd.DataFrame(edges, columns=COLUMNS), **more)


@pytest.fixture
def topology() -> Topology:
    return build(
        names={"z": "The top"},
        log=[Entry.of("restrict", "genes", ["q"], "dropped")],
        provenance=[{"source": "hand", "files": []}],
    )


class TestMask:
    def test_edges_are_sorted_unique_and_frozen(self):
        mask = Mask.from_names("s", "t", ["a", "b"], ["x", "y"], [("b", "y"), ("a", "y"), ("b", "x"), ("b", "y")])
        assert mask.edges.tolist() == [[1, 0], [0, 1], [1, 1]]
        assert mask.edges.dtype == np.int32
        with pytest.raises(ValueError, match="read-only"):
            mask.edges[0] = 0

    def test_to_and_from_scipy(self):
        mask = Mask("s", "t", ("a", "b", "c"), ("x", "y"), np.array([[0, 1], [2, 0]]))
        assert mask.to_scipy().toarray().tolist() == [[0, 0, 1], [1, 0, 0]]
        again = Mask.from_scipy(mask.to_scipy(), sources="abc", targets="xy")
        assert again.edges.tolist() == mask.edges.tolist()
        stored_zero = sparse.csr_array((np.array([0.0, 2.0]), (np.array([0, 1]), np.array([0, 1]))), shape=(2, 3))
        assert Mask.from_scipy(stored_zero, sources="abc", targets="xy").edges.tolist() == [[1, 1]]
        with pytest.raises(OntologyError, match=r"shape \(2, 3\); 3 targets and 2 sources need \(3, 2\)"):
            Mask.from_scipy(mask.to_scipy(), sources="ab", targets="xyz")

    def test_torch_sparse(self):
        pytest.importorskip("torch_sparse")
        mask = Mask("s", "t", ("a", "b", "c"), ("x", "y"), np.array([[0, 1], [2, 0]]))
        assert mask.to_torch_sparse().to_dense().tolist() == mask.to_scipy().toarray().tolist()

    @pytest.mark.parametrize(
        ("edges", "says"),
        [([], "has no edges"), ([[2, 0]], "outside its 2 sources"), ([[0, 1]], "1 targets"), ([[-1, 0]], "outside")],
    )
    def test_impossible_edges_are_refused(self, edges, says):
        with pytest.raises(OntologyError, match=says):
            Mask("s", "t", ("a", "b"), ("x",), np.array(edges))

    def test_unknown_names_are_refused(self):
        with pytest.raises(OntologyError, match="names 'q', which is not a node there"):
            Mask.from_names("s", "t", ["a"], ["x"], [("q", "x")])


class TestFingerprint:
    def test_neither_order_nor_names_of_people_change_it(self, topology):
        shuffled = {name: nodes[::-1] for name, nodes in LEVELS.items()}
        assert build(shuffled, [*EDGES[::-1], EDGES[0]]).fingerprint == topology.fingerprint

    @pytest.mark.parametrize(
        "other",
        [
            lambda: build(edges=EDGES[:1] + EDGES[2:]),
            lambda: build(
                {**LEVELS, "inputs": ["a", "b", "d"]}, [*EDGES[:3], ("inputs", "d", *EDGES[3][2:]), *EDGES[4:]]
            ),
            lambda: build(
                {"in" if k == "inputs" else k: v for k, v in LEVELS.items()},
                [("in" if e[0] == "inputs" else e[0], *e[1:]) for e in EDGES],
            ),
        ],
    )
    def test_edges_nodes_and_levels_do(self, topology, other):
        assert other().fingerprint != topology.fingerprint


class TestReading:
    def test_counts_labels_outputs_members(self, topology):
        assert repr(topology).startswith("Topology(3 -> 2 -> 1; 6 edges, ")
        assert (topology.inputs, topology.n_nodes, topology.n_edges) == (("a", "b", "c"), 3, 6)
        assert topology.outputs == (("level 2", "z"),)
        assert [topology.label(node) for node in "yz"] == ["y", "The top"]
        assert topology.members["level 1"].toarray().tolist() == [[1, 1, 0], [0, 1, 0]]
        assert topology.members["level 2"].toarray().all()
        table = topology.table().set_index("node")
        assert table.loc["z", ["n_inputs", "fan_in", "fan_out"]].tolist() == [3, 3, 0]
        with pytest.raises(OntologyError, match="there is no level 'level 3'"):
            topology.level("level 3")

    def test_members_of_skips_and_shared_nodes_are_those_of_paths(self):
        rng = np.random.default_rng(0)
        sizes = {"inputs": 9, "low": 6, "mid": 5, "top": 3}
        levels = {level: [f"{level} {i}" for i in range(n)] for level, n in sizes.items()}
        graph = nx.DiGraph()
        for above, (high, nodes) in list(enumerate(levels.items()))[1:]:
            for node in nodes:
                graph.add_edge(("inputs", f"inputs {rng.integers(9)}"), (high, node))
                for low in list(levels)[:above]:
                    graph.add_edges_from(((low, x), (high, node)) for x in levels[low] if rng.random() < 0.2)
        levels["inputs"] = [node for level, node in graph if level == "inputs"]
        found = build(levels, [(*low, *high) for low, high in graph.edges])
        for level in found.levels[1:]:
            members = found.members[level.name]
            assert members.has_sorted_indices
            for i, node in enumerate(level.nodes):
                heard = {name for at, name in nx.ancestors(graph, (level.name, node)) if at == "inputs"}
                assert {found.inputs[j] for j in members[[i]].indices} == heard

    def test_edges_come_back(self, topology):
        assert Topology.from_edges(LEVELS, topology.to_edges()).fingerprint == topology.fingerprint


COPIED = {"inputs": ["a", "b"], "level 1": ["b", "x"], "level 2": ["z"]}
COPIED_EDGES = [
    ("inputs", "a", "level 1", "x"),
    ("inputs", "b", "level 1", "b"),
    ("level 1", "b", "level 2", "z"),
    ("level 1", "x", "level 2", "z"),
]


class TestCopies:
    def test_are_neither_nodes_nor_edges(self):
        copying = build(COPIED, COPIED_EDGES, copies={"level 1": ["b"]})
        assert (copying.n_nodes, copying.n_edges) == (2, 3)
        assert copying.fingerprint != build(COPIED, COPIED_EDGES).fingerprint

    @pytest.mark.parametrize(
        ("edges", "copies", "says"),
        [
            ([*COPIED_EDGES, ("inputs", "a", "level 1", "b")], {"level 1": ["b"]}, "one incoming edge.*'b'"),
            (COPIED_EDGES, {"level 1": ["x"]}, "one incoming edge.*'x'"),
            (COPIED_EDGES, {"level 1": ["q"]}, "copies that are not its nodes: 'q'"),
            (COPIED_EDGES, {"inputs": ["a"]}, "inputs cannot be copies"),
        ],
    )
    def test_repeat_one_node_of_the_level_below(self, edges, copies, says):
        with pytest.raises(OntologyError, match=says):
            build(COPIED, edges, copies=copies)

    def test_from_two_levels_below_are_refused(self):
        levels = {"inputs": ["a", "b"], "level 1": ["x"], "level 2": ["b", "y"], "level 3": ["z"]}
        edges = [
            ("inputs", "a", "level 1", "x"),
            ("inputs", "b", "level 2", "b"),
            ("level 1", "x", "level 2", "y"),
            ("level 2", "b", "level 3", "z"),
            ("level 2", "y", "level 3", "z"),
        ]
        with pytest.raises(OntologyError, match="from the same id in 'level 1': 'b'"):
            build(levels, edges, copies={"level 2": ["b"]})


class TestInvariants:
    @pytest.mark.parametrize(
        ("levels", "edges", "says"),
        [
            (
                {"inputs": ["a"]},
                [("inputs", "a", "inputs", "a")],
                "inputs and at least one level above; this one has 1",
            ),
            ({**LEVELS, "level 3": []}, EDGES, "level 'level 3' has no nodes"),
            ({**LEVELS, "inputs": [*"abcd"]}, EDGES, "1 nodes of level 'inputs' lead to no node: 'd'"),
            ({**LEVELS, "level 2": ["w", "z"]}, EDGES, "1 nodes of level 'level 2' are reached from no input: 'w'"),
            (LEVELS, [*EDGES, ("level 2", "z", "level 1", "x")], "'level 2' -> 'level 1' does not lead upwards"),
            (LEVELS, [*EDGES, ("level 9", "z", "level 1", "x")], "levels that are not given: 'level 9'"),
            (LEVELS, [*EDGES, ("inputs", "q", "level 1", "x")], "'q', which is not a node there"),
        ],
    )
    def test_broken_tables(self, levels, edges, says):
        with pytest.raises(OntologyError, match=says):
            build(levels, edges)

    def test_unsorted_levels(self):
        with pytest.raises(OntologyError, match="names nodes twice: 'a'"):
            Level("x", ("a", "b", "a"))
        mask = Mask("s", "t", ("i",), ("b", "a"), np.array([[0, 0], [0, 1]]))
        with pytest.raises(OntologyError, match="level 't' are not sorted"):
            Topology((Level("s", ("i",)), Level("t", ("b", "a"))), (mask,))

    def test_inputs_in_another_order_are_the_same_wiring(self):
        topology = build(LEVELS, EDGES)
        order = [*reversed(topology.inputs)]
        turned = topology.in_order([*order, "not an input"])
        assert turned.inputs == tuple(order)
        key = ["source_level", "source", "target_level", "target"]
        pd.testing.assert_frame_equal(
            *(t.to_edges().sort_values(key, ignore_index=True) for t in (topology, turned)), check_dtype=False
        )
        assert turned.in_order(topology.inputs).fingerprint == topology.fingerprint != turned.fingerprint
        with pytest.raises(OntologyError, match="leaves out 1 inputs"):
            topology.in_order(order[1:])

    def test_masks_must_fit_their_levels_and_come_once(self):
        low, high = Level("s", ("a",)), Level("t", ("x",))
        mask = Mask("s", "t", ("a",), ("x",), np.array([[0, 0]]))
        with pytest.raises(OntologyError, match="is there twice"):
            Topology((low, high), (mask, mask))
        with pytest.raises(OntologyError, match="lists other nodes"):
            Topology((Level("s", ("b",)), high), (mask,))
        with pytest.raises(OntologyError, match="the same name"):
            Topology((low, low), (mask,))
        with pytest.raises(OntologyError, match="does not have: 't'"):
            Topology((low, Level("u", ("x",))), (mask,))


class TestFiles:
    def test_saved_and_read_back(self, topology, tmp_path):
        topology.save(tmp_path / "wiring.npz")
        found = Topology.load(tmp_path / "wiring.npz")
        assert found.fingerprint == topology.fingerprint
        assert found.log == topology.log
        assert (dict(found.names), found.provenance) == (dict(topology.names), topology.provenance)
        assert [path.name for path in tmp_path.iterdir()] == ["wiring.npz"]

    def test_damage_and_change_are_told(self, topology, tmp_path):
        path = tmp_path / "wiring.npz"
        topology.save(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(OntologyError, match="is not a saved topology, or it is damaged"):
            Topology.load(path)
        path.write_bytes(whole)
        with np.load(path) as file:
            arrays = dict(file)
        header = json.loads(arrays["header"].tobytes())
        header["levels"][0][1][0] = "A"
        arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        np.savez(path, **arrays)
        with pytest.raises(OntologyError, match="was changed after it was written"):
            Topology.load(path)
        with pytest.raises(FileNotFoundError):
            Topology.load(tmp_path / "none.npz")

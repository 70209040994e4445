"""The numbers behind the figures: balance of the paths, choice of parents, people that may be shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

from tests.report.contents import HOSTILE, content, large, small_topology
from vnn.ontology import Topology
from vnn.report import figures, static
from vnn.report.content import Content
from vnn.report.static import write_figures


def diamond() -> Topology:
    """Two genes, a node with two parents, and a root above both."""
    edges = [
        ("inputs", "g1", "level 1", "child"),
        ("inputs", "g2", "level 1", "child"),
        ("inputs", "g3", "level 1", "other child"),
        ("level 1", "child", "level 2", "left"),
        ("level 1", "child", "level 2", "right"),
        ("level 1", "other child", "level 2", "right"),
        ("level 2", "left", "level 3", "root"),
        ("level 2", "right", "level 3", "root"),
    ]
    levels = {
        "inputs": ["g1", "g2", "g3"],
        "level 1": ["child", "other child"],
        "level 2": ["left", "right"],
        "level 3": ["root"],
    }
    return Topology.from_edges(
        levels, pd.DataFrame(edges, columns=["source_level", "source", "target_level", "target"])
    )


def flows(**of: float) -> pd.DataFrame:
    """Attribution along edges of the diamond: `child_left=2.0`."""
    where = {"child": "level 1", "left": "level 2", "right": "level 2"}
    rows = [(*name.split("_"), value) for name, value in of.items()]
    return pd.DataFrame(
        [("case minus control", where[a], a, where[b], b, value) for a, b, value in rows],
        columns=["contrast", "source_level", "source", "target_level", "target", "flow"],
    )


@pytest.mark.parametrize("strong", ["left", "right"])
def test_a_node_with_two_parents_hangs_under_the_one_its_attribution_runs_to(strong: str) -> None:
    weak = {"left": "right", "right": "left"}[strong]
    found = figures.strongest_parents(diamond(), flows(**{f"child_{strong}": -2.0, f"child_{weak}": 1.0}))
    assert found["level 1", "child"] == ("level 2", strong)
    assert found["level 1", "other child"] == ("level 2", "right")
    assert found["level 3", "root"] is None


def test_without_flows_the_more_specific_parent_is_taken() -> None:
    assert figures.strongest_parents(diamond(), flows())["level 1", "child"] == ("level 2", "left")


def test_copies_are_their_originals_in_the_tree() -> None:
    edges = pd.DataFrame(
        [
            ("inputs", "g", "level 1", "a"), ("inputs", "h", "level 1", "b"), ("level 1", "a", "level 2", "a"),
            ("level 1", "b", "level 2", "c"), ("level 2", "a", "level 3", "d"), ("level 2", "c", "level 3", "d"),
        ],
        columns=["source_level", "source", "target_level", "target"],
    )  # fmt: skip
    levels = {"inputs": ["g", "h"], "level 1": ["a", "b"], "level 2": ["a", "c"], "level 3": ["d"]}
    topology = Topology.from_edges(levels, edges, copies={"level 2": ["a"]})
    found = figures.strongest_parents(topology, flows())
    assert found["level 1", "a"] == ("level 3", "d")
    assert ("level 2", "a") not in found


def test_every_node_is_one_sector_and_sizes_are_genes() -> None:
    study = content()
    sectors = figures.sunburst(study)
    shown = [sector.node for sector in sectors if sector.node]
    nodes = {(level.name, node) for level in study.topology.levels[1:] for node in level.nodes}
    assert len(shown) == len(set(shown))
    assert set(shown) == nodes
    by_id = {sector.id: sector for sector in sectors}
    assert all(sector.parent in by_id or sector.id == figures.PREDICTION for sector in sectors)
    table = study.topology.table().set_index(["level", "node"])["n_inputs"]
    parents = {sector.parent for sector in sectors}
    for sector in sectors[1:]:
        assert sector.size == (0 if sector.id in parents else table[sector.node])


def test_a_large_ontology_has_few_sectors_and_loses_no_gene() -> None:
    study = large()
    few, all_of_them = figures.sunburst(study, most=100), figures.sunburst(study, most=10_000)
    assert len(few) < 400 < 2500 < len(all_of_them)
    weaker = [sector for sector in few if sector.node is None and sector.id != figures.PREDICTION]
    assert weaker
    assert all(re.fullmatch(r"[\d,]+ weaker nodes?", sector.label) for sector in weaker)
    ids = {sector.id for sector in few}
    assert all(sector.parent in ids or not sector.parent for sector in few)


@pytest.mark.parametrize("make", [content, large], ids=["small", "large"])
def test_as_much_enters_a_node_as_leaves_it(make: Callable[[], Content]) -> None:
    study = make()
    for contrast in figures.contrasts(study):
        diagram = figures.sankey(study, contrast)
        assert diagram is not None
        ends = {diagram.levels[0], figures.PREDICTION}
        inner = [i for i, stop in enumerate(diagram.stops) if stop.node and stop.level not in ends]
        assert len(inner) > 5
        for i in inner:
            entering = sum(link.width for link in diagram.links if link.target == i)
            leaving = sum(link.width for link in diagram.links if link.source == i)
            assert entering == pytest.approx(leaving, rel=1e-9)
            assert entering > 0
        assert all(link.width > 0 for link in diagram.links)


def test_bands_are_the_flows_and_other_is_the_rest() -> None:
    study = content()
    contrast = figures.contrasts(study)[0]
    diagram = figures.sankey(study, contrast)
    assert diagram is not None
    table = study.flows.set_index(["source_level", "source", "target_level", "target"])["flow"]
    for link in diagram.links:
        source, target = diagram.stops[link.source], diagram.stops[link.target]
        if link.sign:
            value = table[source.level, source.node, target.level, target.node]
            assert link.width == pytest.approx(abs(value))
            assert link.sign == np.sign(value)
        else:
            assert (source.node is None) != (target.node is None)
    prediction = next(i for i, stop in enumerate(diagram.stops) if stop.level == figures.PREDICTION)
    into = study.flows[study.flows["target_level"] == "prediction"]["flow"].abs().sum()
    assert diagram.entering(prediction) == pytest.approx(into)


def test_boxes_and_bands_stay_in_the_square_and_do_not_overlap() -> None:
    diagram = figures.sankey(large(), "mild minus the rest")
    assert diagram is not None
    boxes, bands = figures.placed(diagram)
    columns: dict[float, list[figures.Box]] = {}
    for box in boxes:
        columns.setdefault(round(box.x, 6), []).append(box)
        assert -1e-9 <= box.y <= box.y + box.height <= 1 + 1e-9
    assert len(columns) == len(diagram.levels)
    for column in columns.values():
        ordered = sorted(column, key=lambda box: box.y)
        assert all(a.y + a.height < b.y for a, b in pairwise(ordered))
    for link, band in zip(diagram.links, bands, strict=True):
        source, target = boxes[link.source], boxes[link.target]
        assert source.y - 1e-9 <= band.y0 <= band.y0 + band.height <= source.y + source.height + 1e-9
        assert target.y - 1e-9 <= band.y1 <= band.y1 + band.height <= target.y + target.height + 1e-9


def test_without_flows_there_are_no_paths() -> None:
    study = content()
    assert figures.sankey(replace(study, flows=study.flows.iloc[:0]), "case minus control") is None


def test_people_have_numbers_unless_their_ids_may_be_shown() -> None:
    numbered, named = figures.heat_map(content()), figures.heat_map(content(individuals="full"))
    assert numbered is not None
    assert named is not None
    assert numbered.columns == tuple(f"person {i}" for i in range(1, 121))
    assert set(named.columns) == set(content().activities.index)
    assert [name for name, *_ in numbered.groups] == ["control", "case"]
    np.testing.assert_array_equal(numbered.values, named.values)
    row = named.nodes.index(("level 1", "PI3K-AKT signalling"))
    activity = content().activities["level 1/PI3K-AKT signalling"]
    np.testing.assert_array_equal(named.values[row], activity[list(named.columns)])


def test_without_individuals_groups_are_means_and_small_groups_are_left_out() -> None:
    study = content(individuals="none")
    outcome = study.outcome.copy()
    outcome.iloc[:4] = "rare"
    heat = figures.heat_map(replace(study, outcome=outcome))
    assert heat is not None
    assert heat.left_out == (4,)
    assert [(name, people) for name, _, _, people in heat.groups] == list(
        outcome.value_counts().sort_index()[["case", "control"]].items()
    )
    level, node = heat.nodes[0]
    mean = study.activities.loc[outcome == "case", f"{level}/{node}"].mean()
    assert heat.values[0, 0] == pytest.approx(mean)


def test_a_quantity_is_shown_by_quarters() -> None:
    study = content()
    outcome = pd.Series(np.linspace(1, 2, 120), study.outcome.index, name="age")
    groups = figures.grouped(replace(study, outcome=outcome))
    assert [len(ids) for ids in groups.values()] == [30] * 4
    assert list(groups) == [f"age, part {i} of 4" for i in range(1, 5)]
    assert outcome[groups["age, part 1 of 4"]].max() < outcome[groups["age, part 2 of 4"]].min()


def test_many_people_are_sampled_by_group() -> None:
    heat = figures.heat_map(content(n_samples=900), most_columns=300)
    assert heat is not None
    assert heat.values.shape[1] == pytest.approx(300, abs=2)
    for _, _, count, people in heat.groups:
        assert count == pytest.approx(people / 3, abs=1)
    assert "of 900 people" in heat.rule


def test_curves_count_the_networks_that_still_train() -> None:
    history = pd.DataFrame(
        {
            "epoch": [1, 1, 1, 2],
            "replicate": ["a", "b", "c", "a"],
            "train": [1.0, 2.0, 6.0, 0.5],
            "validation": [np.nan] * 4,
        }
    )
    found = figures.curves(history)
    assert list(found) == ["train"]
    assert found["train"].median.tolist() == [2.0, 0.5]
    assert found["train"].high.tolist() == [6.0, 0.5]
    assert found["train"].n_networks.tolist() == [3, 1]


def test_splits_that_test_few_people_are_not_shown_without_individuals() -> None:
    study = content(individuals="none")
    table = study.performance.copy()
    table.loc[table["split"] == "repeat 0 fold 1", "n_test"] = 4
    found = figures.scores(replace(study, performance=table))
    assert found.left_out == 1
    assert found.splits == ("split 1", "split 3", "split 4", "split 5")
    assert all(len(values) == 4 for by_model in found.values.values() for values in by_model.values())


def test_every_figure_is_written_twice(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    paths = write_figures(tmp_path / "figures", content(small_topology(hostile=True)))
    names = ["performance", "calibration", "pathways", "icicle", "paths", "heat-map", "training"]
    assert [path.name for path in paths] == [f"{name}.{kind}" for name in names for kind in ("png", "svg")]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths if path.suffix == ".png")
    text = (tmp_path / "figures" / "pathways.svg").read_text()
    assert "<img" not in text
    assert "&lt;img src=x" in text
    assert HOSTILE["TCA cycle"] in text.replace("&#x27;", "'")
    assert dict(matplotlib.rcParams) == before


def test_what_is_missing_is_not_drawn() -> None:
    study = content()
    nothing = {
        name: getattr(study, name).iloc[:0]
        for name in ("performance", "history", "flows", "activities", "nodes", "calibration_curve")
    }
    bare = replace(study, **nothing)
    for draw in (static.performance, static.calibration, static.heat_map, static.training):
        assert draw(study) is not None
        assert draw(bare) is None
    for draw in (static.paths, static.pathways):
        assert draw(study, "case minus control") is not None
        assert draw(bare, "case minus control") is None


def test_labels_lose_the_words_they_share() -> None:
    assert figures.without_prefix(["HALLMARK_A_X", "HALLMARK_A_Y", "HALLMARK_B"]) == ("A_X", "A_Y", "B")
    assert figures.without_prefix(["Glycolysis", "Glucose"]) == ("Glycolysis", "Glucose")
    assert figures.without_prefix(["HALLMARK_A"]) == ("HALLMARK_A",)

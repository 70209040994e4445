"""Activities: named, oriented without labels, read where nobody trained."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from tests.planted import cohort, folds, gene_sets, wiring
from vnn.data import Samples, k_fold
from vnn.interpret import activities, activity_effects
from vnn.interpret.activity import standardised
from vnn.models import Recipe
from vnn.training import Fit, Training, fit

SHORT = Training(epochs=10, batch_size=32, lr=1e-2)


def trained(samples: Samples | None = None, **changes: object) -> Fit:
    arguments = {"target": "phenotype", "splits": folds(), "training": SHORT, "n_seeds": 2} | changes
    return fit(wiring(), samples or cohort(), **arguments)  # type: ignore[arg-type]


def z_of_members(node: str, ids: tuple[str, ...]) -> np.ndarray:
    values = cohort().select(gene_sets()[node], ids).values.astype(float)
    return ((values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)).mean(0)


def test_a_node_rises_with_its_member_genes_in_every_replicate() -> None:
    made = trained()
    found = activities(made, cohort())
    for r, split in enumerate(s for s in made.splits for _ in range(2)):
        rows = cohort().index(split.train)
        for j, node in enumerate(found.nodes["level 1"]):
            correlation = np.corrcoef(found.levels["level 1"][rows, r, j], z_of_members(node, split.train))[0, 1]
            assert correlation > -0.1, (split.name, node)


def test_values_are_those_of_the_network_up_to_sign() -> None:
    made = trained()
    found = activities(made, cohort())
    x = torch.from_numpy(cohort().select(made.topology.inputs).values.T.copy())
    for level, values in made.networks.activities(x).items():
        assert np.allclose(np.abs(values.detach().numpy()), np.abs(found.levels[level]), atol=1e-6)


def test_an_activation_that_is_not_odd_is_left_as_it_is() -> None:
    made = trained(recipe=Recipe(activation="relu"))
    assert all((reading.loading == 1).all() for reading in made.readings.values())


def test_several_units_are_read_as_their_first_principal_component() -> None:
    made = trained(recipe=Recipe(units=3), n_seeds=1, splits=folds()[:1])
    split = made.splits[0]
    found = activities(made, cohort())
    x = torch.from_numpy(cohort().select(made.topology.inputs, split.train).values.T.copy())
    raw = made.networks.activities(x)["level 1"][:, 0].detach().double().numpy()
    rows = cohort().index(split.train)
    for j, node in enumerate(found.nodes["level 1"]):
        units = raw[:, 3 * j : 3 * j + 3]
        centred = units - units.mean(0)
        component = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
        mine = found.levels["level 1"][rows, 0, j]
        assert abs(np.corrcoef(mine, component)[0, 1]) > 0.9999
        assert np.isclose(mine.std(), component.std(), rtol=1e-4)
        z = np.corrcoef(mine, z_of_members(node, split.train))[0, 1]
        assert z > -1e-6


def test_orientation_does_not_look_at_labels() -> None:
    """On permuted labels the signs of activity effects agree between independent halves no more than by chance."""
    agreements = []
    for seed in range(3):
        labels = cohort().targets.copy()
        labels["phenotype"] = np.random.default_rng(seed).permutation(labels["phenotype"])
        samples = Samples(
            cohort().values, cohort().features, cohort().ids, labels, cohort().covariates, cohort().groups
        )
        splits = k_fold(samples.ids, k=2, validation=0.25, seed=seed, stratify=labels["phenotype"])
        made = trained(samples, splits=splits, n_seeds=1)
        found = activities(made, samples)
        positive = (samples.targets["phenotype"] == "control").to_numpy()
        signs = []
        for r, split in enumerate(splits):
            rows = samples.index(split.test)
            values = found.levels["level 1"][rows, r]
            signs.append(np.sign(values[positive[rows]].mean(0) - values[~positive[rows]].mean(0)))
        agreements += (signs[0] == signs[1]).tolist()
    assert stats.binomtest(sum(agreements), len(agreements)).pvalue > 0.001


def test_the_table_averages_replicates_that_held_a_sample_out_in_units_of_their_training_samples() -> None:
    made = trained()
    found = activities(made, cohort())
    table = found.table()
    assert list(table.columns)[:2] == ["level 1/set 0", "level 1/set 1"]
    sample, read = 5, []
    for r, name in enumerate(made.replicates["split"]):
        split = next(s for s in made.splits if s.name == name)
        values = found.levels["level 1"][:, r, 0].astype(float)
        learnt = values[cohort().index(split.train)]
        if found.held_out[sample, r]:
            read.append((values[sample] - learnt.mean()) / learnt.std())
    assert len(read) == 2
    assert np.isclose(table.iloc[sample, 0], np.mean(read), rtol=1e-4)
    assert not table.isna().any().any()


def test_one_new_person_reads_the_same_alone_as_among_others() -> None:
    made = trained()
    many = cohort(140, seed=3)
    everyone = activities(made, many).table(held_out=False)
    alone = activities(made, many.select(ids=many.ids[7:8])).table(held_out=False)
    assert np.allclose(alone.iloc[0], everyone.iloc[7], atol=1e-5)
    assert (alone.iloc[0].abs() > 1e-3).any()


def test_standardised_is_over_the_samples_that_count() -> None:
    rng = np.random.default_rng(0)
    values, counts = rng.standard_normal((9, 2, 3)) * 5 + 2, rng.random((9, 2)) < 0.7
    values[:, 0, 1] = 4
    z = standardised(values, counts)
    for r in range(2):
        for n in range(3):
            mine = z[counts[:, r], r, n]
            assert abs(mine.mean()) < 1e-12
            assert np.isclose(mine.std(), 0 if (r, n) == (0, 1) else 1)


def test_long_form_and_anndata() -> None:
    anndata = pytest.importorskip("anndata")
    made = trained(splits=folds()[:1], n_seeds=1)
    found = activities(made, cohort())
    long = found.to_pandas()
    assert len(long) == 120 * (8 + 2 + 1)
    one = long[(long["sample"] == cohort().ids[3]) & (long["node"] == "set 2")].iloc[0]
    assert one["activity"] == found.levels["level 1"][3, 0, 2]
    held = anndata.AnnData(obs=pd.DataFrame(index=list(reversed(cohort().ids))))
    back = found.to_anndata(held, held_out=False)
    assert back is held
    assert np.array_equal(back.obsm["score_vnn"].to_numpy(), found.table(held_out=False).to_numpy()[::-1])
    assert back.uns["vnn"]["nodes"].loc["level 1/set 2", "node"] == "set 2"
    with pytest.raises(ValueError, match="not the same"):
        found.to_anndata(anndata.AnnData(obs=pd.DataFrame(index=["x"])))


def test_copies_are_merged_with_their_original() -> None:
    from tests.wirings import toy_topology

    rng = np.random.default_rng(0)
    ids = [f"s{i:02}" for i in range(40)]
    frame = pd.DataFrame(rng.standard_normal((40, 4)), index=ids, columns=list("abcd"))
    y = pd.DataFrame({"y": np.where(frame["a"] > 0, "p", "q")}, index=ids)
    samples = Samples.from_frame(frame, targets=y)
    splits = k_fold(samples.ids, k=2, seed=0, stratify=y["y"])
    found = activities(fit(toy_topology("copies"), samples, target="y", splits=splits, training=SHORT), samples)
    assert found.nodes == {"level 1": ("x", "y"), "level 2": ("p",), "level 3": ("r",)}


def test_unknown_reading_points_are_told() -> None:
    with pytest.raises(ValueError, match="Did you mean 'activation'"):
        activities(trained(splits=folds()[:1], n_seeds=1), cohort(), after="activations")  # type: ignore[arg-type]


def test_effects_find_the_planted_set_and_equal_a_loop() -> None:
    made = trained(training=Training(epochs=60, lr=1e-2))
    found = activities(made, cohort())
    effects = activity_effects(made, found)
    assert effects["node"][0] in ("set 3", "group 1"), "the planted set or its parent"
    assert effects[effects["level"] == "level 1"]["node"].iloc[0] == "set 3"
    positive = (cohort().targets["phenotype"] == made.target.classes[1]).to_numpy()
    by_split = []
    for split in made.splits:
        rows = cohort().index(split.test)
        per_seed = []
        for r in np.flatnonzero(made.replicates["split"] == split.name):
            v = found.levels["level 1"][rows, r, 3]
            per_seed.append((v[positive[rows]].mean() - v[~positive[rows]].mean()) / v.std())
        by_split.append(np.mean(per_seed))
    row = effects[effects["node"] == "set 3"].iloc[0]
    assert np.isclose(row["effect"], np.mean(by_split))
    ratio = np.mean([len(s.test) / (len(s.train) + len(s.validation)) for s in made.splits])
    spread = np.sqrt((1 / 3 + ratio) * np.var(by_split, ddof=1))
    low, high = stats.t.interval(0.95, 2, np.mean(by_split), spread)
    assert np.allclose([row["low"], row["high"]], [low, high])
    assert row["n_inputs"] == 12


@pytest.mark.parametrize("target", ["quantity", "thirds"])
def test_effects_of_quantities_and_classes(target: str) -> None:
    made = trained(target=target, training=Training(epochs=60, lr=1e-2))
    effects = activity_effects(made, activities(made, cohort()))
    assert "set 3" in effects["node"].head(3).tolist()
    assert effects["contrast"].nunique() == (3 if target == "thirds" else 1)
    assert (effects["effect"].abs().diff().dropna() <= 0).all()


def test_effects_of_other_people_are_refused() -> None:
    made = trained(splits=folds()[:1], n_seeds=1)
    others = activities(made, cohort(130, seed=1))
    with pytest.raises(ValueError, match="these are others"):
        activity_effects(made, others)

"""Networks that learn from packed genotypes: the same as from their values written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from tests.data.genotypes.cohorts import genotypes, missing
from vnn._errors import AlignmentError, GenotypeError
from vnn.data import Split, hold_out, k_fold
from vnn.data.genotypes import Cohort, GeneMap, fit_coding, open_store, read_annovar, read_plink, write_store
from vnn.kernels import backend
from vnn.kernels.cpu import calls
from vnn.models import Recipe
from vnn.ontology import Topology
from vnn.training import Fit, Training, fit
from vnn.training.loop import Trainer

N_VARIANTS, N_PEOPLE = 24, 200


def study(rng: np.random.Generator, *, gaps: float = 0.1, covariates: bool = False):
    """Six genes of four variants, the first of which matters."""
    frequency = rng.uniform(0.1, 0.5, (N_VARIANTS, 1))
    dosages = rng.binomial(2, frequency, (N_VARIANTS, N_PEOPLE)).astype(float)
    risk = dosages[0] + dosages[1] - dosages[:2].mean(1).sum()
    if gaps:
        dosages = missing(rng, dosages, gaps)
    held = genotypes(dosages, names=[f"p{i:03d}" for i in rng.permutation(N_PEOPLE)])
    table = pd.DataFrame(
        {"case": np.where(risk + rng.normal(size=N_PEOPLE) > 0, "case", "control"), "liability": risk}, index=held.ids
    )
    table["time"], table["event"] = np.exp(-risk + rng.normal(size=N_PEOPLE)), rng.random(N_PEOPLE) < 0.7
    own = {"targets": table}
    if covariates:
        own["covariates"] = pd.DataFrame({"age": rng.normal(size=N_PEOPLE)}, index=held.ids)
    held = held.joined(**own)
    edges = pd.DataFrame(
        [("inputs", f"v{i}", "genes", f"g{i // 4}") for i in range(N_VARIANTS)],
        columns=["source_level", "source", "target_level", "target"],
    )
    topology = Topology.from_edges({"inputs": list(held.variants.index), "genes": [f"g{i}" for i in range(6)]}, edges)
    return held, topology.in_order(held.variants.index)


def settings(**changed):
    return Training(
        start="random", epochs=4, batch_size=256, dtype="float64", impute="mean", weight_decay=0.1, **changed
    )


RECIPE = Recipe(dropout=0, input_dropout=0)


@pytest.mark.parametrize("start", ["random", "associations"])
@pytest.mark.parametrize("coding", ["additive", "dominant", "recessive"])
def test_one_batch_of_everybody_learns_what_numbers_teach(start, coding):
    held, topology = study(np.random.default_rng(0))
    code = fit_coding(held, coding, missing="nan")
    splits = k_fold(held.ids, k=3, validation=0.2, seed=1)
    how = {"target": "case", "splits": splits, "n_seeds": 2, "recipe": RECIPE, "seed": 3}
    training = settings().model_copy(update={"start": start})
    plain = fit(topology, code.apply(held), training=training, **how)
    packed = fit(topology, Cohort.in_memory(held, code), training=training, **how)
    for name, values in plain.networks.state_dict().items():
        tolerance = 1e-9 if start == "random" else 1e-4
        torch.testing.assert_close(packed.networks.state_dict()[name], values, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("target", "event"), [("liability", None), ("time", "event"), ("case", None)], ids=["quantity", "survival", "class"]
)
def test_any_people_at_random_learn_batch_by_batch_what_numbers_teach(tmp_path, target, event):
    held, topology = study(np.random.default_rng(1), covariates=True)
    code = fit_coding(held, "additive", missing="nan")
    ordered = held.select(ids=sorted(held.ids))
    store = write_store(ordered, tmp_path, seed=5)
    cohort = Cohort.of(ordered, code, store, batches="people")
    place = np.argsort(cohort.people.place)  # batches are cut from people in the order of their rows
    renamed = dict(zip((ordered.ids[i] for i in place), sorted(held.ids), strict=True))
    again = _named(ordered, renamed)
    splits = k_fold(sorted(held.ids), k=3, validation=0.2, seed=1)
    how = {"target": target, "event": event, "n_seeds": 2, "recipe": RECIPE, "seed": 3}
    how["training"] = settings().model_copy(update={"batch_size": 50})
    plain = fit(topology, code.apply(again), splits=[_renamed(s, renamed) for s in splits], **how)
    packed = fit(topology, cohort, splits=splits, **how)
    for name, values in plain.networks.state_dict().items():
        torch.testing.assert_close(packed.networks.state_dict()[name], values, rtol=1e-9, atol=1e-9)
    logits = packed.predict(cohort).logits
    at = [again.ids.index(renamed[name]) for name in cohort.ids]
    np.testing.assert_allclose(logits, plain.predict(code.apply(again)).logits[at], rtol=1e-8, atol=1e-8)


def _named(held, names):
    people = held.people.rename(index=names)
    tables = {what: getattr(held, what).rename(index=names) for what in ("targets", "covariates", "groups")}
    return replace(held, people=people, **tables)


def _renamed(split, names):
    return replace(
        split, **{part: tuple(names[i] for i in getattr(split, part)) for part in ("train", "validation", "test")}
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_of_genes_change_no_bit(monkeypatch, dtype):
    held, topology = study(np.random.default_rng(4), covariates=True)
    cohort = Cohort.in_memory(held, fit_coding(held, "additive", missing="nan"))
    training = settings().model_copy(update={"dtype": dtype})
    splits = k_fold(held.ids, k=3, validation=0.2, seed=1)
    found, cut = [], []
    by_blocks = calls.by_blocks

    def counted(whole, shape):
        made = by_blocks(whole, shape)
        cut.append(len(made) > len(whole))
        return made

    monkeypatch.setattr(calls, "by_blocks", counted)
    for size in (calls.BLOCK, 4 * 3 * 256 * 4, 1):
        monkeypatch.setattr(calls, "BLOCK", size)
        made = fit(topology, cohort, target="case", splits=splits, recipe=RECIPE, training=training, seed=3)
        found.append(made.networks.state_dict())
    assert {True, False} == set(cut)
    for state in found[1:]:
        assert all(torch.equal(values, state[name]) for name, values in found[0].items())


def test_panels_of_a_store_predict_and_read_as_their_numbers_do(tmp_path):
    held, topology = study(np.random.default_rng(2))
    code = fit_coding(held, "additive", missing="nan")
    splits = k_fold(held.ids, k=2, validation=0.2, seed=1)
    store = write_store(held, tmp_path / "store", parts=[split.test for split in splits], seed=1)
    cohort = Cohort.of(held, code, store)
    training = settings().model_copy(update={"batch_size": 64})
    made = fit(topology, cohort, target="case", splits=splits, n_seeds=2, recipe=RECIPE, training=training, seed=1)
    some = [held.ids[i] for i in (3, 77, 150, 4, 199)]
    for ids in (held.ids, some):
        packed, numbers = cohort.select(ids=ids), code.apply(held.select(ids=ids))
        one, other = made.predict(packed), made.predict(numbers)
        assert one.ids == other.ids == tuple(ids)
        np.testing.assert_allclose(one.logits, other.logits, rtol=1e-9, atol=1e-9)
        np.testing.assert_array_equal(one.held_out, other.held_out)
        np.testing.assert_allclose(made.read(packed)["genes"], made.read(numbers)["genes"], rtol=1e-5, atol=1e-6)
    made.save(tmp_path / "fit")
    loaded = Fit.load(tmp_path / "fit", topology)
    np.testing.assert_array_equal(loaded.predict(cohort).logits, made.predict(cohort).logits)


def test_readings_of_panels_are_those_of_numbers():
    held, topology = study(np.random.default_rng(3))
    code = fit_coding(held, "additive", missing="nan")
    splits = k_fold(held.ids, k=2, seed=1)
    recipe = Recipe(dropout=0, input_dropout=0, units=2)
    how = {"target": "case", "splits": splits, "recipe": recipe, "training": settings(), "seed": 3}
    plain, packed = fit(topology, code.apply(held), **how), fit(topology, Cohort.in_memory(held, code), **how)
    for name in ("loading", "centre", "mean", "sd"):
        np.testing.assert_allclose(
            getattr(packed.readings["genes"], name), getattr(plain.readings["genes"], name), rtol=1e-6, atol=1e-8
        )


def test_genotypes_of_held_out_people_change_no_bit(tmp_path):
    rng = np.random.default_rng(4)
    held, topology = study(rng)
    split = hold_out(held.ids, test=0.3, validation=0.2, seed=1)
    code = fit_coding(held, "additive", missing="nan")
    dosages = held.dosages()
    dosages[:, held.index(split.test)] = rng.integers(0, 3, (N_VARIANTS, len(split.test)))
    other = genotypes(dosages, names=held.ids).joined(targets=held.targets)
    how = {"target": "case", "splits": [split], "recipe": Recipe(dropout=0.3, input_dropout=0), "seed": 3}
    how["training"] = settings().model_copy(update={"batch_size": 64})
    one, two = (fit(topology, Cohort.in_memory(g, code, seed=9), **how) for g in (held, other))
    for name, values in one.networks.state_dict().items():
        assert torch.equal(values, two.networks.state_dict()[name]), name


@pytest.mark.parametrize("batches", ["panels", "people"])
def test_killed_in_the_middle_and_resumed_it_has_the_same_bits(tmp_path, monkeypatch, batches):
    held, topology = study(np.random.default_rng(5))
    code = fit_coding(held, "additive", missing="nan")
    store = write_store(held, tmp_path / "store", seed=1)
    cohort = Cohort.of(held, code, store, batches=batches)
    how = {"target": "case", "splits": k_fold(held.ids, k=3, validation=0.2, seed=1), "seed": 3}
    how |= {"recipe": Recipe(dropout=0.2, input_dropout=0)}
    how["training"] = settings(patience=50).model_copy(update={"batch_size": 64, "epochs": 9})
    whole = fit(topology, cohort, **how)
    monkeypatch.setattr("vnn.training.loop.CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("vnn.training.loop.CHECKPOINT_SHARE", 1e9)
    steps = iter(range(8))
    step = Trainer._step

    def dying(self, batch):
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return step(self, batch)

    monkeypatch.setattr(Trainer, "_step", dying)
    with pytest.raises(KeyboardInterrupt):
        fit(topology, cohort, checkpoint=tmp_path / "half", **how)
    monkeypatch.setattr(Trainer, "_step", step)
    again = fit(
        topology,
        Cohort.of(held, code, open_store(tmp_path / "store"), batches=batches),
        checkpoint=tmp_path / "half",
        **how,
    )
    for name, values in whole.networks.state_dict().items():
        assert torch.equal(values, again.networks.state_dict()[name]), name


def test_in_processes_of_their_own_they_have_the_same_bits(tmp_path):
    held, topology = study(np.random.default_rng(6))
    cohort = Cohort.of(held, fit_coding(held, "additive", missing="nan"), write_store(held, tmp_path, seed=1))
    how = {"target": "case", "splits": k_fold(held.ids, k=2, validation=0.2, seed=1), "seed": 3, "recipe": RECIPE}
    how["training"] = settings().model_copy(update={"batch_size": 64})
    alone, spread = fit(topology, cohort, **how), fit(topology, cohort, workers=2, **how)
    for name, values in alone.networks.state_dict().items():
        torch.testing.assert_close(spread.networks.state_dict()[name], values, rtol=1e-9, atol=1e-12)


def test_modules_and_programs_learn_the_same():
    held, topology = study(np.random.default_rng(7), covariates=True)
    cohort = Cohort.in_memory(held, fit_coding(held, "additive", missing="nan"))
    how = {"target": "case", "splits": k_fold(held.ids, k=2, validation=0.2, seed=1), "seed": 3}
    how |= {
        "recipe": Recipe(dropout=0.2, input_dropout=0),
        "training": settings().model_copy(update={"batch_size": 128}),
    }
    fast = fit(topology, cohort, **how)
    with backend("reference"):
        plain = fit(topology, cohort, **how)
    for name, values in plain.networks.state_dict().items():
        torch.testing.assert_close(fast.networks.state_dict()[name], values, rtol=1e-8, atol=1e-9)


def test_what_packed_genotypes_cannot_do_is_said():
    held, topology = study(np.random.default_rng(8))
    cohort = Cohort.in_memory(held, fit_coding(held, "additive", missing="nan"))
    splits = [hold_out(held.ids, test=0.2, seed=1)]
    with pytest.raises(ValueError, match=r"batch_size is 100; people lie in panels of 64.*such as 64"):
        fit(topology, cohort, target="case", splits=splits, recipe=RECIPE, training=Training(batch_size=100))
    with pytest.raises(ValueError, match=r"input_dropout = 0"):
        fit(topology, cohort, target="case", splits=splits, training=Training(batch_size=64))
    with pytest.raises(ValueError, match=r"genotypes of 24 of 24 variants are missing.*'v0'"):
        fit(topology, cohort, target="case", splits=splits, recipe=RECIPE, training=Training(batch_size=64))
    with pytest.raises(ValueError, match="equalised"):
        fit(
            topology,
            cohort,
            target="case",
            splits=splits,
            recipe=RECIPE,
            training=settings(),
            kind="equalised",
            draws=[0],
        )
    with pytest.raises(AlignmentError, match=r"Deal the panels from genotypes\.select"):
        fit(
            topology.in_order(reversed(topology.inputs)),
            cohort,
            target="case",
            splits=splits,
            recipe=RECIPE,
            training=settings(),
        )
    with pytest.raises(GenotypeError, match=r"fitted on 24 variants, and the genotypes have 20"):
        Cohort.in_memory(held.select(held.variants.index[:20]), fit_coding(held, "genotype"))


@pytest.mark.slow
@pytest.mark.data
def test_panels_cost_no_accuracy_on_gennets_simulation(real, tmp_path):
    folder = real("genotype/gennet_a_to_z/plink/GenNet_simulation.bed").parents[1]
    held = read_plink(folder / "plink" / "GenNet_simulation")
    table = read_annovar(folder / "processed_data" / "GenNet_simulation_RefGene.variant_function")
    genes = GeneMap.from_annotation(held, table)
    known = pd.read_csv(folder / "run_folder" / "subjects.csv", index_col="patient_id")
    held = held.select(list(genes.features())).joined(targets=known["labels"].astype(str).to_frame("case"))
    split = Split("given", *(tuple(known.index[known["set"] == part]) for part in (1, 2, 3)))
    topology, code = genes.topology().in_order(held.variants.index), fit_coding(held, missing="nan")
    training = Training(epochs=10, batch_size=256, lr=0.01, weight_decay=0, start="random", impute="mean")
    auc = {"panels": [], "people": []}
    for seed in range(5):
        store = write_store(held, tmp_path / str(seed), parts=[split.train, split.validation, split.test], seed=seed)
        for batches, found in auc.items():
            cohort = Cohort.of(held, code, store, batches=batches)
            made = fit(topology, cohort, target="case", splits=[split], seed=seed, recipe=RECIPE, training=training)
            test = cohort.select(ids=split.test)
            found.append(roc_auc_score(test.targets["case"] == "1", made.predict(test).values[:, 0, 1]))
    print({batches: np.round(found, 4).tolist() for batches, found in auc.items()})
    spread = np.hypot(*(np.std(found, ddof=1) / np.sqrt(5) for found in auc.values()))
    assert np.mean(auc["panels"]) > np.mean(auc["people"]) - max(2 * spread, 0.005)
    assert min(auc["panels"]) > 0.95

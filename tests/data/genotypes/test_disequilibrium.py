"""LD: pandas' correlations, plink 1.9, and the rules written as loops over a matrix."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.data.genotypes.cohorts import genotypes, in_ld, missing, plink, table
from vnn._errors import AlignmentError, GenotypeError
from vnn.data.genotypes import GeneMap, GeneRanges, disequilibrium, loci
from vnn.data.genotypes.disequilibrium import clumped, pruned, r2, r2_between


@pytest.fixture(scope="module", params=[0.0, 0.03], ids=["whole", "missing"])
def linked(request):
    """400 variants on two chromosomes in 110 people, in LD."""
    rng = np.random.default_rng(11)
    dosages = missing(rng, in_ld(rng, 400, 110), request.param)
    dosages[30], dosages[31] = 1, np.nan
    position = [*np.sort(rng.choice(1_000_000, 250, replace=False)), *np.sort(rng.choice(800_000, 150, replace=False))]
    return genotypes(dosages, chromosome=["1"] * 250 + ["2"] * 150, position=position), dosages


def correlations(dosages: np.ndarray) -> np.ndarray:
    return pd.DataFrame(dosages.T).corr(min_periods=2).to_numpy() ** 2


def test_correlations(linked):
    cohort, dosages = linked
    np.testing.assert_allclose(r2(cohort, cohort.variants.index), correlations(dosages), atol=1e-12)
    some = r2(cohort, ["v9", "v3"], ["v8", "v12", "v2"])
    np.testing.assert_allclose(some, correlations(dosages)[np.ix_([9, 3], [8, 12, 2])], atol=1e-12)
    assert list(some.columns) == ["v8", "v12", "v2"]


def pruned_by_loop(
    squared: np.ndarray, maf: np.ndarray, places: list[int], window: int, step: int, least: float
) -> list[int]:
    """plink --indep-pairwise on one chromosome, pair by pair."""
    alive = dict.fromkeys(places, True)
    for place in places:
        alive[place] = maf[place] > 0
    for start in range(0, len(places), step):
        inside = places[start : start + window]
        changed = True
        while changed:
            changed = False
            for at, one in enumerate(inside):
                for two in inside[at + 1 :]:
                    if alive[one] and alive[two] and squared[one, two] > least:
                        alive[one if maf[one] < maf[two] else two] = False
                        changed = True
                        break
    return [place for place in places if alive[place]]


RULES = [
    {"window": 50, "step": 5, "r2": 0.2},
    {"window": 10, "step": 10, "r2": 0.1},
    {"window": 300, "step": 7, "r2": 0.3},
    {"kb": 60, "step": 1, "r2": 0.3},
    {"kb": 200, "step": 4, "r2": 0.5},
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_pruning_is_plinks(linked, tmp_path, rule, monkeypatch):
    cohort, _ = linked
    window = [str(rule["kb"]), "kb"] if "kb" in rule else [str(rule["window"])]
    prefix = plink("plink1.9", cohort, tmp_path, "--indep-pairwise", *window, str(rule["step"]), str(rule["r2"]))
    told = (tmp_path / f"{prefix.name}.prune.in").read_text().split()
    assert list(pruned(cohort, **rule)) == told
    monkeypatch.setattr(disequilibrium, "_AT_ONCE", 29)
    assert list(pruned(cohort, **rule)) == told


@pytest.mark.parametrize("rule", RULES[:3], ids=str)
def test_pruning_by_loop(linked, rule):
    cohort, dosages = linked
    with np.errstate(invalid="ignore"):
        p = np.array([row[~np.isnan(row)].mean() / 2 if (~np.isnan(row)).any() else 0 for row in dosages])
    maf = np.minimum(p, 1 - p)
    maf[30] = 0  # everybody is heterozygous: no variation
    squared = correlations(dosages)
    wanted = [
        place
        for places in (list(range(250)), list(range(250, 400)))
        for place in pruned_by_loop(squared, maf, places, rule["window"], rule["step"], rule["r2"])
    ]
    assert list(pruned(cohort, **rule)) == [f"v{at}" for at in wanted]


def test_pruning_by_training_people_and_in_any_order(linked):
    cohort, _ = linked
    training = cohort.ids[:70]
    assert pruned(cohort, training=training) == pruned(cohort.select(ids=training))
    rng = np.random.default_rng(3)
    turned = cohort.select(variants=rng.permutation(cohort.variants.index))
    order = turned.variants.index.isin(pruned(cohort))
    assert pruned(turned) == tuple(turned.variants.index[order])


def clumped_by_loop(squared, p, chromosome, position, leads, listed, least, kb):
    free, found = set(range(len(p))), []
    for leader in sorted(range(len(p)), key=lambda at: p[at]):
        if p[leader] > leads or leader not in free:
            continue
        mine = [
            at for at in sorted(free - {leader}) if chromosome[at] == chromosome[leader]
            and abs(position[at] - position[leader]) <= kb * 1000 and squared[leader, at] > least
        ]  # fmt: skip
        free -= {leader, *mine}
        found.append((f"v{leader}", f"v{leader}"))
        found += [(f"v{at}", f"v{leader}") for at in mine if p[at] <= listed]
    return found


def test_clumps_by_loop(linked):
    cohort, dosages = linked
    rng = np.random.default_rng(8)
    p = pd.Series(10 ** -rng.exponential(1.5, 400), index=cohort.variants.index)
    columns = [cohort.variants[name].tolist() for name in ("chromosome", "position")]
    for rule in (
        {"leads": 1e-3, "listed": 0.01, "r2": 0.5, "kb": 250},
        {"leads": 0.05, "listed": 0.2, "r2": 0.2, "kb": 50},
    ):
        found = clumped(cohort, p.sample(frac=1, random_state=1), **rule)
        wanted = clumped_by_loop(
            correlations(dosages), p.to_numpy(), *columns, *[rule[k] for k in ("leads", "listed", "r2", "kb")]
        )
        assert list(zip(found.index, found["leader"], strict=True)) == wanted
        np.testing.assert_array_equal(found["p"], p[found.index])
        assert (found.loc[found.index == found["leader"], ["r2", "distance"]] == [1, 0]).all().all()


def test_clumps_are_plinks(tmp_path):
    """Blocks of copies of a variant with a few changes: far above and below any limit, haplotypes as genotypes."""
    rng = np.random.default_rng(9)
    dosages = np.repeat(rng.binomial(2, 0.4, (40, 300)), 6, axis=0).astype(float)
    changed = rng.random(dosages.shape) < 0.01
    dosages[changed] = rng.integers(0, 3, changed.sum())
    cohort = genotypes(dosages, chromosome=["1"] * 120 + ["2"] * 120, position=[1 + 20_000 * at for at in range(240)])
    p = pd.Series(10 ** -rng.exponential(2, 240), index=cohort.variants.index)
    p.rename("P").rename_axis("SNP").reset_index().to_csv(tmp_path / "trait.assoc", sep="\t", index=False)
    trait = str(tmp_path / "trait.assoc")
    prefix = plink("plink1.9", cohort, tmp_path, "--clump", trait, "--clump-p1", "0.01", "--clump-p2", "0.3")
    told = table(f"{prefix}.clumped")
    found = clumped(cohort, p, leads=0.01, listed=0.3)
    theirs = {
        leader: {leader, *(name.split("(")[0] for name in others.split(",") if name != "NONE")}
        for leader, others in zip(told["SNP"], told["SP2"], strict=True)
    }
    assert {leader: set(part.index) for leader, part in found.groupby("leader", sort=False)} == theirs
    assert list(found.index[found.index == found["leader"]]) == list(told["SNP"])
    assert len(theirs) > 10
    assert max(map(len, theirs.values())) > 3


def test_variants_without_p_are_in_no_clump():
    rng = np.random.default_rng(2)
    dosages = np.repeat(rng.binomial(2, 0.4, (1, 50)), 3, axis=0).astype(float)
    cohort = genotypes(dosages)
    found = clumped(cohort, pd.Series({"v2": 1e-6, "v0": 1e-5, "v1": np.nan}))
    assert found.index.tolist() == ["v2", "v0"]
    assert found["distance"].tolist() == [0, -2000]
    assert len(clumped(cohort, pd.Series({"v0": 0.5}))) == 0
    with pytest.raises(GenotypeError, match=r"1 of the 2 p are not between 0 and 1: 'v0'"):
        clumped(cohort, pd.Series({"v0": 1.5, "v1": 0.1}))
    with pytest.raises(AlignmentError, match="lack 1 of the 1 variants"):
        clumped(cohort, pd.Series({"w": 0.1}))
    with pytest.raises(GenotypeError, match="`listed` must be the greater one"):
        clumped(cohort, pd.Series({"v0": 0.1}), leads=0.1)


@pytest.mark.parametrize("at_once", [1024, 23])
def test_between_genes(linked, monkeypatch, at_once):
    cohort, dosages = linked
    monkeypatch.setattr(disequilibrium, "_AT_ONCE", at_once)
    rng = np.random.default_rng(1)
    places = {f"gene{at}": np.sort(rng.choice(np.arange(s := 12 * at, s + 18), 9, replace=False)) for at in range(30)}
    places["gene20"] = np.array([249, 250, 251, 252])  # on two chromosomes
    places["alone"] = np.array([30])  # does not vary
    genes = {name: [f"v{at}" for at in rng.permutation(chosen)] for name, chosen in places.items()}
    found = r2_between(cohort, genes, kb=100).set_index(["gene_a", "gene_b"])
    squared = correlations(dosages)
    chromosome, position = (cohort.variants[name].to_numpy() for name in ("chromosome", "position"))
    wanted = {}
    names = list(genes)
    for i, one in enumerate(names):
        for two in names[i + 1 :]:
            spans = []
            best, shared = [], len(set(genes[one]) & set(genes[two]))
            for which in ("1", "2"):
                a, b = ([at for at in places[name] if chromosome[at] == which] for name in (one, two))
                if a and b:
                    gap = max(position[b].min() - position[a].max(), position[a].min() - position[b].max(), 0)
                    if gap <= 100_000:
                        spans.append(gap)
                        best.append(
                            np.nan if np.isnan(squared[np.ix_(a, b)]).all() else np.nanmax(squared[np.ix_(a, b)])
                        )
            if spans:
                wanted[(one, two)] = (min(spans), shared, np.nan if np.isnan(best).all() else np.nanmax(best))
    assert list(found.index) == list(wanted)
    np.testing.assert_allclose(found.to_numpy(dtype=float), np.array(list(wanted.values()), dtype=float), atol=1e-12)
    assert found["shared"].max() > 0


def test_one_causal_variant_in_strong_ld_over_three_genes_is_one_locus():
    rng = np.random.default_rng(5)
    causal = rng.binomial(2, 0.3, 400)
    near = np.where(rng.random((9, 400)) < 0.05, rng.binomial(2, 0.3, (9, 400)), causal)
    position = [gene * 800_000 + at * 1000 for gene in (1, 2, 3, 4) for at in (1, 2, 3)]
    cohort = genotypes(np.concatenate([near, rng.binomial(2, 0.3, (3, 400))]).astype(float), position=position)
    ends = {name: (800_000 * at, 800_000 * at + 5000) for at, name in enumerate("abcd", start=1)}
    ranges = pd.DataFrame(
        [(name, "1", *ends[name], "+") for name in "abcd"], columns=["gene", "chromosome", "start", "end", "strand"]
    )
    found = GeneMap.from_ranges(cohort, GeneRanges.of(ranges), upstream=0, downstream=0)
    genes = found.pairs.groupby("gene")["variant"].agg(list).to_dict()
    between = r2_between(cohort, genes)
    assert (between["r2"] > 0.5).tolist() == [True, True, False, True, False, False]
    assert between["distance"].tolist() == [798_000, 1_598_000, 2_398_000, 798_000, 1_598_000, 798_000]
    assert loci(found, ["b", "a", "c", "d"])["locus"].tolist() == ["b", "a", "c", "d"]
    assert loci(found, ["b", "a", "c", "d"], r2=between)["locus"].tolist() == ["b", "b", "b", "d"]


def test_what_cannot_be_asked(linked):
    cohort, _ = linked
    with pytest.raises(GenotypeError, match="pruning with window=1, step=5"):
        pruned(cohort, window=1)
    with pytest.raises(AlignmentError, match="1 of the 2 groups have no variants: 'b'"):
        r2_between(cohort, {"a": ["v1"], "b": []})
    with pytest.raises(AlignmentError, match="lack 1 of the 2 variants of the groups: 'w'"):
        r2_between(cohort, {"a": ["v1", "w"]})
    assert r2_between(cohort, {"a": ["v1"], "b": ["v399"]}).columns.tolist() == [
        "gene_a",
        "gene_b",
        "distance",
        "shared",
        "r2",
    ]
    assert pruned(cohort.select(variants=[])) == ()

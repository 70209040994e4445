"""Simulated genomes: frequencies, Hardy-Weinberg, linkage, populations, families, the X chromosome, what is missing."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, chisquare

from vnn.data.genotypes import SimulatedGenotypes, Trait, landscape, mosaics, simulate_genotypes

NULL = (Trait(scenario="null"),)


def simulated(folder: Path, **changes: object) -> SimulatedGenotypes:
    asked: dict[str, object] = {
        "people": 1500, "variants": 2000, "genes": 40, "pathways": 4, "traits": NULL, "chromosomes": 4, "seed": 5,
    }  # fmt: skip
    return simulate_genotypes(folder, **asked | changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("plain") / "study")


@pytest.fixture(scope="module")
def related(tmp_path_factory):
    """Two populations, families, the X chromosome."""
    return simulated(
        tmp_path_factory.mktemp("related") / "study", populations=2, fst=0.05, families=120, x=True, seed=6
    )


def r2_by_distance(dosages: np.ndarray, position: np.ndarray, borders: list[int]) -> np.ndarray:
    """Mean r2 of pairs of common variants of one chromosome."""
    p = dosages.mean(1) / 2
    common = np.minimum(p, 1 - p) > 0.05
    r2 = np.corrcoef(dosages[common]) ** 2
    apart = np.abs(position[common][:, None] - position[common])
    bins = np.digitize(apart, borders) - 1
    upper = np.triu(np.ones_like(r2, dtype=bool), 1)
    return np.array([r2[upper & (bins == number)].mean() for number in range(len(borders) - 1)])


def test_frequencies_and_hardy_weinberg(plain):
    counts = plain.genotypes.counts().astype(float)[:, [0, 2, 3]]
    n = counts.sum(1)
    p = (2 * counts[:, 0] + counts[:, 1]) / (2 * n)
    wanted = landscape.lay_out(
        2000, 40, 4, frequencies="realistic", chromosomes=[*"1234"], strong=False, seed=5
    ).variants["frequency"].to_numpy()  # fmt: skip
    rounded = np.round(2000 * wanted) / 2000
    z = (p - rounded) / np.sqrt(rounded * (1 - rounded) / (2 * n))
    assert (z**2).mean() == pytest.approx(1, abs=0.15)
    assert abs(z.mean()) < 0.25
    expected = n[:, None] * np.stack([p**2, 2 * p * (1 - p), (1 - p) ** 2], 1)
    fit = np.minimum(p, 1 - p) > 0.05
    assert chisquare(counts[fit], expected[fit], axis=1).statistic.mean() == pytest.approx(1, abs=0.15)


def test_spectra_of_frequencies(plain, tmp_path):
    def spectrum(study: SimulatedGenotypes) -> np.ndarray:
        counts = study.genotypes.counts()
        return (2 * counts[:, 0] + counts[:, 2]) / (2 * counts.sum(1))

    neutral = np.log([0.05 / 0.95 * 99, 0.2 / 0.8 * 99, 99]) / np.log(99)  # of density 1 / p(1 - p) from 0.01
    own = spectrum(plain)
    np.testing.assert_allclose([(own < at).mean() for at in (0.05, 0.2)], neutral[:2], atol=0.03)
    uniform = spectrum(simulated(tmp_path / "uniform", frequencies="uniform", people=4000, variants=800, genes=20))
    assert uniform.min() > 0.17
    np.testing.assert_allclose(np.quantile(uniform, [0.25, 0.5, 0.75]), [0.275, 0.35, 0.425], atol=0.02)


def test_linkage_decays_as_under_the_coalescent(plain):
    msprime = pytest.importorskip("msprime")
    borders = [0, 10_000, 20_000, 50_000, 100_000, 200_000]
    genotypes = plain.genotypes
    own = []
    for name in "1234":
        there = genotypes.variants["chromosome"] == name
        part = genotypes.select(genotypes.variants.index[there])
        own.append(r2_by_distance(part.dosages(), part.variants["position"].to_numpy(), borders))
    ancestry = msprime.sim_ancestry(
        300, sequence_length=1e6, recombination_rate=1e-8, population_size=1e4, random_seed=1
    )
    trees = msprime.sim_mutations(ancestry, rate=1e-8, random_seed=1)
    alleles = (trees.genotype_matrix() > 0).reshape(trees.num_sites, -1, 2).sum(2)
    theirs = r2_by_distance(alleles, trees.sites_position, borders)
    found = np.mean(own, axis=0)
    assert (np.diff(found) < 0).all()
    np.testing.assert_allclose(np.log2(found[:4] / theirs[:4]), 0, atol=1)
    assert found[-1] < 0.1


def test_chromosomes_are_not_linked(plain):
    dosages = plain.genotypes.dosages()[plain.genotypes.variants["chromosome"].isin(["1", "2"])]
    r = np.corrcoef(dosages[:400], dosages[-400:])[:400, 400:]
    assert (r**2).mean() * plain.genotypes.n_people == pytest.approx(1, abs=0.2)


def test_populations_part_by_fst(related):
    genotypes = related.genotypes
    autosomal = genotypes.variants.index[genotypes.variants["chromosome"] != "X"]
    founders = genotypes.people["father"] == ""
    p, n = [], []
    for name in ("population 1", "population 2"):
        ids = genotypes.people.index[founders & (genotypes.groups["population"] == name)]
        p.append(genotypes.select(autosomal, ids).dosages().mean(1) / 2)
        n.append(2 * len(ids))
    own = sum(q * (1 - q) / (m - 1) for q, m in zip(p, n, strict=True))
    fst = ((p[0] - p[1]) ** 2 - own).sum() / (p[0] * (1 - p[1]) + p[1] * (1 - p[0])).sum()  # Hudson
    assert fst == pytest.approx(0.05, rel=0.2)


def king(one: np.ndarray, other: np.ndarray) -> float:
    """KING-robust kinship within a population (Manichaikul 2010, equation 9), as its authors write it."""
    both = ((one == 1) & (other == 1)).sum()
    opposite = (abs(one - other) == 2).sum()
    return (both - 2 * opposite) / ((one == 1).sum() + (other == 1).sum())


def test_kinship_and_transmission(related):
    genotypes, pairs = related.genotypes, related.truth.relatives
    autosomal = genotypes.variants.index[genotypes.variants["chromosome"] != "X"]
    dosages = dict(zip(genotypes.ids, genotypes.select(autosomal).dosages().T, strict=True))
    kinship = np.array([king(dosages[a], dosages[b]) for a, b in zip(pairs["person"], pairs["relative"], strict=True)])
    parent = (pairs["relation"] == "parent").to_numpy()
    assert parent.sum() == 4 * 120
    assert (~parent).sum() == 120
    assert kinship[parent].mean() == pytest.approx(0.25, abs=0.01)
    assert kinship[~parent].mean() == pytest.approx(0.25, abs=0.04)
    for child, relative in pairs[parent][["person", "relative"]].itertuples(index=False):
        assert (abs(dosages[child] - dosages[relative]) < 2).all()
        assert relative in tuple(genotypes.people.loc[child, ["father", "mother"]])
    of = genotypes.groups["population"]
    strangers = [
        (a, b) for a, b in zip(genotypes.ids[480:880:2], genotypes.ids[481:880:2], strict=True) if of[a] == of[b]
    ]
    assert np.mean([king(dosages[a], dosages[b]) for a, b in strangers]) == pytest.approx(0, abs=0.01)


def test_siblings_differ_by_crossing_over(tmp_path, monkeypatch):
    """The spread of kinship between siblings is that of gametes of Haldane's model, simulated in the plainest way."""
    monkeypatch.setattr(landscape, "SPACING", 200_000)
    study = simulated(
        tmp_path / "study", people=1000, families=250, chromosomes=3, variants=1500, frequencies="uniform"
    )
    dosages = study.genotypes.dosages().T.reshape(250, 4, -1)
    own = np.array([king(family[2], family[3]) for family in dosages])
    variants = study.genotypes.variants
    morgans = [1e-8 * np.ptp(variants["position"][variants["chromosome"] == name]) for name in "123"]
    rng = np.random.default_rng(1)

    def shared() -> float:
        """Share of the genome that two gametes of a parent have in common."""
        total = 0.0
        for length in morgans:
            cuts = np.sort(rng.random(rng.poisson(2 * length))) * length  # of either gamete
            pieces = np.diff([0, *cuts, length])
            total += pieces[int(rng.random() < 0.5) :: 2].sum()
        return total / sum(morgans)

    wanted = np.array([(shared() + shared()) / 4 for _ in range(4000)])
    assert own.mean() == pytest.approx(0.25, abs=0.02)
    assert own.std() == pytest.approx(wanted.std(), rel=0.25)


def test_the_x_chromosome(related):
    genotypes = related.genotypes
    part = genotypes.select(genotypes.variants.index[genotypes.variants["chromosome"] == "X"])
    dosages, male = part.dosages(), (part.people["sex"] == "male").to_numpy()
    assert part.n_variants == 400
    assert not (dosages[:, male] == 1).any()
    assert (dosages[:, ~male] == 1).any(1).mean() > 0.9
    assert male.mean() == pytest.approx(0.5, abs=0.05)
    by_id = dict(zip(part.ids, dosages.T, strict=True))
    for child, row in part.people[part.people["father"] != ""].iterrows():
        if row["sex"] == "male":
            mother = by_id[row["mother"]]
            assert (by_id[child] == mother)[mother != 1].all()
        else:
            assert (abs(by_id[child] - by_id[row["father"]]) < 2).all()
    sons = part.people.index[(part.people["father"] != "") & male]
    assert any((abs(by_id[son] - by_id[part.people.loc[son, "father"]]) == 2).any() for son in sons)


def test_missing_at_random(plain, tmp_path):
    study = simulated(tmp_path / "study", missing=0.02)
    before, after = plain.genotypes.dosages(), study.genotypes.dosages()
    gone = np.isnan(after)
    np.testing.assert_array_equal(after[~gone], before[~gone])
    assert binomtest(int(gone.sum()), gone.size, 0.02).pvalue > 0.001
    assert chisquare(gone.sum(0)).pvalue > 0.001
    assert chisquare(gone.sum(1)).pvalue > 0.001
    most = simulated(tmp_path / "most", missing=0.9, people=300, variants=200, genes=20).genotypes.counts().sum(0)
    assert binomtest(int(most[1]), int(most.sum()), 0.9).pvalue > 0.001


def content(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_in_batches_of_any_size(tmp_path, monkeypatch):
    asked = {"people": 150, "variants": 700, "families": 3, "missing": 0.1, "populations": 2, "chromosomes": 3}
    first = content(simulated(tmp_path / "a", **asked).folder)
    monkeypatch.setattr(mosaics, "BATCH", 1)
    assert content(simulated(tmp_path / "b", **asked).folder) == first
    other = content(simulated(tmp_path / "c", **asked | {"seed": 8}).folder)
    assert {name for name in first if first[name] == other[name]} == {"relations.tsv", "true_values.csv"}


def test_more_people_and_more_variants_leave_the_others_as_they_are(tmp_path):
    asked = {"people": 60, "variants": 600, "families": 4, "populations": 2, "missing": 0.05, "chromosomes": 3}
    small = simulated(tmp_path / "small", **asked).genotypes
    large = simulated(tmp_path / "large", **asked | {"people": 5000, "variants": 900}).genotypes
    assert large.ids[:60] == small.ids
    assert large.groups.iloc[:60].equals(small.groups)
    part = large.select(small.variants.index, small.ids)
    assert part.variants.equals(small.variants)
    np.testing.assert_array_equal(part.dosages(), small.dosages())


@pytest.mark.parametrize("n", [400_000, 3_000])
def test_variants_fit_into_the_chromosomes_of_the_build(n):
    """Chromosome 21 has 46,709,983 bases in GRCh38, room for about 11,000 variants 4,000 bases apart."""
    made = landscape.lay_out(n, 60, 2, frequencies="uniform", chromosomes=["1", "21"], strong=False, seed=1)
    on = made.variants.groupby("chromosome")["position"]
    assert on.max()["21"] < 46_709_983
    assert on.max()["1"] < 248_956_422
    assert made.variants.index.is_unique
    assert all(on.apply(lambda at: (np.diff(at) > 0).all()))
    assert (made.genes["end"] <= made.genes["chromosome"].map({"1": 248_956_422, "21": 46_709_983})).all()
    if n > 100_000:
        assert on.max()["21"] > 46_500_000


def test_a_chromosome_has_no_room_for_more_variants_than_bases():
    with pytest.raises(ValueError, match="has room for"):
        landscape._fitting(np.ones(46_000_000), "21")

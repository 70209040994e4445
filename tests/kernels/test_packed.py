"""The product of packed genotypes against the genotypes as numbers, decoded by numpy."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.kernels.dense import (
    TOLERANCE,
    Dense,
    dense,
    draw,
    error,
    exact,
    machines,
    random_pairs,
    rewired,
    running,
)
from vnn.kernels import Graph, Packed, packed_product, sparse_product

pytestmark = pytest.mark.usefixtures("poisoned_pool")
MACHINES = machines(torch.float64, torch.float32)

WIRINGS = {
    "plain": lambda: dense(random_pairs(60, 23, 0.3), 60, 23),
    "genes": lambda: dense([(v, v // 5) for v in range(61)], 61, 13),
    "parts": lambda: dense([(s, t) for t, n in enumerate((255, 256, 257, 512, 513)) for s in range(n)], 513, 5),
    "long": lambda: dense([(s, 0) for s in range(30_000)] + [(3, 1), (29_999, 1)], 30_000, 3),
    "units": lambda: dense(random_pairs(30, 6, 0.5), 30, 6, units_out=[3, 1, 2, 1, 1, 5]),
    "rewired": lambda: _rewired(3),
    "rewired units": lambda: _rewired(3, units_out=[1, 3, 1, 2, 1, 1, 4]),
    "empty rows": lambda: dense([(1, 2), (3, 2), (3, 5)], 6, 8),
    "no edges": lambda: dense([], 5, 3),
    "no variants": lambda: dense([], 0, 3),
    "no targets": lambda: dense([], 4, 0),
}


def _rewired(n: int, **units: list[int]) -> Dense:
    pairs, own = rewired(random_pairs(30, 7, 0.4), 30, n)
    return dense(pairs, 30, 7, sources=own, **units)


@functools.cache
def wiring(name: str) -> Dense:
    return WIRINGS[name]()


def random_codes(n_panels: int, n_variants: int, layout: str = "plain", seed: int = 0) -> Tensor:
    """Random bytes, so that a quarter of the codes is missing, in one of the layouts that are taken."""
    drawn = np.random.default_rng(seed).integers(0, 256, (n_panels, n_variants, 16), dtype=np.uint8)
    if layout == "by variant":
        return torch.from_numpy(drawn.transpose(1, 0, 2).copy()).transpose(0, 1)
    if layout == "sliced":
        room = np.full((2 * n_panels + 1, n_variants + 3, 24), 201, dtype=np.uint8)
        room[1::2, 2:-1, 5:21] = drawn
        return torch.from_numpy(room)[1::2, 2:-1, 5:21]
    return torch.from_numpy(drawn)


def people(codes: Tensor, panels: list[int], batch: int) -> np.ndarray:
    """The code of every variant and person, by PLINK's order of the bits."""
    pairs = np.unpackbits(np.ascontiguousarray(codes.numpy()), axis=2, bitorder="little")
    numbers = pairs[:, :, 0::2] + 2 * pairs[:, :, 1::2]
    return np.concatenate([numbers[p] for p in panels] or [np.zeros((codes.shape[1], 0), int)], axis=1)[:, :batch]


def compare(
    truth: Dense,
    machine: str,
    dtype: torch.dtype,
    n: int,
    batch: int,
    layout: str = "plain",
    scaled: bool = True,
    any_: bool = False,
) -> None:
    """Forward product and every gradient, by name; `any_` values may cancel."""
    n_variants, n_panels = truth.n_in, -(-batch // 64)
    codes = random_codes(n_panels + 2, n_variants, layout)
    panels = np.random.default_rng(5).integers(0, n_panels + 2, n_panels)
    given_ = {
        "codebook": draw(0, n_variants, 4, dtype=dtype),
        "weight": draw(1, len(truth.rows), n, dtype=dtype),
        "bias": draw(2, truth.n_out, n, dtype=dtype),
        "addend": draw(3, truth.n_out, n, batch, dtype=dtype),
    }
    if scaled:
        given_ |= {"scale": draw(6, n_variants, n, dtype=dtype), "shift": draw(7, n_variants, n, dtype=dtype)}
    for t in given_.values():
        t.requires_grad_()
    g = draw(4, truth.n_out, n, batch, dtype=dtype)
    packed = Packed(codes, torch.from_numpy(panels), given_["codebook"], batch)
    affine = {name: given_[name] for name in ("scale", "shift") if scaled}
    with running(machine):
        y = packed_product(packed, given_["weight"], truth.graph, given_["bias"], given_["addend"], **affine)
        found = torch.autograd.grad(y, list(given_.values()), g)
    assert y.dtype == dtype
    at = {name: exact(t) for name, t in given_.items()}
    who = people(codes, panels.tolist(), batch)
    expected = truth_of(truth, at, exact(g), who, n)
    terms = truth_of(truth, {name: abs(t) for name, t in at.items()}, abs(exact(g)), who, n) if any_ else {}
    assert error(y, expected.pop("y"), terms.get("y")) <= TOLERANCE[dtype]
    for (name, value), mine in zip(given_.items(), found, strict=True):
        assert mine.dtype == value.dtype, name
        assert error(mine, expected[name], terms.get(name)) <= 2 * TOLERANCE[dtype], name


def truth_of(truth: Dense, at: dict[str, np.ndarray], g: np.ndarray, who: np.ndarray, n: int) -> dict[str, np.ndarray]:
    """The product of the genotypes as numbers, and its gradients."""
    values = np.take_along_axis(at["codebook"], who, axis=1)
    scale = at.get("scale", np.ones((truth.n_in, n)))
    shift = at.get("shift", np.zeros((truth.n_in, n)))
    x = scale[:, :, None] * values[:, None, :] + shift[:, :, None]
    found = truth.gradients(g, x, at["weight"])
    by_x = found.pop("x")
    by_value = (scale[:, :, None] * by_x).sum(1)
    return found | {
        "y": truth.product(x, at["weight"], at["bias"], at["addend"]),
        "codebook": np.stack([np.where(who == k, by_value, 0).sum(1) for k in range(4)], axis=1),
        "scale": (by_x * values[:, None, :]).sum(2),
        "shift": by_x.sum(2),
    }


@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
@pytest.mark.parametrize("name", [name for name in WIRINGS if name != "long"])
def test_forward_and_every_gradient(name: str, machine: str, dtype: torch.dtype) -> None:
    for n in [3] if name.startswith("rewired") else [1, 2, 3, 9]:
        for batch in (0, 1, 63, 65, 300):
            compare(wiring(name), machine, dtype, n, batch, scaled=batch != 63)


@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
@pytest.mark.parametrize("layout", ["by variant", "sliced"])
def test_any_strides(layout: str, machine: str, dtype: torch.dtype) -> None:
    for n in (1, 4):
        compare(wiring("plain"), machine, dtype, n, 200, layout)


@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
def test_a_node_with_30_000_variants_and_a_batch_of_10_000(machine: str, dtype: torch.dtype) -> None:
    compare(wiring("long"), machine, dtype, 1, 70, scaled=False)
    compare(wiring("long"), machine, dtype, 3, 70, scaled=False)
    compare(wiring("units"), machine, dtype, 3, 10_000, "by variant")


@pytest.mark.compiler
@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.sets(st.tuples(st.integers(0, 8), st.integers(0, 6)), max_size=40),
    n=st.integers(1, 6),
    batch=st.integers(0, 600),
    variant=st.sampled_from(["plain", "units", "rewired"]),
    layout=st.sampled_from(["plain", "by variant", "sliced"]),
    scaled=st.booleans(),
)
def test_any_graph(
    machine: str, dtype: torch.dtype, pairs: set[tuple[int, int]], n: int, batch: int, variant: str, layout: str,
    scaled: bool,
) -> None:  # fmt: skip
    edges = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    more = {}
    if variant == "units":
        more = {"units_out": [2, 1, 1, 3, 1, 1, 2]}
    if variant == "rewired":
        edges, own = rewired(edges, 9, n)
        more = {"sources": own}
    compare(dense(edges, 9, 7, **more), machine, dtype, n, batch, layout, scaled, any_=True)


@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
def test_a_file_mapped_for_reading_is_read_in_place(tmp_path: Path, machine: str, dtype: torch.dtype) -> None:
    truth = wiring("genes")
    by_variant = np.random.default_rng(8).integers(0, 256, (truth.n_in, 5, 16), dtype=np.uint8)
    (tmp_path / "cohort.bed").write_bytes(b"\x6c\x1b\x01" + by_variant.tobytes())
    mapped = np.memmap(tmp_path / "cohort.bed", np.uint8, "r", offset=3, shape=by_variant.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that the memory is not writable
        codes = torch.from_numpy(mapped).transpose(0, 1)
    panels, batch = [4, 0, 4], 150
    weight, codebook = draw(1, len(truth.rows), 2, dtype=dtype), draw(0, truth.n_in, 4, dtype=dtype)
    with running(machine):
        y = packed_product(Packed(codes, torch.tensor(panels), codebook, batch), weight, truth.graph)
    who = people(torch.from_numpy(by_variant.transpose(1, 0, 2).copy()), panels, batch)
    x = np.take_along_axis(exact(codebook), who, axis=1)[:, None]
    nothing = np.zeros((truth.n_out, 2)), np.zeros((truth.n_out, 2, batch))
    assert error(y, truth.product(x, exact(weight), *nothing)) <= TOLERANCE[dtype]


@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
@pytest.mark.parametrize("absent", [0, 1, 2, 3])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_value_of_a_code_that_no_one_has_does_not_leak(
    machine: str, dtype: torch.dtype, absent: int, value: float
) -> None:
    truth, batch = wiring("plain"), 150
    rng = np.random.default_rng(3)
    numbers = rng.choice([k for k in range(4) if k != absent], (3, truth.n_in, 64)).astype(np.uint8)
    numbers[2, :, batch - 128 :] = absent  # behind the last person
    codes = sum(numbers[:, :, k::4] << 2 * k for k in range(4)).astype(np.uint8)
    codebook = draw(0, truth.n_in, 4, dtype=dtype)
    unused = codebook.clone()
    unused[:, absent] = value
    for n in (1, 2, 3, 4):
        found = []
        for held in (codebook, unused):
            weight, held = draw(1, len(truth.rows), n, dtype=dtype).requires_grad_(), held.requires_grad_()
            packed = Packed(torch.from_numpy(codes), torch.arange(3), held, batch)
            with running(machine):
                y = packed_product(packed, weight, truth.graph)
                found.append([y, *torch.autograd.grad(y, (held, weight), draw(2, *y.shape, dtype=dtype))])
        for mine, expected in zip(found[1], found[0], strict=True):
            assert torch.equal(mine, expected)


@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
def test_a_value_that_is_not_a_number_is_seen_by_those_who_have_the_code(machine: str, dtype: torch.dtype) -> None:
    graph = Graph(np.array([[0, 0], [1, 1]]), 2, 2)
    codes = torch.zeros(1, 2, 16, dtype=torch.uint8)
    codes[0, 0, 0] = 0b11
    codebook = torch.zeros(2, 4, dtype=dtype)
    codebook[0, 3] = float("nan")
    weight = torch.ones(2, 1, dtype=dtype, requires_grad=True)
    with running(machine):
        y = packed_product(Packed(codes, torch.zeros(1, dtype=torch.int64), codebook, 5), weight, graph)
        y.sum().backward()
    assert y.isnan().nonzero().tolist() == [[0, 0, 0]]
    assert weight.grad is not None
    assert weight.grad.isnan().tolist() == [[True], [False]]


@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
def test_missing_codes_count_as_their_codebook_says(machine: str, dtype: torch.dtype) -> None:
    graph = Graph(np.array([[0, 0]]), 1, 1)
    codebook = torch.tensor([[2.0, 0.7, 1.0, 0.0]], dtype=dtype)
    codes = torch.zeros(1, 1, 16, dtype=torch.uint8)
    codes[0, 0, 0] = 0b11_10_01_00
    with running(machine):
        y = packed_product(
            Packed(codes, torch.zeros(1, dtype=torch.int64), codebook, 5), torch.ones(1, 1, dtype=dtype), graph
        )
    assert torch.equal(y[0, 0], torch.tensor([2.0, 0.7, 1.0, 0.0, 2.0], dtype=dtype))


@pytest.mark.parametrize(("machine", "dtype"), MACHINES)
def test_packed_and_plain_products_agree(machine: str, dtype: torch.dtype) -> None:
    truth = wiring("rewired")
    packed = Packed(random_codes(3, truth.n_in), torch.tensor([2, 0, 1]), draw(0, truth.n_in, 4, dtype=dtype), 180)
    weight = draw(1, len(truth.rows), 3, dtype=dtype)
    with running(machine):
        one, other = packed_product(packed, weight, truth.graph), sparse_product(packed.values(), weight, truth.graph)
    assert error(one, exact(other)) <= TOLERANCE[dtype]

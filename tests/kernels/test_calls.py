"""Kernels that only programs use, each against torch or a formula, on every instruction set."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.kernels.dense import draw, instruction_sets, threads
from vnn.kernels import Graph, cpu, reference
from vnn.kernels.cpu import calls
from vnn.kernels.cpu.program import Program, SideBySide

pytestmark = pytest.mark.compiler
REAL = [torch.float64, torch.float32]
TOLERANCE = {torch.float64: 4e-16, torch.float32: 2.5e-7}


@pytest.fixture(params=instruction_sets(), autouse=True)
def simd(request: pytest.FixtureRequest) -> Iterator[str]:
    best = cpu.simd()
    cpu.choose_simd(request.param)
    yield request.param
    cpu.choose_simd(best)


def run(*made: calls.Call) -> None:
    Program(made).run()


def torch_of(shape: str) -> nn.Module:
    return {
        "tanh": nn.Tanh(),
        "sigmoid": nn.Sigmoid(),
        "relu": nn.ReLU(),
        "softsign": nn.Softsign(),
        "linear": nn.Identity(),
    }[shape]


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("shape", list(calls.SHAPES))
def test_activations_are_right_to_a_few_units_in_the_last_place(shape: str, dtype: torch.dtype) -> None:
    grid = np.concatenate([np.linspace(-100, 100, 4001), np.logspace(-30, 0, 301), -np.logspace(-30, 0, 301), [0.0]])
    x = torch.from_numpy(grid).to(dtype)
    truth = torch_of(shape)(x.double() if dtype == torch.float32 else x)
    y = torch.empty_like(x)
    run(calls.activate(x, y, shape))
    wrong = (y.double() - truth.double()).abs() / truth.double().abs().clamp(
        min=1e-30 if dtype == torch.float32 else 1e-290
    )
    assert float(wrong.max()) < 4 * TOLERANCE[dtype]
    assert torch.equal(y[-1], truth[-1].to(dtype))


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("shape", list(calls.SHAPES))
@pytest.mark.parametrize("count", [0, 1, 7, 16, 100])
def test_gradients_of_activations(shape: str, dtype: torch.dtype, count: int) -> None:
    x, g = draw(0, count, dtype=dtype), draw(1, count, dtype=dtype)
    wanted = x.double().requires_grad_()
    torch_of(shape)(wanted).backward(g.double())
    y = torch_of(shape)(x)
    run(calls.activate_backward(g, y, g, shape))
    torch.testing.assert_close(g.double(), wanted.grad, rtol=1e-5, atol=4 * TOLERANCE[dtype])


@pytest.mark.parametrize("shape", list(calls.SHAPES))
def test_what_is_not_a_number_stays_so_and_infinities_saturate(shape: str) -> None:
    x = torch.tensor([np.nan, np.inf, -np.inf], dtype=torch.float32)
    y = torch.empty_like(x)
    run(calls.activate(x, y, shape))
    limits = {"tanh": [1.0, -1.0], "sigmoid": [1.0, 0.0], "relu": [np.inf, 0.0]}.get(shape)
    assert torch.isnan(y[0])
    if limits:
        assert np.allclose(y[1:].numpy(), limits, atol=1e-37)


@pytest.mark.parametrize("n", [1, 3, 20])
@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_descent_with_momentum_is_that_of_torch(rows: int, n: int) -> None:
    held, velocity, grads = (
        draw(0, rows, n),
        torch.zeros(rows, n, dtype=torch.float64),
        [draw(i, rows, n) for i in (1, 2, 3)],
    )
    start, lr, decay = held.clone(), torch.linspace(0.1, 0.3, n).double(), torch.linspace(0, 0.2, n).double()
    active, factor = torch.ones(n, dtype=torch.uint8), torch.ones(n, dtype=torch.float64)
    active[-1] = n == 1
    for grad in grads:
        run(calls.descent(held, grad, velocity, lr=lr, decay=decay, momentum=0.9, active=active, factor=factor))
    for r in range(n):
        truth = nn.Parameter(start[:, r].clone())
        optimiser = torch.optim.SGD([truth], lr=float(lr[r]), momentum=0.9, weight_decay=float(decay[r]))
        for grad in grads if active[r] else ():
            truth.grad = grad[:, r].clone()
            optimiser.step()
        torch.testing.assert_close(held[:, r], truth.detach())


def test_adam_takes_the_factor_of_each_replicate() -> None:
    states = [[draw(0, 50, 3), torch.zeros(50, 3).double(), torch.zeros(50, 3).double()] for _ in range(2)]
    grad, factor = draw(1, 50, 3), torch.tensor([1.0, 0.5, 0.01]).double()
    per = {
        k: torch.full((3,), v, dtype=torch.float64)
        for k, v in (("lr", 0.1), ("decay", 0.2), ("correction1", 0.1), ("correction2", 0.001))
    }
    active = torch.ones(3, dtype=torch.bool)
    rest = {"active": active, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decoupled": True}
    run(calls.adam(states[0][0], grad, *states[0][1:], **per, **rest, factor=factor))
    reference.adam(states[1][0], grad * factor, *states[1][1:], **per, **rest)
    for mine, truth in zip(*states, strict=True):
        torch.testing.assert_close(mine, truth)


@pytest.mark.parametrize("most", [0.0, 2.0])
def test_who_takes_a_step(most: float) -> None:
    #                     fine, large, bad gradient, bad loss, nothing seen, stopped
    squares = torch.tensor([1.0, 16.0, np.inf, 1.0, 1.0, 1.0]).double()
    loss = torch.tensor([0.5, 0.5, 0.5, np.nan, 0.5, 0.5]).double()
    counted, alive = torch.tensor([3.0, 3, 3, 3, 0, 3]).double(), torch.tensor([1, 1, 1, 1, 1, 0], dtype=torch.uint8)
    steps = torch.tensor([0, 4, 4, 4, 4, 4])
    active, sound = (torch.full((6,), 9, dtype=torch.uint8) for _ in range(2))
    factor, one, two = torch.zeros(3, 6).double()
    run(
        calls.judge(
            squares, loss, counted, alive, steps, active, sound, factor, one, two, most=most, beta1=0.9, beta2=0.99
        )
    )
    assert active.tolist() == [1, 1, 0, 0, 0, 0]
    assert sound.tolist() == [1, 1, 0, 0, 1, 1]
    assert steps.tolist() == [1, 5, 4, 4, 4, 4]
    assert factor[:2].tolist() == [1.0, 0.5 if most else 1.0]
    assert np.allclose(one[:2], [1 - 0.9, 1 - 0.9**5])
    assert np.allclose(two[:2], [1 - 0.99, 1 - 0.99**5])
    assert squares.tolist() == [0.0] * 6


@pytest.mark.parametrize("imputes", [False, True])
def test_the_entrance_scales_fills_and_drops(imputes: bool) -> None:
    rows, n, batch = 12, 3, 21
    x, scale, shift, fill = draw(0, rows, 1, batch), *(draw(i, rows, n) for i in (1, 2, 3))
    missing = (draw(4, rows, 1, batch) > 0.5).double() if imputes else None
    rate = torch.linspace(0, 0.8, rows).double()
    node, threshold, samples = (
        torch.arange(rows, dtype=torch.int32),
        (rate * 2**32).long(),
        torch.arange(100, 100 + batch),
    )
    keys = torch.tensor([5, 6, 2**32 - 1])
    y, kept = torch.empty(rows, n, batch).double(), 1 / (1 - rate)
    unsigned = keys.to(torch.uint32), threshold.to(torch.uint32)
    run(calls.entrance(x, missing, scale, shift, fill, unsigned[0], node, unsigned[1], kept, samples, y))
    filled = x if missing is None else x + missing * fill[:, :, None]
    truth = reference.dropout(filled * scale[:, :, None] + shift[:, :, None], keys, node, threshold, kept, samples)
    torch.testing.assert_close(y, truth)
    assert 0.2 < float((y == 0).double().mean()) < 0.6


@pytest.mark.parametrize("wired", [False, True])
def test_a_scaling_is_folded_and_its_gradient_unfolded(wired: bool) -> None:
    n, pairs = 3, np.array([[0, 0], [2, 0], [1, 1], [2, 1], [3, 1]])
    sources = np.stack([np.array([(s + r) % 4 for s in pairs[:, 0]]) for r in range(n)], 1) if wired else None
    graph = Graph(pairs, 4, 2, sources=sources, units_out=None if wired else [2, 1])
    target = torch.from_numpy(np.array([0, 0, 1, 1, 1]) if wired else np.array([0, 1, 0, 1, 2, 2, 2]))
    weight = draw(0, graph.n_weights, n).requires_grad_()
    scale, shift, fill, own = draw(1, 4, n), draw(2, 4, n), draw(3, 4, n), draw(4, graph.n_out, n)
    rows = graph.source_row if wired else graph.source_row[:, None].expand(-1, n)
    each = torch.arange(n).expand_as(rows)
    folded = weight * scale[rows, each]
    truth = folded, folded * fill[rows, each], own.index_add(0, target, weight * shift[rows, each])
    found = torch.empty_like(weight), torch.empty_like(weight), torch.empty_like(own)
    source = graph.source_row.contiguous()
    run(calls.fold_scaling(source, target, weight.detach(), scale, shift, fill, own, *found))
    for a, b in zip(found, truth, strict=True):
        torch.testing.assert_close(a, b.detach())
    slopes = [draw(5 + i, *t.shape) for i, t in enumerate(truth)]
    torch.autograd.backward(truth, slopes)
    back = torch.empty_like(weight)
    run(calls.fold_scaling_backward(source, target, *slopes, scale, shift, fill, back))
    torch.testing.assert_close(back, weight.grad)


@pytest.mark.parametrize("dtype", REAL)
def test_running_statistics_normalise_in_evaluation(dtype: torch.dtype) -> None:
    x, gain, bias, mean, variance = draw(0, 5, 2, 33, dtype=dtype), *(draw(i, 5, 2, dtype=dtype) for i in (1, 2, 3, 4))
    variance = variance.square()
    truth = (x - mean[:, :, None]) / (variance[:, :, None] + 1e-5).sqrt() * gain[:, :, None] + bias[:, :, None]
    run(calls.affine(x, gain, bias, mean, variance, x, eps=1e-5))
    torch.testing.assert_close(x, truth, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("task", list(calls.TASKS))
def test_losses_and_their_gradients_are_those_of_autograd(task: str, heads: int, dtype: torch.dtype) -> None:
    n, batch, targets = 3, 21, 4 if task == "multiclass" else 1
    logits = (4 * draw(0, heads, targets, n, batch)).to(dtype)
    weight = draw(1, n, batch).abs() * (draw(2, n, batch) > 0)
    weight[1] = 0
    share = (weight / weight.sum(1, keepdim=True).clamp(min=1e-9)).to(dtype)
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, max(targets, 2), (n, batch)))
    target = draw(3, n, batch).to(dtype) if task == "regression" else codes.to(dtype)
    slopes, total, loss = torch.empty_like(logits), torch.empty_like(logits[0]), torch.empty(n, dtype=dtype)
    run(calls.loss(task, logits, target, share, slopes, total, loss, head_weight=0.3))

    def own(one: Tensor) -> Tensor:
        if task == "binary":
            return nn.functional.binary_cross_entropy_with_logits(one[0], target.double(), reduction="none")
        if task == "regression":
            return (one[0] - target.double()) ** 2
        return nn.functional.cross_entropy(one.movedim(0, 1), codes, reduction="none")

    wanted = logits.double().requires_grad_()
    each = own(wanted.mean(0)) + (0.3 / heads * sum(own(one) for one in wanted) if heads > 1 else 0)
    truth = (each * share.double()).sum(1)
    truth.sum().backward()
    close = {"rtol": 1e-4, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 1e-14}
    torch.testing.assert_close(loss.double(), truth.detach(), **close)
    torch.testing.assert_close(slopes.double(), wanted.grad, **close)
    torch.testing.assert_close(total.double(), wanted.grad.sum(0), **close)


def test_programs_side_by_side_do_what_they_do_alone() -> None:
    x = [draw(i, 3000) for i in range(5)]
    results = [[torch.empty_like(one) for one in x] for _ in range(2)]
    made = [[calls.activate(a, y, "tanh") for a, y in zip(x, ys, strict=True)] for ys in results]
    with threads(2):
        for call in made[0]:
            run(call)
        SideBySide([made[1][:3], made[1][3:]]).run()
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_shrink_to_0_and_not_beyond(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.normal(size=(50, 3))).to(dtype)
    lr, active = torch.tensor([0.5, 1.0, 2.0], dtype=dtype), torch.tensor([1, 0, 1], dtype=torch.uint8)
    expected = torch.where(active > 0, x.sign() * (x.abs() - 0.3 * lr).clamp(min=0), x)
    Program([calls.shrink(x, lr=lr, active=active, rate=0.3)]).run()
    torch.testing.assert_close(x, expected)
    assert (x[:, 2] == 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_absolute_values_is_added(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(4)
    x = torch.from_numpy(rng.normal(size=(5, 3, 16))).to(dtype)
    x[:, :, 3] = 0
    share, dx = torch.from_numpy(rng.random((3, 16))).to(dtype), torch.ones(5, 3, 16, dtype=dtype)
    leaf = x.clone().requires_grad_()
    (0.7 * (leaf.abs() * share).sum()).backward()
    Program([calls.lean(x, share, dx, rate=0.7)]).run()
    torch.testing.assert_close(dx, 1 + leaf.grad)

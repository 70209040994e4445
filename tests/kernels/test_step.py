"""What a training step needs beside the products: normalisation, squares of gradients, columns of the inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vnn.kernels import cpu, reference
from vnn.kernels.cpu import calls
from vnn.kernels.cpu.program import Program
from vnn.layers import BatchNorm

pytestmark = pytest.mark.compiler


def draws(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    rng = np.random.default_rng(0)
    return [torch.from_numpy(rng.normal(size=shape)).to(dtype) for shape in shapes]


def shares(n_replicates: int, batch: int, dtype: torch.dtype) -> torch.Tensor:
    """Shares of a bootstrap; the last replicate has nothing in the batch."""
    rng = np.random.default_rng(1)
    counts = torch.from_numpy(rng.integers(0, 3, size=(n_replicates, batch)).astype(float)).to(dtype)
    counts[0, 0] = 1
    counts[-1] = 0
    return counts / counts.sum(1, keepdim=True).clamp(min=1)


@pytest.mark.parametrize("batch", [1, 2, 15, 16, 33, 200])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
def test_normalisation_equals_the_formula(batch: int, dtype: torch.dtype, tolerance: float) -> None:
    x, g, gain, bias, mean = draws((7, 3, batch), (7, 3, batch), (7, 3), (7, 3), (7, 3), dtype=dtype)
    share, variance = shares(3, batch, dtype), torch.ones(7, 3, dtype=dtype)
    tracked = mean.clone(), variance.clone()
    expected = reference.normalise(x, share, gain, bias, mean, variance, momentum=0.1, eps=1e-5)
    found = cpu.normalise(x, share, gain, bias, *tracked, momentum=0.1, eps=1e-5)
    for a, b in zip((*found, *tracked), (*expected, mean, variance), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    back = cpu.normalise_backward(g, x, share, gain, *found[1:], eps=1e-5)
    for a, b in zip(back, reference.normalise_backward(g, x, share, gain, *expected[1:], eps=1e-5), strict=True):
        torch.testing.assert_close(a, b, rtol=10 * tolerance, atol=10 * tolerance * float(b.abs().max()))


@pytest.mark.parametrize("shape", calls.SHAPES)
@pytest.mark.parametrize("batch", [1, 15, 33, 256])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_normalisation_and_activation_in_one_are_those_apart(shape: str, batch: int, dtype: torch.dtype) -> None:
    x, g, gain, bias, mean = draws((7, 3, batch), (7, 3, batch), (7, 3), (7, 3), (7, 3), dtype=dtype)
    share, variance = shares(3, batch, dtype), torch.ones(7, 3, dtype=dtype)
    apart = cpu.normalise(x, share, gain, bias, mean.clone(), variance.clone(), momentum=0.1, eps=1e-5)
    y, dy = torch.empty_like(x), torch.empty_like(x)
    run = [calls.activate(apart[0], y, shape), calls.activate_backward(g, y, dy, shape)]
    together, now = torch.empty_like(x), [torch.empty_like(gain) for _ in range(2)]
    tracked = mean.clone(), variance.clone()
    run.append(calls.normalise(x, share, gain, bias, *tracked, *now, together, momentum=0.1, eps=1e-5, shape=shape))
    back = [torch.empty_like(x), torch.empty_like(gain), torch.empty_like(gain)]
    run.append(calls.normalise_backward(g, x, share, gain, *now, *back, eps=1e-5, y=together, shape=shape))
    Program(run).run()
    expected = cpu.normalise_backward(dy, x, share, gain, *apart[1:], eps=1e-5)
    for a, b in zip((together, *now, *back), (y, *apart[1:], *expected), strict=True):
        assert torch.equal(a, b)


def test_equal_shares_give_the_batch_norm_of_torch() -> None:
    (x,) = draws((5, 1, 40))
    mine, theirs = BatchNorm(5, 1).double().train(), torch.nn.BatchNorm1d(5).double().train()
    a, b = x.clone().requires_grad_(), x[:, 0].T.clone().requires_grad_()
    y, z = mine(a, torch.full((1, 40), 1 / 40, dtype=torch.float64)), theirs(b)
    torch.testing.assert_close(y[:, 0].T, z)
    (weight,) = draws((40, 5))
    (y[:, 0].T * weight).sum().backward()
    (z * weight).sum().backward()
    torch.testing.assert_close(a.grad[:, 0].T, b.grad)
    torch.testing.assert_close(mine.gain.grad[:, 0], theirs.weight.grad)
    torch.testing.assert_close(mine.bias.grad[:, 0], theirs.bias.grad)
    torch.testing.assert_close(mine.mean[:, 0], theirs.running_mean)
    torch.testing.assert_close(mine.variance[:, 0], theirs.running_var)


def test_gradients_of_normalisation_to_second_order() -> None:
    x, _ = (t.requires_grad_() for t in draws((3, 2, 9), (1,)))
    share = shares(2, 9, torch.float64)
    share[1] = 1 / 9
    norm = BatchNorm(3, 2).double().train()
    call = lambda x: norm(x, share)  # noqa: E731
    with torch.random.fork_rng():
        assert torch.autograd.gradcheck(call, (x,))
        assert torch.autograd.gradgradcheck(call, (x,))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_replicate_alone_has_its_bits(n_threads: int) -> None:
    x, gain, bias, mean = draws((50, 4, 77), (50, 4), (50, 4), (50, 4), dtype=torch.float32)
    share, variance = shares(4, 77, torch.float32), torch.ones(50, 4)
    threads = torch.get_num_threads()
    together = cpu.normalise(x, share, gain, bias, mean.clone(), variance.clone(), momentum=0.1, eps=1e-5)
    try:
        torch.set_num_threads(n_threads)
        for r in range(4):
            one = [t[:, [r]].contiguous() for t in (x, gain, bias, mean, variance)]
            alone = cpu.normalise(one[0], share[[r]], *one[1:], momentum=0.1, eps=1e-5)
            for a, b in zip(alone, together, strict=True):
                assert torch.equal(a, b[:, [r]])
    finally:
        torch.set_num_threads(threads)


def test_squares_of_gradients() -> None:
    tensors = draws((10_000, 3), (1, 3), (0, 3), dtype=torch.float32)
    torch.testing.assert_close(cpu.squares(tensors), reference.squares(tensors), rtol=1e-12, atol=0)


@pytest.mark.parametrize("imputes", [False, True])
def test_columns_of_the_inputs(imputes: bool) -> None:
    (x,) = draws((30, 50))
    x[3, 7], x[4, 8] = float("nan"), float("nan")
    at = torch.tensor([7, 0, 49, 7, 8])
    for given in (x, x.T.contiguous().T, x[::2]):
        found, expected = (module.columns(given, at, 16, imputes=imputes) for module in (cpu, reference))
        for a, b in zip(found, expected, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                assert torch.equal(torch.nan_to_num(a, 9.0), torch.nan_to_num(b, 9.0))

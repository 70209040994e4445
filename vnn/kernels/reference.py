"""The kernels in plain PyTorch: slow, obvious, and the truth every other backend is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vnn.kernels.graph import Wiring, weight_rows
from vnn.kernels.packed import Packed

GOLDEN = 0x9E3779B9


def product(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    addend: Tensor | None,
    wiring: Wiring,
    *,
    transposed: bool,
    shared: bool,
) -> Tensor:
    """`bias + addend + sum over edges of weight * x`, along the signal or `transposed` against it.

    x of shape (n_units, R or 1, batch) and weight (n_weights, R) give (n_units, R, batch) in the dtype of x, or,
    with `shared`, the sum over the replicates, (n_units, 1, batch). Sums are taken in float64, so that they stay the
    truth for a node of many edges.
    """
    n = wiring.n_in if transposed else wiring.n_out
    sums = []
    for r in range(weight.shape[1]):
        target, source = weight_rows(wiring.of(r))
        into, out_of = (source, target) if transposed else (target, source)
        values = x[out_of, 0 if x.shape[1] == 1 else r].double()
        sums.append(values.new_zeros(n, x.shape[2]).index_add_(0, into, weight[:, r, None].double() * values))
    y = torch.stack(sums, dim=1) if sums else weight.new_zeros(n, 0, x.shape[2], dtype=torch.float64)
    if shared:
        y = y.sum(1, keepdim=True)
    if bias is not None:
        y = y + bias[:, :, None]
    return (y if addend is None else y + addend).to(x.dtype)


def edge_product(g: Tensor, x: Tensor, wiring: Wiring) -> Tensor:
    """For every weight the sum over the batch of `g` at its target times `x` at its source, (n_weights, R)."""
    columns = []
    for r in range(g.shape[1]):
        target, source = weight_rows(wiring.of(r))
        columns.append((wide(g[target, r]) * wide(x[source, 0 if x.shape[1] == 1 else r])).sum(-1))
    return torch.stack(columns, dim=1) if columns else wide(g.new_zeros(wiring.n_weights, 0))


def packed_product(
    packed: Packed, weight: Tensor, bias: Tensor | None, addend: Tensor | None, wiring: Wiring
) -> Tensor:
    """`product` of the genotypes as numbers, (n_out, R, batch)."""
    x = packed.values().to(weight.dtype)
    return product(x, weight, bias, addend, wiring, transposed=False, shared=False)


def packed_edge_product(g: Tensor, packed: Packed, wiring: Wiring) -> Tensor:
    """`edge_product` of the genotypes as numbers, (n_weights, R)."""
    return edge_product(g, packed.values().to(g.dtype), wiring)


def packed_codebook(g: Tensor, weight: Tensor, packed: Packed, wiring: Wiring) -> Tensor:
    """The gradient of the codebook, (n_variants, 4): that of the inputs, summed over the people of each code."""
    gradient = product(g.double(), weight, None, None, wiring, transposed=True, shared=True)[:, 0]
    number = torch.arange(4, device=weight.device).expand(len(gradient), 4)
    codes = packed._replace(codebook=number).values()[:, 0]
    sums = torch.zeros_like(packed.codebook, dtype=torch.float64).scatter_add_(1, codes, gradient)
    return sums.to(weight.dtype)


def wide(t: Tensor) -> Tensor:
    """`t` in the type sums are taken in: float32 for the 16-bit types."""
    return t.float() if t.dtype in (torch.bfloat16, torch.float16) else t


def row_sum(x: Tensor) -> Tensor:
    """The sum over the last axis."""
    return wide(x).contiguous().sum(-1)


def normalise(
    x: Tensor, share: Tensor, gain: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """x (n_units, R, batch) standardised over the batch, each sample counting by its `share` (R, batch); mean; variance.

    The running `mean` and `variance` (unbiased) are moved in place, those of a replicate only where its shares
    tell a variance.
    """
    now_mean = (x * share).sum(-1)
    centred = x - now_mean[:, :, None]
    now_variance = (centred * centred * share).sum(-1)
    with torch.no_grad():
        spread = 1 - share.square().sum(-1)
        counted = (share.sum(-1) > 0) & (spread > 1e-6)
        unbiased = now_variance / torch.where(counted, spread, 1.0)
        mean.copy_(torch.where(counted, mean.lerp(now_mean, momentum), mean))
        variance.copy_(torch.where(counted, variance.lerp(unbiased, momentum), variance))
    factor = gain * torch.rsqrt(now_variance + eps)
    return centred * factor[:, :, None] + bias[:, :, None], now_mean, now_variance


def normalise_backward(
    g: Tensor, x: Tensor, share: Tensor, gain: Tensor, mean: Tensor, variance: Tensor, *, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of `normalise` with respect to x, gain and bias."""
    scale = torch.rsqrt(variance + eps)
    standard = (x - mean[:, :, None]) * scale[:, :, None]
    dbias, dgain = g.sum(-1), (g * standard).sum(-1)
    dx = g - share * (dbias[:, :, None] + standard * dgain[:, :, None])
    return (gain * scale)[:, :, None] * dx, dgain, dbias


def squares(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of all squares for every replicate (the last axis), float64."""
    return torch.stack([t.double().square().flatten(0, -2).sum(0) for t in tensors]).sum(0)


def columns(x: Tensor, at: Tensor | None, width: int, *, imputes: bool) -> tuple[Tensor, Tensor | None]:
    """Columns `at` (or all) of x (n_in, n) as (n_in, 1, width), 0 behind them; with `imputes`, NaN as 0, and 1 where it was."""
    taken = x if at is None else x[:, at]
    y = torch.nn.functional.pad(taken, (0, width - taken.shape[1]))[:, None, :]
    if not imputes:
        return y.contiguous(), None
    missing = torch.isnan(y)
    return torch.where(missing, 0.0, y), missing.to(y.dtype)


def mix(h: Tensor) -> Tensor:
    """The finaliser of MurmurHash3 on 32-bit words held in int64."""
    h = h ^ (h >> 16)
    h = (h * 0x85EBCA6B) & 0xFFFFFFFF
    h = h ^ (h >> 13)
    h = (h * 0xC2B2AE35) & 0xFFFFFFFF
    return h ^ (h >> 16)


def dropout(x: Tensor, keys: Tensor, node: Tensor, threshold: Tensor, scale: Tensor, samples: Tensor) -> Tensor:
    """`x * scale`, or 0 where the hash of (key, node, sample) is below the threshold of the row, or of row and replicate."""
    threshold, scale = (t if t.dim() > 1 else t[:, None] for t in (threshold, scale))
    by_node = mix(keys[None, :] ^ ((node.long()[:, None] * GOLDEN) & 0xFFFFFFFF))
    by_sample = (samples.long() * GOLDEN) & 0xFFFFFFFF
    dropped = mix(by_node[:, :, None] ^ by_sample) < threshold[:, :, None]
    return torch.where(dropped, torch.zeros((), dtype=x.dtype), x * scale[:, :, None])


def adam(
    parameter: Tensor,
    grad: Tensor,
    mean: Tensor,
    square: Tensor,
    *,
    lr: Tensor,
    decay: Tensor,
    correction1: Tensor,
    correction2: Tensor,
    active: Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    decoupled: bool,
) -> None:
    """One step of Adam or AdamW in place, for the `active` replicates (the last axis) only."""
    w = parameter * (1 - lr * decay) if decoupled else parameter
    g = grad if decoupled else grad + decay * parameter
    m = beta1 * mean + (1 - beta1) * g
    v = beta2 * square + (1 - beta2) * (g * g)
    w = w - lr / correction1 * m / (v.sqrt() / correction2.sqrt() + eps)
    for held, new in ((parameter, w), (mean, m), (square, v)):
        held.copy_(torch.where(active, new, held))

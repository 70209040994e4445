"""Losses that stay apart: one number per replicate, never a sum over them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy


def losses(
    task: str,
    logits: Float[Tensor, "batch n_replicates n_targets"],
    target: Shaped[Tensor, "*axes batch"],
    weights: Float[Tensor, "n_replicates batch"],
) -> Float[Tensor, " n_replicates"]:
    """The loss of every replicate: a mean over the samples that count in it, for cox over the events among them.

    Parameters
    ----------
    task
        "binary" (log loss of a logit), "multiclass" (cross-entropy), "regression" (squared error) or "cox" (negative
        log partial likelihood).
    logits
        As the heads of a network give them.
    target
        Class codes of the batch; for a regression values of every replicate in its own units; for cox two
        rows, times (or anything in their order) and events, 1 or 0. Codes and rows may have a leading axis R.
    weights
        Weight of each sample in each replicate. A sample of weight 0 changes no bit.
    """
    if task == "cox":
        if target.dim() == 2:
            return partial_likelihood_losses(logits[:, :, 0], target[0], target[1] > 0, weights)
        return torch.cat(
            [
                partial_likelihood_losses(logits[:, r : r + 1, 0], own[0], own[1] > 0, weights[r : r + 1])
                for r, own in enumerate(target)
            ]
        )
    return weighted_mean(sample_losses(task, logits, target), weights)


def informative(
    task: str, target: Shaped[Tensor, "*axes batch"], weights: Float[Tensor, "n_replicates batch"]
) -> Float[Tensor, " n_replicates"]:
    """The weight each replicate's loss is a mean over: of its samples, for cox of its events; 0 teaches nothing."""
    return (weights * (target[..., 1, :] > 0)).sum(1) if task == "cox" else weights.sum(1)


def sample_losses(
    task: str, logits: Float[Tensor, "batch n_replicates n_targets"], target: Shaped[Tensor, "*n_replicates batch"]
) -> Float[Tensor, "n_replicates batch"]:
    """The loss of every sample in every replicate, for the tasks in which it has one of its own.

    Parameters
    ----------
    task, logits, target
        As for `losses`; not "cox".
    """
    if task == "regression":
        return (logits[:, :, 0].T - target).square()
    n_replicates = logits.shape[1]
    if task == "binary":
        wanted = target.to(logits.dtype).expand(n_replicates, -1).T
        return binary_cross_entropy_with_logits(logits[:, :, 0], wanted, reduction="none").T
    wanted = target.expand(n_replicates, -1).T
    return cross_entropy(logits.movedim(2, 1), wanted, reduction="none").T


def weighted_mean(
    losses: Float[Tensor, "n_replicates batch"], weights: Float[Tensor, "n_replicates batch"]
) -> Float[Tensor, " n_replicates"]:
    """Mean over the batch with the weights of each replicate; 0 where no sample counts."""
    total = weights.sum(1)
    return (losses * weights).sum(1) / torch.where(total > 0, total, 1.0)


def partial_likelihood_losses(
    risk: Float[Tensor, "batch n_replicates"],
    times: Shaped[Tensor, " batch"],
    events: Shaped[Tensor, " batch"],
    weights: Float[Tensor, "n_replicates batch"],
) -> Float[Tensor, " n_replicates"]:
    """Negative log partial likelihood of every replicate, divided by the weight of its events; 0 without one.

    With risk score x, weights w, the set R of those at risk at an event time, and the d events D of that time,
    Efron's approximation counts

        sum over D of w x  -  (mean w of D) * sum over l < d of log(sum over R of w e^x - l / d * sum over D of w e^x).

    Risk sets are those of the batch. All is computed in float64, and every sum runs in the order of time, one after
    the other, so that samples that do not count change no bit of it, whatever their times.

    References
    ----------
    Efron (1977), doi:10.1080/01621459.1977.10480613
    """
    order = torch.argsort(times, descending=True, stable=True)
    later = times[order]
    group = torch.cat([later.new_zeros(1, dtype=torch.int64), (later[1:] != later[:-1]).cumsum(0)])
    end = torch.bincount(group).cumsum(0)
    x, w = risk[order].double(), weights.T[order].double()
    counts = w > 0
    died = counts & events[order].bool()[:, None]
    top = torch.where(counts, x.detach(), -torch.inf).amax(0)
    x = torch.where(counts, x - torch.where(top.isfinite(), top, 0.0), 0.0)
    hazard = w * x.exp()

    def by_time(values: Tensor) -> Tensor:
        return values.new_zeros(len(end), values.shape[1]).index_add(0, group, values)

    number = by_time(died.double())
    at_risk = hazard.cumsum(0).index_select(0, end - 1).index_select(0, group)
    dying = by_time(hazard * died).index_select(0, group)
    weight = (by_time(w * died) / number.clamp(min=1)).index_select(0, group)
    before = torch.cat([number.new_zeros(1, number.shape[1]), number.cumsum(0)[:-1]]).index_select(0, group)
    share = (died.cumsum(0) - 1 - before) / number.clamp(min=1).index_select(0, group)
    left = torch.where(died, at_risk - share * dying, 1.0)
    terms = torch.where(died, w * x - weight * left.log(), 0.0)
    total = (w * died).cumsum(0)[-1]
    return (-terms.cumsum(0)[-1] / torch.where(total > 0, total, 1.0)).to(risk.dtype)

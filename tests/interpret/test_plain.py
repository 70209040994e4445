"""Plain modules: linear truth, completeness, one mask for sample and reference, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vnn.interpret.plain import PLAIN, Thinning, check_plain, dropout_masks, explain_plain, outputs, undisturbed

N_GENES = 6


def built(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module whose weights are drawn without touching the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def mlp(seed: int = 0, activation: type[nn.Module] = nn.ReLU, dropout: float = 0.5) -> nn.Module:
    return built(
        lambda: nn.Sequential(
            nn.Linear(N_GENES, 16), nn.BatchNorm1d(16), activation(), nn.Dropout(dropout), nn.Linear(16, 3)
        ),
        seed,
    )


def genes(n: int = 9) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(n, N_GENES))


ONE = np.array([1.0, -0.5, -0.5])
POINT = np.full((1, N_GENES), 0.2)


class Functional(nn.Module):
    """A model whose activation Captum does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(N_GENES, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(3 * self.first(x)))


class Twice(nn.Module):
    """A model that uses one activation module twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last, self.act = (
            nn.Linear(N_GENES, 8),
            nn.Linear(8, 8),
            nn.Linear(8, 3),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.act(self.middle(self.act(self.first(x)))))


def test_a_linear_model_is_weight_times_difference() -> None:
    model = built(lambda: nn.Linear(N_GENES, 3))
    weight = model.weight.detach().numpy().astype(float).T @ ONE
    x = genes()
    expected = {
        "DeepLIFT": weight * (x - POINT),
        "integrated gradients": weight * (x - POINT),
        "gradient x input": weight * x,
        "saliency": np.abs(weight) * np.ones_like(x),
    }
    for name, values in expected.items():
        found = explain_plain(model, name, x, POINT, ONE)
        assert found.values == pytest.approx(values, abs=1e-5), name
        assert np.isnan(found.missed) == (PLAIN[name].complete is None)


@pytest.mark.parametrize("name", ["DeepLIFT", "integrated gradients"])
@pytest.mark.parametrize("repeats", [0, 3])
def test_attributions_sum_to_the_difference_of_the_logits(name: str, repeats: int) -> None:
    model, x = mlp(), genes()
    masks = dropout_masks(model, repeats, 0)
    found = explain_plain(model, name, x, POINT, ONE, masks=masks)
    differences = []
    for mask in masks or [{}]:
        with undisturbed(model, mask), torch.no_grad():
            logits = [model(torch.from_numpy(v).float()).double().numpy() @ ONE for v in (x, POINT)]
        differences.append(logits[0] - logits[1])
    assert found.values.sum(1) == pytest.approx(np.mean(differences, axis=0), abs=2e-2 if name != "DeepLIFT" else 1e-5)
    assert found.missed <= PLAIN[name].complete * found.scale + 1e-6  # type: ignore[operator]


def test_a_sample_alone_is_the_sample_among_others() -> None:
    for name in PLAIN:
        together = explain_plain(mlp(), name, genes(), POINT, ONE).values
        alone = np.concatenate([explain_plain(mlp(), name, x[None], POINT, ONE).values for x in genes()])
        assert together == pytest.approx(alone, abs=1e-5), name


def test_several_references_are_averaged() -> None:
    points = np.stack([POINT[0], 2 * POINT[0], -POINT[0]])
    apart = [explain_plain(mlp(), "DeepLIFT", genes(), point[None], ONE).values for point in points]
    assert explain_plain(mlp(), "DeepLIFT", genes(), points, ONE).values == pytest.approx(
        np.mean(apart, axis=0), abs=1e-6
    )


def around_dropout(model: nn.Module, x: np.ndarray, mask: dict[str, Thinning]) -> list[Tensor]:
    """What enters and leaves the dropout module."""
    seen: list[Tensor] = []

    def see(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(output)

    with undisturbed(model, mask), torch.no_grad():
        handles = [model[i].register_forward_hook(see) for i in (2, 3)]
        model(torch.from_numpy(x).float())
        for handle in handles:
            handle.remove()
    return seen


def test_thinned_networks_are_one_network_for_all_samples() -> None:
    model, x = mlp(dropout=0.4), genes()
    masks = dropout_masks(model, 120, 1)
    assert masks == dropout_masks(model, 120, 1)
    assert masks != dropout_masks(model, 120, 2)
    kept = []
    for mask in masks:
        before, after = around_dropout(model, x, mask)
        factor = torch.where(before > 0, after / before, torch.nan)
        for unit in factor.T:
            known = unit[~torch.isnan(unit)]
            assert len(known) == 0 or torch.allclose(known, known[0])
            assert len(known) == 0 or bool(torch.isclose(known[0], torch.tensor([0.0, 1 / 0.6])).any())
        kept += [float(unit[~torch.isnan(unit)][0]) for unit in factor.T if not torch.isnan(unit).all()]
    assert np.mean(np.array(kept) > 0) == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("name", list(PLAIN))
def test_the_model_is_left_as_it_was(name: str) -> None:
    model = mlp()
    model[0].eval()
    model[1].weight.grad = torch.ones(16)
    calls: list[int] = []
    handle = model[4].register_forward_hook(lambda m, i, o: calls.append(1))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    looks = [(m.training, sorted(vars(m)), len(m._forward_hooks), len(m._backward_hooks), len(m._forward_pre_hooks),
              m._is_full_backward_hook) for m in model.modules()]  # fmt: skip
    explain_plain(model, name, genes(), POINT, ONE, masks=dropout_masks(model, 2, 0))
    again = [(m.training, sorted(vars(m)), len(m._forward_hooks), len(m._backward_hooks), len(m._forward_pre_hooks),
              m._is_full_backward_hook) for m in model.modules()]  # fmt: skip
    assert looks == again
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert torch.equal(model[1].weight.grad, torch.ones(16))
    assert [p.grad is None for p in model.parameters()].count(False) == 1
    assert all(p.requires_grad for p in model.parameters())
    assert calls
    handle.remove()


def test_a_model_is_put_back_after_an_error() -> None:
    model = built(Twice)
    model.train()
    looks = [(m.training, sorted(vars(m)), len(m._forward_hooks)) for m in model.modules()]
    with pytest.raises((RuntimeError, AssertionError)):
        explain_plain(model, "DeepLIFT", genes(), POINT, ONE)
    assert looks == [(m.training, sorted(vars(m)), len(m._forward_hooks)) for m in model.modules()]


def test_what_captum_would_get_silently_wrong_is_refused() -> None:
    with pytest.raises(RuntimeError, match="function Captum does not see"):
        explain_plain(built(Functional), "DeepLIFT", genes(), POINT, ONE)
    explain_plain(built(Functional), "integrated gradients", genes(), POINT, ONE)
    with pytest.raises(NotImplementedError, match="no rule for GELU"):
        explain_plain(mlp(activation=nn.GELU), "DeepLIFT", genes(), POINT, ONE)
    with pytest.raises(NotImplementedError, match=r"nn\.ReLU modules only, and the model has Tanh"):
        explain_plain(mlp(activation=nn.Tanh), "guided backpropagation", genes(), POINT, ONE)
    with pytest.raises(NotImplementedError, match="no activation module"):
        explain_plain(built(Functional), "guided backpropagation", genes(), POINT, ONE)


def test_dropout_of_another_kind_is_refused_and_no_dropout_has_no_mask() -> None:
    with pytest.raises(NotImplementedError, match="'1' are of another kind"):
        dropout_masks(nn.Sequential(built(lambda: nn.Linear(2, 2)), nn.AlphaDropout(0.2)), 2, 0)
    assert dropout_masks(mlp(dropout=0.0), 3, 0) == []
    assert dropout_masks(built(lambda: nn.Linear(2, 2)), 3, 0) == []
    (mask,) = dropout_masks(mlp(dropout=0.3), 1, 0)
    assert mask.keys() == {"3"}
    assert isinstance(mask["3"], Thinning)
    assert mask["3"].rate == 0.3


def test_outputs_are_those_of_evaluation_mode() -> None:
    model = mlp()
    model.train()
    found = outputs(model, genes())
    assert model.training
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(genes()).float()).numpy()
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("models", "error", "text"),
    [
        ([], ValueError, "there are no models"),
        ([mlp(), "mlp"], TypeError, "model 1 is a str"),
        ([built(lambda: nn.Linear(5, 3))], ValueError, r"model 0 cannot take values of shape \(2, 6\)"),
        ([built(lambda: nn.Linear(N_GENES, 3)), built(lambda: nn.Linear(N_GENES, 4))], ValueError, r"\[3, 4\]"),
        ([nn.Sequential(mlp(), nn.Softmax(dim=1))], ValueError, "returns probabilities"),
        ([nn.Sequential(mlp(), nn.Flatten(0))], ValueError, r"returns shape \(6,\)"),
    ],
)
def test_what_is_no_model_is_refused(models: list[nn.Module], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        check_plain(models, genes())


def test_a_model_given_twice_or_diverged_is_refused() -> None:
    model = mlp()
    with pytest.raises(ValueError, match="same object as an earlier one: '1'"):
        check_plain([model, model], genes())
    broken = built(lambda: nn.Linear(N_GENES, 3))
    with torch.no_grad():
        broken.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        check_plain([broken], genes())
    assert check_plain([mlp(0), mlp(1)], genes()) == 3

"""The crosscheck agrees where it should, and sees it where it should not."""

from __future__ import annotations

from functools import cache

import pytest

import vnn.interpret.rivals as rivals
from tests.planted import cohort, folds, wiring
from vnn.interpret import crosscheck
from vnn.models import Recipe
from vnn.training import Fit, Training, fit


@cache
def trained(target: str, activation: str = "tanh") -> Fit:
    return fit(wiring(), cohort(), target=target, splits=folds(), recipe=Recipe(activation=activation),  # type: ignore[arg-type]
               training=Training(epochs=2))  # fmt: skip


@pytest.mark.parametrize("target", ["phenotype", "thirds", "quantity"])
def test_captum_agrees_at_every_level_on_both_forms(target: str) -> None:
    table = crosscheck(trained(target), cohort())
    captum = table[table["implementation"] == "Captum"]
    assert list(captum["where"]) == ["our layers"] * 4 + ["dense twin"] * 4
    assert list(captum["level"]) == ["inputs", "level 1", "level 2", "level 3"] * 2
    assert captum["agrees"].all()
    assert (captum["largest_difference"] <= 1e-5 * captum["scale"]).all()
    assert (captum["scale"] > 0).all()


def test_a_wrong_attribution_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = rivals._ours

    def wrong(*arguments: object) -> dict[str, object]:
        found = right(*arguments)  # type: ignore[arg-type]
        return found | {"level 2": found["level 2"] * 1.001}

    monkeypatch.setattr(rivals, "_ours", wrong)
    table = crosscheck(trained("phenotype"), cohort()).set_index(["where", "level"])
    assert not table.loc[("our layers", "level 2"), "agrees"]
    assert table.loc[("our layers", "level 1"), "agrees"]


def test_what_captum_cannot_do_is_said() -> None:
    table = crosscheck(trained("phenotype", "softsign"), cohort())
    captum = table[table["implementation"] == "Captum"]
    assert captum["note"].str.contains("no rule for Softsign").all()
    assert captum["agrees"].isna().all()


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_captum_agrees_for_every_method_it_has(activation: str) -> None:
    methods = [name for name in rivals.COMPARED if activation == "relu" or name != "guided backpropagation"]
    table = crosscheck(trained("phenotype", activation), cohort(), methods=methods, n_replicates=1, n_samples=4)
    captum = table[table["implementation"] == "Captum"].set_index(["method", "where", "level"])
    assert list(dict.fromkeys(captum.index.get_level_values("method"))) == methods
    assert captum["agrees"].astype(bool).all(), captum[~captum["agrees"].astype(bool)]
    exact = captum[captum["tolerance"] <= 1e-5 * captum["scale"] * 1.001]
    assert {"gradient x difference", "saliency", "smoothgrad", "internal gradients", "deeplift-shap"} <= set(
        exact.index.get_level_values("method")
    )
    assert (exact["largest_difference"] <= 1e-5 * exact["scale"]).all()
    for method in ("deeplift", "saliency", "internal gradients", "integrated gradients"):
        assert len(captum.loc[method]) == 8


def test_methods_nobody_else_has_are_named() -> None:
    with pytest.raises(ValueError, match="the method is 'weight products'; known are 'deeplift'"):
        crosscheck(trained("phenotype"), cohort(), methods=["weight products"])


@pytest.mark.parametrize("name", ["tangermeme", "shap"])
def test_other_implementations_agree_on_the_inputs(name: str) -> None:
    pytest.importorskip(name)
    table = crosscheck(trained("phenotype", "relu"), cohort())
    row = table[(table["implementation"] == name) & (table["level"] == "inputs")]
    assert row["agrees"].tolist() == [True], row.to_dict()

"""A recipe: everything about a visible network that its wiring does not say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer


class Recipe(BaseModel):
    """How the nodes of a topology compute.

    Parameters
    ----------
    activation
        "tanh", "softsign", "relu", "sigmoid" or "linear". Activities are oriented only for the first two and "linear".
    normalisation
        "batch" standardises every unit before its activation, with a gain and bias of its own in place of the
        bias of the product; "none" does not.
    units
        Units of each node, or a table by node id for those that have more than one.
    dropout, input_dropout
        Rate at which whole nodes and inputs are dropped in training, less where a target would lose its only sources.
    heads
        "outputs": one linear head on all nodes without parents. "levels": one on each level; the deployed
        logits are their mean, and each head adds `head_weight` times its own loss.
    head_weight
        Weight of each single head's loss beside the loss of the deployed logits.
    covariates
        Where covariates enter, if there are any. "late": the prediction, as a linear model beside the nodes. "early": every node
        of the first level above the inputs as well, before its normalisation and activation, so that what genes say can
        depend on who is asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    activation: Literal["tanh", "softsign", "relu", "sigmoid", "linear"] = "tanh"
    normalisation: Literal["batch", "none"] = "batch"
    units: Annotated[int, Field(ge=1)] | Mapping[str, Annotated[int, Field(ge=1)]] = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    input_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    heads: Literal["outputs", "levels"] = "levels"
    head_weight: Annotated[float, Field(ge=0)] = 0.3
    covariates: Literal["late", "early"] = "late"

    @model_serializer(mode="wrap")
    def _said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Late covariates are not said, so that studies from before there were early ones keep their identity."""
        return {name: value for name, value in write(self).items() if (name, value) != ("covariates", "late")}

    def units_of(self, node: str) -> int:
        """Units of a node above the inputs."""
        return self.units if isinstance(self.units, int) else self.units.get(node, 1)

    def units_of_all(self, nodes: Sequence[str]) -> np.ndarray:
        """Units of each of some nodes above the inputs, int64."""
        if isinstance(self.units, int):
            return np.full(len(nodes), self.units, dtype=np.int64)
        return np.array([self.units_of(node) for node in nodes], dtype=np.int64)

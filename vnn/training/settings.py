"""How networks are trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from vnn.models import Recipe


class Training(BaseModel):
    """Settings of a training run; every one acts per replicate.

    Parameters
    ----------
    start
        Initial weights: "random", or those that "associations" of the inputs with the target suggest; see
        `vnn.training.priming.prime`. Effects that inputs have only in combination leave no associations: look for them from
        random weights.
    epochs
        Most passes over the training samples.
    batch_size
        Samples per step. In a survival study the risk sets of a step are those of its batch; larger batches know more.
    optimiser
        "adamw" (decoupled weight decay), "adam" or "sgd" (momentum 0.9).
    lr, weight_decay
        Learning rate and weight decay; "adamw" shrinks every parameter by `lr * weight_decay` a step.
    l1_weights
        Lasso: each step then brings every weight of an edge nearer to 0 by `lr * l1_weights`, and to 0 what is nearer than that.
    l1_activities
        What the mean absolute activity of a node over the samples of a step costs beside the loss, summed over nodes.
    schedule
        "constant", "cosine" (down to 0 over `epochs`), or "plateau" (halved after every `patience` / 3 epochs without gain).
    patience
        Epochs without a better validation loss after which a replicate stops and keeps its best weights.
        Without a validation part all `epochs` are run.
    min_gain
        By how much the validation loss must fall to count as better.
    clip
        Largest norm of a replicate's gradient; 0 leaves it alone.
    class_weight
        "balanced" weighs the classes of the training part equally; "none" leaves them as they are.
    scaling
        "standard" (mean 0, variance 1), "minmax" (0 to 1) or "none", fitted on each training part.
    impute
        What replaces a missing value: "mean", "median" or "zero" of the training part; "none" refuses missing values.
    dtype
        "float32" or "float64".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: Literal["random", "associations"] = "associations"
    epochs: Annotated[int, Field(ge=1)] = 200
    batch_size: Annotated[int, Field(ge=1)] = 64
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 3e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1.0
    l1_weights: Annotated[float, Field(ge=0)] = 0.0
    l1_activities: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    patience: Annotated[int, Field(ge=1)] = 20
    min_gain: Annotated[float, Field(ge=0)] = 1e-4
    clip: Annotated[float, Field(ge=0)] = 0.0
    class_weight: Literal["balanced", "none"] = "balanced"
    scaling: Literal["standard", "minmax", "none"] = "standard"
    impute: Literal["mean", "median", "zero", "none"] = "none"
    dtype: Literal["float32", "float64"] = "float32"

    @model_serializer(mode="wrap")
    def _said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Penalties that are not asked for are not said, so that studies from before them keep their identity."""
        return {name: value for name, value in write(self).items() if value or not name.startswith("l1_")}


class Setting(BaseModel):
    """What one replicate has of its own where the others have what `Training` and `Recipe` say.

    Parameters
    ----------
    lr, weight_decay
        Instead of those of the training.
    dropout, input_dropout
        Instead of those of the recipe.
    bootstrap
        Whether the replicate learns from a resample of its training part: as many samples, drawn with replacement
        within each class (or among the events and among the others), a sample drawn twice weighing twice. Scalings are those of
        the whole part, and samples that were not drawn are not held out. A null has the resample of its partner.

    Examples
    --------
    >>> Setting(lr=0.01).beside(Training(), Recipe()).weight_decay
    1.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: Annotated[float, Field(gt=0)] | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    input_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    bootstrap: bool = False

    def beside(self, training: Training, recipe: Recipe) -> Setting:
        """The same with every number stated."""
        said = {"lr": training.lr, "weight_decay": training.weight_decay}
        said |= {"dropout": recipe.dropout, "input_dropout": recipe.input_dropout}
        return Setting(**said | self.model_dump(exclude_none=True))

"""Sequential search: optuna proposes one setting after the other, and a search of that setting alone judges it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vnn._errors import FitError
from vnn.chance import generator
from vnn.data.samples import Samples
from vnn.data.splits import Split
from vnn.models import Recipe
from vnn.ontology.topology import Topology
from vnn.training.search import LOGARITHMIC, Space, search
from vnn.training.settings import Setting, Training


def objective(
    topology: Topology, samples: Samples, *, split: Split, space: Space | None = None, **how: Any
) -> Callable[[Any], float]:
    """What `optuna.Study.optimize` minimises: the validation loss of the setting a trial suggests.

    Parameters
    ----------
    topology, samples
        As for `search`.
    split
        The one whose validation part judges. Choose anew for another split, which may validate with what this one holds out.
    space
        From which the trial suggests.
    how
        Passed to `search`: target, training, recipes (a single one), n_seeds, seed and so on.

    Returns
    -------
    A function of a trial; its loss is a mean over seeds, infinite where a network diverged.
    """
    bounds = (space or Space()).bounds

    def loss(trial: Any) -> float:
        suggested = {
            name: trial.suggest_float(name, *ends, log=name in LOGARITHMIC and ends[0] < ends[1])
            for name, ends in bounds.items()
        }
        try:
            return search(
                topology,
                samples,
                splits=(split,),
                settings=(Setting.model_validate(suggested),),
                checkpoint=None,
                **how,
            ).loss
        except FitError:
            return float("inf")

    return loss


def sequential_search(
    topology: Topology,
    samples: Samples,
    *,
    split: Split,
    n: int = 27,
    space: Space | None = None,
    training: Training | None = None,
    recipe: Recipe | None = None,
    seed: int = 0,
    sampler: Any = None,
    **how: Any,
) -> tuple[Setting, Any]:
    """Choose a setting for a split by optuna, one trial after the other.

    The first trial is what `training` and `recipe` say. Trials learn from those before, which a population side by side cannot;
    they also wait for them.

    Parameters
    ----------
    topology, samples, split, space, how
        As for `objective`.
    n
        Trials.
    training, recipe, seed
        As for `search`; the sampler goes by `seed` too.
    sampler
        One of `optuna.samplers`; the tree-structured Parzen estimator unless given.

    Returns
    -------
    The best setting, every number stated, and the `optuna.Study`.

    Raises
    ------
    ImportError
        If optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ImportError("sequential_search needs optuna: pip install 'vnn[optuna]'.") from error
    training, recipe = training or Training(), recipe or Recipe()
    if sampler is None:
        sampler = optuna.samplers.TPESampler(seed=int(generator(seed, "sequential search").integers(2**32)))
    study = optuna.create_study(direction="minimize", sampler=sampler)
    stated, bounds = Setting().beside(training, recipe), (space or Space()).bounds
    first = {name: getattr(stated, name) for name in bounds}
    if all(low <= first[name] <= high for name, (low, high) in bounds.items()):
        study.enqueue_trial(first)
    judged = objective(
        topology, samples, split=split, space=space, training=training, recipes=recipe, seed=seed, **how
    )  # fmt: skip
    study.optimize(judged, n_trials=n)
    return Setting.model_validate(study.best_params).beside(training, recipe), study

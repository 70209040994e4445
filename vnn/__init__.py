"""vnn: visible neural networks in genomics.

The path of the data is data -> ontology -> kernels -> layers -> models -> training -> interpret -> report;
each station is a package of that name. The names below are the ones a study needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vnn.data import (
        Samples,
        Split,
        data_checks,
        hold_out,
        join_omics,
        k_fold,
        leave_one_group_out,
        limit_classes,
        log_cpm,
        merge_features,
        read_samples,
        simulate_expression,
    )
    from vnn.interpret import (
        Activities,
        Attributions,
        NodeScores,
        activities,
        activity_effects,
        attributions,
        crosscheck,
        node_scores,
    )
    from vnn.models import Recipe, VisibleNetwork
    from vnn.ontology import Level, Mask, Ontology, Topology, load_ontology
    from vnn.study import Results, Study, run_study
    from vnn.training import (
        Fit,
        Prediction,
        Training,
        VNNClassifier,
        VNNRegressor,
        comparison,
        fit,
        performance,
    )

_HOME = {
    "Samples": "vnn.data",
    "Split": "vnn.data",
    "data_checks": "vnn.data",
    "hold_out": "vnn.data",
    "join_omics": "vnn.data",
    "k_fold": "vnn.data",
    "leave_one_group_out": "vnn.data",
    "limit_classes": "vnn.data",
    "log_cpm": "vnn.data",
    "merge_features": "vnn.data",
    "read_samples": "vnn.data",
    "simulate_expression": "vnn.data",
    "Level": "vnn.ontology",
    "Mask": "vnn.ontology",
    "Ontology": "vnn.ontology",
    "Topology": "vnn.ontology",
    "load_ontology": "vnn.ontology",
    "Recipe": "vnn.models",
    "VisibleNetwork": "vnn.models",
    "Fit": "vnn.training",
    "Prediction": "vnn.training",
    "Training": "vnn.training",
    "fit": "vnn.training",
    "VNNClassifier": "vnn.training",
    "VNNRegressor": "vnn.training",
    "performance": "vnn.training",
    "comparison": "vnn.training",
    "Activities": "vnn.interpret",
    "Attributions": "vnn.interpret",
    "NodeScores": "vnn.interpret",
    "activities": "vnn.interpret",
    "activity_effects": "vnn.interpret",
    "attributions": "vnn.interpret",
    "crosscheck": "vnn.interpret",
    "node_scores": "vnn.interpret",
    "Results": "vnn.study",
    "Study": "vnn.study",
    "run_study": "vnn.study",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import vnn` is instant and torch comes late."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in {"data", "ontology", "kernels", "layers", "models", "training", "interpret", "report", "study", "bench"}:
        return import_module(f"vnn.{name}")
    raise AttributeError(f"module 'vnn' has no attribute {name!r}; it has {', '.join(_HOME)}.")


def __dir__() -> list[str]:
    return sorted(_HOME)

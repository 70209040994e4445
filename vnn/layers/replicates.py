"""Copies of modules with some of their replicates."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def of_replicates(module: Module, at: Sequence[int]) -> Module:
    """An independent copy of a module with the replicates `at` these positions, in this order; hooks are not copied.

    The replicate is the last axis of every parameter and saved buffer. Buffers that are not saved are shared with the
    copy, as nobody writes to them, but for those a module names in `by_replicate`.
    """
    made = copy.copy(module)
    for name, held in vars(module).items():
        if "_hooks" in name and isinstance(held, dict):
            made.__dict__[name] = type(held)()
    own = {name for name in module._buffers if name not in module._non_persistent_buffers_set}
    own |= set(getattr(module, "by_replicate", ()))
    made.__dict__["_parameters"] = {
        name: None if held is None else nn.Parameter(held.detach()[..., at], requires_grad=held.requires_grad)
        for name, held in module._parameters.items()
    }
    made.__dict__["_buffers"] = {
        name: held[..., at].contiguous() if held is not None and name in own else held
        for name, held in module._buffers.items()
    }
    made.__dict__["_modules"] = {
        name: None if child is None else of_replicates(child, at) for name, child in module._modules.items()
    }
    return made

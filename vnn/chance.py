"""Chance by name: every random draw is a pure function of what it is for.

No call touches a global generator. Two processes, two orders of calls and two ways of cutting the
work into chunks draw the same numbers, because a draw is named by the study seed, its purpose and
the identities it belongs to (replicate, fold, epoch), never by what was drawn before.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def word(name: int | str) -> int:
    """A name as a number a seed sequence takes: integers as they are, text by a hash of 64 bits."""
    if isinstance(name, str):
        return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
    if name < 0:
        raise ValueError(f"a seed or name of a draw is {name}; it must be a text or an integer >= 0.")
    return int(name)


def generator(seed: int, purpose: str, *names: int | str) -> np.random.Generator:
    """The generator of the draw called `purpose`, for the things called `names`.

    Parameters
    ----------
    seed
        Seed of the study, >= 0.
    purpose
        What is drawn: "weights", "batch order", "split".
    names
        Identities the draw belongs to, such as a replicate id or an epoch; their order matters.

    Returns
    -------
    A `numpy.random.Generator` over Philox, always the same for the same arguments.

    Examples
    --------
    >>> generator(1, "split", 0).integers(100) == generator(1, "split", 0).integers(100)
    np.True_
    """
    words = [word(seed), word(purpose), *map(word, names)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))

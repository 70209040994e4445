"""Rare classes: too few samples to learn from, by a rule the user states."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Literal

from vnn._errors import choose, culprits
from vnn.data.samples import Samples


def limit_classes(
    samples: Samples, target: str, *, least: int, rule: Literal["error", "drop", "merge"], into: str = "other"
) -> Samples:
    """Samples in which every class of a target has at least `least` samples.

    Parameters
    ----------
    samples
        Samples with the target among their targets.
    target
        Name of the column of classes.
    least
        Fewest samples a class may have.
    rule
        What happens to the samples of a smaller class: "error"; "drop", they leave; "merge", they become one
        class.
    into
        Name of that one class.

    Returns
    -------
    The samples as they are when no class is too small; otherwise new `Samples` with a line in the log.

    Raises
    ------
    ValueError
        If a label is missing, a class is too small and rule="error", the merged class is still too small or
        has the name of another class, or fewer than two classes are left.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"CD19": [0.1, 3.0, 2.5, 0.2, 0.3]}, index=list("abcde"))
    >>> kind = pd.DataFrame({"kind": ["T", "B", "B", "T", "NK"]}, index=list("abcde"))
    >>> samples = limit_classes(Samples.from_frame(frame, targets=kind), "kind", least=2, rule="drop")
    >>> samples.n_samples, samples.log
    (4, ("limit_classes: 1 class of 'kind' with fewer than 2 samples: 'NK' (1); its 1 sample was dropped",))
    """
    choose("rule", rule, ("error", "drop", "merge"))
    choose("target", target, map(str, samples.targets.columns))
    if least < 1:
        raise ValueError(f"least is {least}; a class needs at least 1 sample.")
    labels = samples.targets[target]
    if len(missing := labels.index[labels.isna()]):
        raise ValueError(
            f"{len(missing):,} of {len(labels):,} samples have no {target!r}: {culprits(missing)}. "
            "Leave them out with `samples.select(ids=...)`, or complete the labels."
        )
    sizes = Counter(labels.astype(object))
    rare = {name: size for name, size in sorted(sizes.items(), key=lambda item: str(item[0])) if size < least}
    if not rare:
        return samples
    n_samples = sum(rare.values())
    n_classes = f"{len(rare):,} class{'es' if len(rare) > 1 else ''} of {target!r}"
    found = f"{n_classes} with fewer than {least:,} samples: {_counted(rare)}"
    if rule == "error":
        raise ValueError(
            f'{found}. Drop them with rule="drop", make them one class with rule="merge", or lower `least`.'
        )
    left = {name: size for name, size in sizes.items() if name not in rare}
    whose = f"{'their' if len(rare) > 1 else 'its'} {n_samples:,} sample{'s' if n_samples > 1 else ''}"
    if rule == "drop":
        _need_two(target, found, len(left), left)
        line = f"limit_classes: {found}; {whose} {'were' if n_samples > 1 else 'was'} dropped"
        kept = samples.select(ids=[name for name, label in zip(samples.ids, labels, strict=True) if label not in rare])
        return replace(kept, log=(*kept.log, line))
    if into in set(map(str, left)):
        raise ValueError(f"into is {into!r}, which is a class of {target!r} already; choose another name.")
    _need_two(target, found, len(left) + 1, left)
    if n_samples < least:
        raise ValueError(
            f'{found}. Together they are {n_samples:,}, which is still too few; drop them with rule="drop", or lower '
            "`least`."
        )
    merged = labels.astype(object).where(~labels.isin(list(rare)), into)
    line = f"limit_classes: {found}; {whose} became the class {into!r}"
    return replace(samples, targets=samples.targets.assign(**{target: merged}), log=(*samples.log, line))


def _need_two(target: str, found: str, n_left: int, left: dict[object, int]) -> None:
    if n_left < 2:
        rest = f"only {_counted(left)} is left" if left else "no other class is left"
        raise ValueError(
            f"{found}; without them {rest} of {target!r} and there is nothing to tell apart. Lower `least`."
        )


def _counted(sizes: dict[object, int]) -> str:
    listed = [f"{str(name)!r} ({size:,})" for name, size in sizes.items()]
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5:,} more" if len(listed) > 5 else "")

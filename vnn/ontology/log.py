"""Log entries: what a step dropped, merged or changed, with every name it concerns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vnn._errors import culprits


@dataclass(frozen=True)
class Entry:
    """One thing one step did.

    Parameters
    ----------
    step
        The operation: "restrict", "most specific", "collapse identical".
    kind
        What it concerned: "genes", "terms", "features", "annotations", "relations".
    names
        All of them, sorted; a pair is written "child -> parent" or "gene @ term".
    reason
        What happened to them and why, in words.
    """

    step: str
    kind: str
    names: tuple[str, ...]
    reason: str

    @classmethod
    def of(cls, step: str, kind: str, names: Iterable[str], reason: str) -> Entry:
        """An entry with its names sorted."""
        return cls(step, kind, tuple(sorted(names)), reason)

    @property
    def count(self) -> int:
        """How many names it concerns."""
        return len(self.names)

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON values; `Entry(**record)` reads it back after the names became a tuple."""
        return {"step": self.step, "kind": self.kind, "names": list(self.names), "reason": self.reason}

    def __str__(self) -> str:
        return f"{self.step}: {self.count:,} {self.kind} {self.reason}: {culprits(self.names)}"

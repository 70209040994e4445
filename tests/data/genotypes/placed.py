"""Genotypes of which only the places of the variants matter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vnn.data.genotypes import Genotypes, Part


def variants_at(*places: str, build: str = "", ids: Sequence[str] | None = None) -> Genotypes:
    """Variants at "1:100" (C counted, A the other allele) or "1:100:AT:A", called rs0, rs1, ... unless told."""
    parts = [[*place.split(":"), "C", "A"][:2] + ([*place.split(":")][2:] or ["C", "A"]) for place in places]
    table = pd.DataFrame(parts, columns=["chromosome", "position", "counted", "other"], dtype=object)
    table["position"] = table["position"].astype(np.int64)
    table.index = pd.Index(ids or [f"rs{i}" for i in range(len(places))], dtype=object, name="variant")
    people = pd.DataFrame({"family": "", "father": "", "mother": "", "sex": ""}, index=["p0"])
    rows = np.zeros((len(places), 1), dtype=np.uint8)
    return Genotypes.of([Part(rows, np.array([0]))], table, people, build=build)

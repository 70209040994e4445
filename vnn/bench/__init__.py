"""Measurements: speed as a ratio to rivals that take turns with us in one process, memory as a peak."""

from vnn.bench.cases import CASES, kernels
from vnn.bench.memory import peak_bytes
from vnn.bench.records import Record, line
from vnn.bench.side_by_side import replicates
from vnn.bench.steps import profile_lines, step
from vnn.bench.sweeps import attributions
from vnn.bench.whole_studies import whole_study

__all__ = [
    "CASES",
    "Record",
    "attributions",
    "kernels",
    "line",
    "peak_bytes",
    "profile_lines",
    "replicates",
    "step",
    "whole_study",
]

"""Planted truth: cohorts whose cause is known, methods that look for it, and how often they are right."""

from vnn.bench.truth.cohorts import ARMS, Cohort, Setting, cohort, setting
from vnn.bench.truth.evaluation import Found, evaluate, exact_interval, groups_of, summary, summary_text
from vnn.bench.truth.methods import METHODS, Method
from vnn.bench.truth.pieces import run

__all__ = [
    "ARMS",
    "METHODS",
    "Cohort",
    "Found",
    "Method",
    "Setting",
    "cohort",
    "evaluate",
    "exact_interval",
    "groups_of",
    "run",
    "setting",
    "summary",
    "summary_text",
]

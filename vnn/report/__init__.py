"""Station 8, report: results in, what a person reads out."""

from vnn.report.text import WORDS, performance_text, ranking_text

__all__ = ["WORDS", "performance_text", "ranking_text"]

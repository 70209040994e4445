"""Station 8, report: results in, what a person reads out."""

from vnn.report.content import Content
from vnn.report.page import write_page
from vnn.report.static import write_figures
from vnn.report.text import WORDS, performance_text, ranking_text, verdict_text

__all__ = ["WORDS", "Content", "performance_text", "ranking_text", "verdict_text", "write_figures", "write_page"]

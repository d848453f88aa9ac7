"""The report: one self-contained HTML file about everything in a home, and the README's pictures."""

from t2i_assets.report.figures import write_figures
from t2i_assets.report.page import write_report

__all__ = ["write_figures", "write_report"]

"""Findings as pictures: the blend sweep, and what guidance gives and costs; with intervals."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from t2i_assets.claims.claim import Finding, Row
from t2i_assets.claims.scored import PROMPT_STYLES, SHOWN
from t2i_assets.claims.statistics import Effect

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {"short": "#c2702a", "descriptive": "#2a6fb0"}
BETTER = {"clip_score": "higher is better", "compositional": "higher is better", "fd_judge": "lower is better"}


def draw_sweep(finding: Finding, path: Path) -> None:
    """Write an SVG: a row of panels for each style of prompts, a panel for each metric, a line for each style."""
    figure = _figure(10, 5.6)
    panels = figure.subplots(len(PROMPT_STYLES), len(SHOWN), sharex=True)
    for line, style in enumerate(PROMPT_STYLES):
        for column, (score, name) in enumerate(SHOWN.items()):
            panel = panels[line][column]
            for captions, colour in COLOURS.items():
                points = _points(finding.rows, captions, f"{name}, {style}")
                if not points:
                    continue
                x = [share for share, _ in points]
                y = [effect.value for _, effect in points]
                error = _error([effect for _, effect in points])
                panel.errorbar(x, y, yerr=error, color=colour, marker="o", markersize=3, capsize=2, label=captions)
            panel.set_title(f"{name}, {style} prompts\n({BETTER[score]})", fontsize=9)
            if line == len(PROMPT_STYLES) - 1:
                panel.set_xlabel("share of synthetic captions")
    panels[0][0].legend(title="synthetic captions", frameon=False)
    _save(figure, path)


def draw_guidance(finding: Finding, path: Path) -> None:
    """Write an SVG: Frechet distance over CLIP score, a point for each guidance scale, a panel for each style."""
    figure = _figure(8, 3.6)
    panels = figure.subplots(1, len(PROMPT_STYLES))
    for panel, style in zip(panels, PROMPT_STYLES, strict=True):
        score, distance = (
            [row[f"{SHOWN[name]}, {style}"] for row in finding.rows] for name in ("clip_score", "fd_judge")
        )
        x, y = [effect.value for effect in score], [effect.value for effect in distance]
        panel.errorbar(
            x, y, xerr=_error(score), yerr=_error(distance), color="#2a6fb0", ecolor="#a9c6e2", marker="o", capsize=2
        )
        for row, *place in zip(finding.rows, x, y, strict=True):
            panel.annotate(row["guidance scale"], place, xytext=(5, 5), textcoords="offset points")
        panel.set_title(f"{style} prompts", fontsize=9)
        panel.set_xlabel("CLIP score (higher is better)")
    panels[0].set_ylabel("Frechet distance (lower is better)")
    _save(figure, path)


FIGURES: Mapping[str, Callable[[Finding, Path], None]] = {"sweep": draw_sweep, "guidance": draw_guidance}


def _figure(width: float, height: float) -> "Figure":
    import matplotlib  # here: it takes a second, and few commands draw

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "claims", "svg.fonttype": "none", "font.size": 9})
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: "Figure", path: Path) -> None:
    for panel in figure.axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _error(effects: Sequence[Effect]) -> list[list[float]]:
    """Return how far intervals reach below and above, as matplotlib wants it."""
    return [[effect.value - effect.low for effect in effects], [effect.high - effect.value for effect in effects]]


def _points(rows: Sequence[Row], captions: str, column: str) -> list[tuple[float, Effect]]:
    """Return (share, effect) of one style of captions; original texts alone begin every line."""
    chosen = [row for row in rows if row["style"] == captions or not row["share"]]
    return sorted(((float(row["share"]), row[column]) for row in chosen), key=lambda point: point[0])

"""The blend sweep as a picture: scores over the share of synthetic captions, with intervals."""

from collections.abc import Sequence
from pathlib import Path

from t2i_assets.claims.claim import Finding, Row
from t2i_assets.claims.scored import PROMPT_STYLES, SHOWN
from t2i_assets.claims.statistics import Effect

COLOURS = {"short": "#c2702a", "descriptive": "#2a6fb0"}
BETTER = {"clip_score": "higher is better", "compositional": "higher is better", "fd_judge": "lower is better"}


def draw_sweep(finding: Finding, path: Path) -> None:
    """Write an SVG: a row of panels for each style of prompts, a panel for each metric, a line for each style."""
    import matplotlib  # here: it takes a second, and few commands draw

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "claims", "svg.fonttype": "none", "font.size": 9})
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.6), layout="constrained")
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
                error = [[e.value - e.low for _, e in points], [e.high - e.value for _, e in points]]
                panel.errorbar(x, y, yerr=error, color=colour, marker="o", markersize=3, capsize=2, label=captions)
            panel.set_title(f"{name}, {style} prompts\n({BETTER[score]})", fontsize=9)
            panel.spines[["top", "right"]].set_visible(False)
            panel.grid(alpha=0.25)
            if line == len(PROMPT_STYLES) - 1:
                panel.set_xlabel("share of synthetic captions")
    panels[0][0].legend(title="synthetic captions", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _points(rows: Sequence[Row], captions: str, column: str) -> list[tuple[float, Effect]]:
    """Return (share, effect) of one style of captions; original texts alone begin every line."""
    chosen = [row for row in rows if row["style"] == captions or not row["share"]]
    return sorted(((float(row["share"]), row[column]) for row in chosen), key=lambda point: point[0])

"""Charts as inline SVG: small, without scripts, coloured by CSS classes so that they follow light and dark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 300, 150
LEFT, RIGHT, TOP, BOTTOM = 38, 8, 8, 20


@dataclass(frozen=True)
class Curve:
    """Points (x, y) in order of x; ``dots`` draws points instead of a line."""

    label: str
    css: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


def curves(shown: Sequence[Curve], x_label: str = "step") -> str:
    """Return curves over one axis; logarithmic where positive values span more than a factor of 20."""
    points = [(x, y) for curve in shown for x, y in curve.points if math.isfinite(y)]
    if not points:
        return ""
    values = [y for _, y in points]
    logarithmic = min(values) > 0 and max(values) > 20 * min(values)
    scale = math.log10 if logarithmic else float
    low, high = scale(min(values)), scale(max(values))
    pad = (high - low) * 0.05 or abs(high) * 0.05 or 1.0
    low, high = low - pad, high + pad
    most = max(x for x, _ in points) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / most
        return across, TOP + (HEIGHT - TOP - BOTTOM) * (high - scale(y)) / (high - low)

    ticks = _log_ticks(low, high) if logarithmic else _ticks(low, high)
    body = [_grid(TOP + (HEIGHT - TOP - BOTTOM) * (high - (scale(t))) / (high - low), _number(t)) for t in ticks]
    for curve in shown:
        placed = [place(x, y) for x, y in curve.points if math.isfinite(y)]
        if curve.dots or len(placed) == 1:
            body += [f'<circle class="{curve.css}" cx="{x:.1f}" cy="{y:.1f}" r="2.4"/>' for x, y in placed]
        elif placed:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            body.append(f'<polyline class="{curve.css}" points="{path}"/>')
    body.append(f'<text x="{LEFT}" y="{HEIGHT - 5}">0</text>')
    body.append(
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" text-anchor="end">{_number(most)} {escape(x_label)}s</text>'
    )
    title = ", ".join(dict.fromkeys(curve.label for curve in shown))
    return _svg(title, body)


def histogram(counts: Sequence[float], labels: tuple[str, str], css: str, title: str, mark: float | None = None) -> str:
    """Return bars of equal width; ``labels`` stand under the first and the last, ``mark`` is a line at a share of x."""
    wide, height, top = 210, 84, 6
    most = max(counts, default=0) or 1
    width = wide / max(len(counts), 1)
    body = []
    for number, count in enumerate(counts):
        tall = (height - top - BOTTOM) * count / most
        body.append(
            f'<rect class="{css}" x="{number * width + 0.75:.1f}" y="{height - BOTTOM - tall:.1f}" '
            f'width="{max(width - 1.5, 1):.1f}" height="{tall:.1f}"><title>{count:g}</title></rect>'
        )
    body.append(f'<line class="grid" x1="0" x2="{wide}" y1="{height - BOTTOM}" y2="{height - BOTTOM}"/>')
    if mark is not None:
        body.append(
            f'<line class="mark" x1="{wide * mark:.1f}" x2="{wide * mark:.1f}" y1="{top}" y2="{height - BOTTOM}"/>'
        )
    body.append(f'<text x="0" y="{height - 5}">{escape(labels[0])}</text>')
    body.append(f'<text x="{wide}" y="{height - 5}" text-anchor="end">{escape(labels[1])}</text>')
    return _svg(title, body, wide, height)


def running_mean(points: Sequence[tuple[float, float]], weight: float = 0.6) -> list[tuple[float, float]]:
    """Return points smoothed by an exponential mean without bias at the start."""
    smooth, total, count = [], 0.0, 0.0
    for x, y in points:
        total, count = weight * total + y, weight * count + 1
        smooth.append((x, total / count))
    return smooth


def _svg(title: str, body: list[str], width: int = WIDTH, height: int = HEIGHT) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title, quote=True)}">'
        f"{''.join(body)}</svg>"
    )


def _grid(y: float, label: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 5}" y="{y + 3.2:.1f}" text-anchor="end">{label}</text>'
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return three to five round numbers between the ends."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step)
    return [round(n * step, 12) for n in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    return [10.0**power for power in range(math.ceil(low), math.floor(high) + 1)] or [10 ** ((low + high) / 2)]


def _number(value: float) -> str:
    if value and (abs(value) >= 10_000 or abs(value) < 0.001):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4g}"

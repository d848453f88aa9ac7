"""What the report shows of the models: curves, final figures, judges, times and lineage."""

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from t2i_assets.report.charts import Curve, curves, running_mean
from t2i_assets.report.evidence import Evidence, Row

ASSETS = (
    "pages", "image_text_pairs", "shards", "near_duplicates", "human_captions", "tokenizer", "captioner",
    "caption_filter", "synthetic_captions", "caption_scores", "filtered_captions", "image_features",
    "semantic_duplicates", "contamination", "caption_blend", "clip_model",
    "clip_embeddings", "diffusion_prior", "autoregressive_prior", "autoencoder", "latents", "latent_diffusion",
    "evaluation_set", "prompts", "judge", "evaluation_clip", "generated_images", "real_features",
    "generated_features", "clip_score", "fid", "t2i_compbench",
    "clip_score_bounds", "fid_bounds", "t2i_compbench_bounds", "leaderboard",
)  # fmt: skip
"""Order in which the data goes."""

JUDGE_ROWS = ("detection_f1", "color", "shape", "texture", "count", "relation", "background", "whole")
FIGURES_SHOWN = 6


@dataclass(frozen=True)
class Panel:
    """Loss curves of one asset; a curve per recipe where it is partitioned."""

    asset: str
    chart: str
    legend: list[tuple[str, str]]
    steps: int
    seconds: float
    figures: list[tuple[str, str]]


@dataclass(frozen=True)
class Made:
    """One artifact that an asset holds now."""

    asset: str
    partition: str
    digest: str
    path: str
    seconds: float
    width: float
    created: datetime
    inputs: dict[str, str]
    config: str
    summary: str


def panels(evidence: Evidence, recipes: list[str]) -> list[Panel]:
    """Return a panel for every asset whose models logged a loss."""
    rows = evidence.rows(
        """
        SELECT a.asset, a.partition, a.seconds AS spent, a.summary::VARCHAR AS summary, m.step, m.name, m.value
        FROM metrics AS m JOIN artifacts AS a ON a.current AND a.path = 'models/' || m.kind || '/' || m.model
        WHERE m.current ORDER BY a.asset, a.partition, m.name, m.step
        """
    )
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["asset"]].append(row)
    return [_panel(asset, found[asset], recipes) for asset in sorted(found, key=_order)]


def _panel(asset: str, rows: list[Row], recipes: list[str]) -> Panel:
    series: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        series[row["partition"], row["name"]].append((row["step"], row["value"]))
    names = sorted({name for _, name in series if name.split("/")[-1] == "loss"}, key=_phase)
    names = names or sorted({name for _, name in series if name.endswith("_loss")})
    phases = list(dict.fromkeys(_phase(name) for name in names))
    shown: list[Curve] = []
    legend = {}
    for partition in sorted({partition for partition, _ in series}):
        for name in (name for name in names if (partition, name) in series):
            css = (
                f"recipe-{recipes.index(partition)}"
                if partition in recipes
                else f"series-{phases.index(_phase(name)) % 4}"
            )
            points = series[partition, name]
            label = _phase(name) if partition == "_" else partition
            legend[label] = css
            if "val/" in name:
                shown.append(Curve(label, f"dot {css}", points, dots=True))
                continue
            shown.append(Curve(label, f"line faint {css}", points))
            shown.append(Curve(label, f"line {css}", running_mean(points)))
    spent = {row["partition"]: row["spent"] for row in rows}
    return Panel(
        asset,
        curves(shown),
        list(legend.items()),
        max(row["step"] for row in rows),
        sum(spent.values()),
        _figures({row["partition"]: json.loads(row["summary"]) for row in rows}),
    )


def _phase(name: str) -> str:
    """Return the phase that a loss was logged in, its name where there is one phase."""
    return name.replace("val/", "").removesuffix("/loss")


def _figures(summaries: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Return final figures, measured ones before counts, those of several partitions side by side."""
    names = list(dict.fromkeys(name for summary in summaries.values() for name in summary if name != "steps"))
    names.sort(key=lambda name: all(isinstance(summary.get(name), int) for summary in summaries.values()))
    shown = []
    for name in names:
        values = [summary.get(name) for summary in summaries.values()]
        if all(isinstance(value, int | float) for value in values):
            shown.append(
                (name, " · ".join(f"{value:,}" if isinstance(value, int) else f"{value:.4g}" for value in values))
            )
    return shown[:FIGURES_SHOWN]


def judge_accuracy(evidence: Evidence) -> list[tuple[str, float, float | None]]:
    """Return (what, on sharp images, on soft images) as the judge measured itself on held-out real images."""
    rows = evidence.rows("SELECT summary::VARCHAR AS summary FROM artifacts WHERE asset = 'judge' AND current")
    if not rows:
        return []
    summary = json.loads(rows[0]["summary"])
    return [
        (name.replace("_", " "), summary[name], summary.get(f"soft/{name}")) for name in JUDGE_ROWS if name in summary
    ]


def made(evidence: Evidence) -> list[Made]:
    """Return every current artifact in the order in which the data goes."""
    rows = evidence.rows(
        """
        SELECT asset, partition, digest, path, seconds, created, inputs,
               config::VARCHAR AS config, summary::VARCHAR AS summary
        FROM artifacts WHERE current
        """
    )
    most = max((row["seconds"] for row in rows), default=0) or 1
    return [
        Made(
            row["asset"],
            row["partition"],
            row["digest"],
            row["path"],
            row["seconds"],
            100 * row["seconds"] / most,
            row["created"],
            row["inputs"] or {},
            _pretty(row["config"]),
            _pretty(row["summary"]),
        )
        for row in sorted(rows, key=lambda row: (_order(row["asset"]), row["partition"]))
    ]


def _pretty(text: str | None) -> str:
    return json.dumps(json.loads(text or "{}"), indent=1, ensure_ascii=False)


def _order(asset: str) -> tuple[int, str]:
    return (ASSETS.index(asset) if asset in ASSETS else len(ASSETS), asset)

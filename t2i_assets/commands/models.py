"""``t2i models``: what was trained, how two models differ, and which one is in use."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from t2i_assets.commands.options import clear_errors, home_option

HEADLINES = (
    "compositional", "fd_judge", "clip_score", "val/text_to_image_recall_at_1", "val/zero_shot_color", "val/psnr",
    "val/ssim", "val/frechet_distance", "val/cosine", "val/loss",
)  # fmt: skip
"""Figures that a list shows first, where a model has them."""
MOST_SHOWN = 3

form_option = click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="Output."
)


@click.group()
def models() -> None:
    """What was trained, how two models differ, and which one is in use."""


@models.command("list")
@home_option
@click.option("--kind", help="Models of this asset alone: clip_model, autoencoder, latent_diffusion …")
@form_option
@clear_errors
def list_them(home: Path, kind: str | None, form: str) -> None:
    """Every model with its stage, headline figures and what it was trained on."""
    from t2i_assets.corpus.home import Home
    from t2i_assets.corpus.registry import list_models, scores

    place = Home(home.resolve())
    rows: list[dict[str, Any]] = []
    scored = scores(place)
    for model in list_models(place, kind):
        board = {f"{row['metric']} ({row['style']})": row["value"] for row in scored.get(model["digest"], [])}
        figures = {**board, **_figures(model["summary"])}
        rows.append(_in_a_line(model, figures) if form == "table" else _in_full(model, figures, form))
    _print(rows, form)


def _in_a_line(model: Mapping[str, Any], figures: Mapping[str, float]) -> dict[str, Any]:
    """Return what a table of 120 columns has room for; a mark beside the stage says what must be known of a model."""
    marks = [mark for mark, holds in (("old", not model["current"]), ("tainted", model["tainted"])) if holds]
    stage = "" if model["stage"] == "none" else model["stage"]
    return {
        "digest": model["digest"],
        "kind": model["kind"],
        "recipe": "" if model["partition"] == "_" else model["partition"],
        "stage": ", ".join(filter(None, [stage, *marks])),
        "made": f"{model['created']:%Y-%m-%d}",
        "metrics": _headline(figures),
    }


def _in_full(model: Mapping[str, Any], figures: Mapping[str, float], form: str) -> dict[str, Any]:
    told = {name: model[name] for name in ("digest", "kind", "partition", "stage", "current", "tainted", "created")}
    if form == "csv":
        return {**told, "metrics": _headline(figures), "inputs": len(model["inputs"])}
    return {**told, "metrics": figures, "inputs": model["inputs"], "config": model["config"]}


@models.command()
@click.argument("first")
@click.argument("second")
@home_option
@form_option
@clear_errors
def compare(first: str, second: str, home: Path, form: str) -> None:
    """How two models differ: configuration, inputs and figures, with intervals where the leaderboard has them.

    FIRST and SECOND are digests, or as much of them as no other model shares.
    """
    from t2i_assets.corpus.home import Home
    from t2i_assets.corpus.registry import find_model, scores

    place = Home(home.resolve())
    pair = [find_model(place, prefix) for prefix in (first, second)]
    scored = scores(place)
    rows: list[dict[str, Any]] = []

    def side_by_side(what: str, of: Callable[[dict[str, Any]], Mapping[str, Any]], everything: bool) -> None:
        one, other = (of(model) for model in pair)
        for name in [*one, *(name for name in other if name not in one)]:
            if everything or one.get(name) != other.get(name):
                shown = [_text(side[name]) if name in side else None for side in (one, other)]
                rows.append({"what": what, "name": name, "first": shown[0], "second": shown[1]})

    side_by_side("model", lambda model: {name: model[name] for name in ("digest", "kind", "partition", "stage")}, True)
    side_by_side("config", lambda model: _flat(model["config"]), False)
    side_by_side("input", lambda model: model["inputs"], False)
    side_by_side("figure", lambda model: _figures(model["summary"]), True)
    side_by_side(
        "score",
        lambda model: {
            f"{row['metric']} ({row['style']})": _with_interval(row) for row in scored.get(model["digest"], [])
        },
        True,
    )
    _print(rows, form)


@models.command()
@click.argument("digest")
@click.argument("stage", type=click.Choice(["none", "staging", "production", "archived"]))
@home_option
@clear_errors
def promote(digest: str, stage: Any, home: Path) -> None:
    """Give the model DIGEST, or what it begins with, a STAGE.

    Of a kind and recipe one model is in production: the one before it is archived.
    """
    from t2i_assets.corpus.home import Home
    from t2i_assets.corpus.registry import find_model
    from t2i_assets.corpus.registry import promote as give

    place = Home(home.resolve())
    model = find_model(place, digest)
    events = give(place, model["digest"], stage)
    for event in events:
        click.echo(f"{event.digest}  {event.kind}  {event.partition}  {event.was} → {event.stage}")
    if not events:
        click.echo(f"{model['digest']} is {stage} already")
    if model["tainted"] and stage in ("staging", "production"):
        click.echo(f"warning: {model['digest']} was trained on samples that were purged since", err=True)


def _figures(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures on held-out data; every number where there are none."""
    numbers = {name: value for name, value in summary.items() if isinstance(value, int | float)}
    return {name: value for name, value in numbers.items() if "val/" in name} or numbers


def _headline(figures: Mapping[str, float]) -> str:
    wanted = [name for head in HEADLINES for name in figures if name.split(" ")[0].endswith(head)]
    shown = list(dict.fromkeys([*wanted, *figures]))[:MOST_SHOWN]
    return ", ".join(f"{name} {figures[name]:.4g}" for name in shown)


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            fields |= _flat(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields


def _with_interval(row: Mapping[str, Any]) -> str:
    interval = "" if row["low"] is None else f" [{row['low']:.4g}, {row['high']:.4g}]"
    return f"{row['value']:.4g}{interval} (n = {row['n']})"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _print(rows: list[dict[str, Any]], form: str) -> None:
    if form == "json":
        click.echo(json.dumps(rows, default=str, ensure_ascii=False, indent=1))
        return
    import pyarrow as pa

    from t2i_assets.corpus.catalog import format_rows

    click.echo(format_rows(pa.Table.from_pylist(rows), form) if rows else "no models")

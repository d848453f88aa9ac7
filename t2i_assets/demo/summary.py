"""What the demo prints at its end: the funnel, the leaderboard, the result in one sentence and where to go on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from t2i_assets.corpus.catalog import query
from t2i_assets.corpus.home import Home

FUNNEL = """
    SELECT stage, coalesce(sum(count) FILTER (reason = 'passed'), 0)::BIGINT AS passed, sum(count)::BIGINT AS entered,
           string_agg(reason || ' ' || count, ', ' ORDER BY count DESC) FILTER (reason <> 'passed') AS others
    FROM (SELECT stage_order, stage, reason, sum(count)::BIGINT AS count FROM funnel {where} GROUP BY ALL)
    GROUP BY stage_order, stage ORDER BY stage_order, stage
"""
BOARD = """
    SELECT style, metric, coalesce(recipe, system) AS model, value, low, high, n, baseline, warning
    FROM leaderboard
    WHERE current ORDER BY metric <> 'compositional', metric, style
"""

Row = Mapping[str, Any]


def print_summary(home: Path, preset: str, fresh: int, console: Console) -> None:
    """Print the funnel, the leaderboard, the result and the next steps."""
    place = Home(home)
    console.print(_funnel(query(place, FUNNEL.format(where="")).to_pylist()))
    rows = query(place, BOARD).to_pylist()
    console.print(_board(rows))
    few = sum(row["warning"] is not None for row in rows)
    if few:
        console.print(f"{few} of {len(rows)} scores are to be read with care: see `warning` in the view leaderboard.")
    for row in rows:
        if row["baseline"] and row["metric"] == "compositional":
            console.print(_result(row), highlight=False)
    console.print(f"{fresh} assets made, the others were there. Report: {place.report}", soft_wrap=True)
    console.print(
        f'Next: make ui PRESET={preset} · .venv/bin/t2i query "SELECT * FROM models" · .venv/bin/t2i synthweb'
    )


def print_ingest(place: Home, snapshot: str, console: Console) -> None:
    """Print the funnel of one snapshot as far as it goes, and where its parts lie."""
    where = "WHERE snapshot = '" + snapshot.replace("'", "''") + "'"
    console.print(_funnel(query(place, FUNNEL.format(where=where)).to_pylist()))
    console.print(
        f"shards: {place.shards(snapshot)}\nledger: {place.ledger(snapshot)}", soft_wrap=True, highlight=False
    )


def _funnel(rows: list[Row]) -> Table:
    table = Table(
        "stage", _right("passed"), _right("of"), "why the others did not", title="Funnel", title_justify="left"
    )
    for row in rows:
        table.add_row(row["stage"], f"{row['passed']:,}", f"{row['entered']:,}", row["others"])
    return table


def _board(rows: list[Row]) -> Table:
    """Return a row per metric and prompt style: floor, models, ceiling, and the paired difference with its interval."""
    plain = {(row["metric"], row["style"], row["model"]): row["value"] for row in rows if row["baseline"] is None}
    compared = {(row["metric"], row["style"]): row for row in rows if row["baseline"] is not None}
    models = sorted({model for _, _, model in plain} - {"floor", "ceiling"})
    columns = ["floor", *models, "ceiling"]
    difference = next((f"{row['model']} − {row['baseline']}" for row in compared.values()), "difference")
    heads = [_right(name) for name in (*columns, difference)]
    table = Table("metric", "prompts", *heads, title="Leaderboard", title_justify="left")
    for metric, style in dict.fromkeys((row["metric"], row["style"]) for row in rows):
        cells = [_figure(plain.get((metric, style, model))) for model in columns]
        table.add_row(metric, style, *cells, _interval(compared.get((metric, style))))
    return table


def _result(row: Row) -> str:
    verdict = "the interval excludes 0" if row["low"] * row["high"] > 0 else "the interval holds 0: undecided"
    return (
        f"On {row['style']} prompts {row['model']} scores {row['value']:+.3f} over {row['baseline']} "
        f"({row['low']:+.3f} to {row['high']:+.3f}, 95 %, paired over {row['n']} images): {verdict}."
    )


def _interval(row: Row | None) -> str:
    if row is None:
        return ""
    if row["low"] is None:
        return f"{row['value']:+.3f}"
    return f"{row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _right(name: str) -> Column:
    return Column(name, justify="right")

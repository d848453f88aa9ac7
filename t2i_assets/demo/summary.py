"""What the demo prints at its end: the funnel, the leaderboard and where to go on."""

from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from t2i_assets.corpus.catalog import query
from t2i_assets.corpus.home import Home

FUNNEL = """
    SELECT stage, coalesce(sum(count) FILTER (reason = 'passed'), 0)::BIGINT AS passed, sum(count)::BIGINT AS entered,
           string_agg(reason || ' ' || count, ', ' ORDER BY count DESC) FILTER (reason <> 'passed') AS others
    FROM funnel GROUP BY stage_order, stage ORDER BY stage_order, stage
"""
BOARD = """
    SELECT style, metric, coalesce(recipe, system) AS model, value, low, high, n, baseline
    FROM leaderboard WHERE current ORDER BY baseline IS NOT NULL, metric, style, system, recipe
"""


def print_summary(home: Path, fresh: int, console: Console) -> None:
    """Print the funnel, the leaderboard and the next steps."""
    place = Home(home)
    funnel = Table(
        "stage", _right("passed"), _right("of"), "why the others did not", title="Funnel", title_justify="left"
    )
    for row in query(place, FUNNEL).to_pylist():
        funnel.add_row(row["stage"], f"{row['passed']:,}", f"{row['entered']:,}", row["others"])
    console.print(funnel)
    board = Table(
        "prompts",
        "metric",
        "model",
        _right("score"),
        _right("95 % interval"),
        _right("n"),
        title="Leaderboard",
        title_justify="left",
    )
    compared = False
    for row in query(place, BOARD).to_pylist():
        model = row["model"] if row["baseline"] is None else f"{row['model']} − {row['baseline']}"
        if row["baseline"] is not None and not compared:
            compared = True
            board.add_section()
        interval = "" if row["low"] is None else f"{row['low']:.3f}…{row['high']:.3f}"
        board.add_row(row["style"], row["metric"], model, f"{row['value']:.3f}", interval, str(row["n"]))
    console.print(board)
    console.print(f"{fresh} assets made, the others were there. Report: {place.report}")
    console.print('Next: make ui · t2i query "SELECT * FROM models" · t2i synthweb')


def _right(name: str) -> Column:
    return Column(name, justify="right")

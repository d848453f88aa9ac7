"""How often the filter says no, and how sure of its yes it is: what tells a filter that agrees too much."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

MODEL_RULES = "%_below_threshold"
"""Reasons that a model's score gave; the other rules never asked it."""


@dataclass(frozen=True)
class Agreement:
    """One source: captions that the filter was asked about, shares of them rejected and certain, ITM quartiles."""

    source: str
    asked: int
    rejected: float
    certain: float
    quartiles: tuple[float, float, float]


def filter_agreement(verdicts: Sequence[Path], scores: Sequence[Path], certain: float) -> list[Agreement]:
    """Return one Agreement per source, from tables of VERDICTS and the SCORES that they stand on.

    ``certain`` is the ITM probability from which the filter counts as certain of a caption. Sources that no model
    was asked about are left out.
    """
    with duckdb.connect() as connection:
        rows = connection.execute(_SQL, [certain, *(list(map(str, files)) for files in (verdicts, scores))]).fetchall()
    return [
        Agreement(source, asked, rejected, sure, (low, median, high))
        for source, asked, rejected, sure, (low, median, high) in rows
    ]


_SQL = f"""
    SELECT source, count(*), avg((NOT kept)::INT), avg((scores.value >= $1)::INT),
           quantile_cont(scores.value, [0.25, 0.5, 0.75])
    FROM read_parquet($2) AS verdicts JOIN read_parquet($3) AS scores USING (caption_id)
    WHERE scores.kind = 'itm' AND (kept OR reason LIKE '{MODEL_RULES}')
    GROUP BY source ORDER BY source
"""

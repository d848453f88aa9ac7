"""Check of the judges: on real pictures they give nearly full marks, and to the wrong picture what chance gives."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from t2i_assets.assets.evals import judge
from t2i_assets.corpus.schemas import JUDGES
from t2i_assets.corpus.tables import read_rows
from t2i_assets.materialize import made
from t2i_assets.metadata import rows_table
from t2i_assets.resources import Pipeline

TRUTH = "oracle"
LEAST_CEILING = 0.95
MOST_ABOVE_CHANCE = 0.05
"""By how much a floor may exceed the mean score that the truth itself gives to other pictures' prompts. Ours."""


@dg.asset_check(asset=judge)
def judges_see_what_is_there(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Each judge gives held-out pictures 0.95 of their own facts or more, and hardly more than chance of others'.

    It warns. A judge below it needs more pictures or steps (``judge.optimizer``, ``evaluation_set.pool_images``): every
    score that it gives a model is lower, or higher, than the model deserves.
    """
    rows = read_rows(made(pipeline, "judge").path / "judges.parquet", JUDGES)
    doubtful = list(doubts(rows))
    return dg.AssetCheckResult(
        passed=bool(rows) and not doubtful,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"judges": len({row["judge"] for row in rows} - {TRUTH}), "doubtful": rows_table(doubtful)},
    )


def doubts(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the ceilings that are too low and the floors that are above chance, on sharp pictures."""
    values = {(row["judge"], row["measure"]): row["value"] for row in rows if row["condition"] == "sharp"}
    found = []
    for (name, measure), value in values.items():
        kind = measure.partition("/")[0]
        chance = values.get((TRUTH, measure), 0.0)
        if kind == "ceiling" and value < LEAST_CEILING:
            found.append({"judge": name, "measure": measure, "value": value, "bound": LEAST_CEILING})
        elif kind == "floor" and value > chance + MOST_ABOVE_CHANCE:
            found.append({"judge": name, "measure": measure, "value": value, "bound": chance + MOST_ABOVE_CHANCE})
    return found

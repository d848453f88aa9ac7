"""Check of the scores: every model lies between the floor and the ceiling."""

import dagster as dg

from t2i_assets.assets.evals import leaderboard
from t2i_assets.corpus.schemas import LEADERBOARD
from t2i_assets.corpus.tables import read_rows
from t2i_assets.materialize import made
from t2i_assets.metadata import rows_table
from t2i_assets.resources import Pipeline


@dg.asset_check(asset=leaderboard)
def scores_between_floor_and_ceiling(pipeline: Pipeline) -> dg.AssetCheckResult:
    """A score outside its bounds says that the judge, not the model, is to be looked at.

    A score counts as outside where its whole 95 % interval is. Of distances (``fd_…``, ``kd_…``) the ceiling is the
    smaller bound.
    """
    rows = read_rows(made(pipeline, "leaderboard").path / "leaderboard.parquet", LEADERBOARD)
    plain = [row for row in rows if row["baseline"] is None]
    bounds = {
        (row["system"], row["style"], row["metric"]): row["value"] for row in plain if row["system"] != "generated"
    }
    outside = []
    for row in plain:
        floor, ceiling = (bounds.get((system, row["style"], row["metric"])) for system in ("floor", "ceiling"))
        if row["system"] != "generated" or floor is None or ceiling is None:
            continue
        low, high = (row["value"] if row[end] is None else row[end] for end in ("low", "high"))
        if high < min(floor, ceiling) or low > max(floor, ceiling):
            named = {name: row[name] for name in ("recipe", "style", "metric", "value")}
            outside.append({**named, "floor": floor, "ceiling": ceiling})
    return dg.AssetCheckResult(
        passed=bool(bounds) and not outside,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"scores": len(plain), "outside": rows_table(outside)},
    )

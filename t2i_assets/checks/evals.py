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
    plain = [row for row in rows if row["baseline"] is None and row["system"] == "generated"]
    bounded = [row for row in plain if row["floor"] is not None and row["ceiling"] is not None]
    outside = []
    for row in bounded:
        low, high = (row["value"] if row[end] is None else row[end] for end in ("low", "high"))
        if high < min(row["floor"], row["ceiling"]) or low > max(row["floor"], row["ceiling"]):
            outside.append({name: row[name] for name in ("recipe", "style", "metric", "value", "floor", "ceiling")})
    return dg.AssetCheckResult(
        passed=bool(bounded) and not outside,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"scores": len(plain), "with bounds": len(bounded), "outside": rows_table(outside)},
    )

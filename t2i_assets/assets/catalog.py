"""The catalog: DuckDB views over every file, swapped in whole, and the report made from it."""

import dagster as dg

from t2i_assets.assets.blend import caption_blend, every
from t2i_assets.assets.capfilt import filtered_captions
from t2i_assets.assets.caption_report import caption_report
from t2i_assets.assets.duplicates import contamination, near_duplicates, semantic_duplicates
from t2i_assets.assets.evals import leaderboard
from t2i_assets.assets.prompts import site_truth
from t2i_assets.materialize import Result
from t2i_assets.metadata import rows_table
from t2i_assets.resources import Pipeline

GROUP = {"group_name": "catalog", "owners": ["team:data"]}
FUNNEL = """
    SELECT stage, reason, sum(count)::BIGINT AS count FROM funnel
    GROUP BY stage_order, stage, reason ORDER BY stage_order, count DESC
"""


@dg.asset(
    **GROUP,
    deps=[
        *(every(near_duplicates), every(semantic_duplicates), every(contamination)),
        *(every(filtered_captions), every(caption_report), every(caption_blend), leaderboard),
    ],
    kinds={"duckdb"},
    code_version="1",
)
def dataset_stats(pipeline: Pipeline) -> Result:
    """The DuckDB catalog: pages, images, samples, captions, scores, verdicts, blends, models, evals, ratings
    and the funnel."""
    from t2i_assets.corpus.catalog import build_catalog, query  # here: DuckDB takes a third of a second to import
    from t2i_assets.voting.tally import ratings

    ratings(pipeline.place)
    summary = build_catalog(pipeline.place)
    funnel = query(pipeline.place, FUNNEL).to_pylist()
    return dg.MaterializeResult(
        metadata={"path": dg.MetadataValue.path(str(pipeline.place.catalog)), **summary, "funnel": rows_table(funnel)}
    )


@dg.asset(**GROUP, deps=[dataset_stats, site_truth], kinds={"html"}, code_version="1")
def report(pipeline: Pipeline) -> Result:
    """One self-contained HTML file: funnel, captions, curves, pictures and scores."""
    from t2i_assets.report import write_report

    write_report(pipeline.place, pipeline.place.report)
    return dg.MaterializeResult(metadata={"path": dg.MetadataValue.path(str(pipeline.place.report))})

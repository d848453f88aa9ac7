"""What models are asked to draw, and pictures of the embedded domain that judge them and that no training may meet.

Judges, decontamination and so every blend depend on ``evaluation_set`` alone. What is drawn and scored is ``prompts``:
a prompt file that joins them there costs its own pictures and retrains nothing.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import dagster as dg

from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.prompt_files import read_prompt_files
from t2i_assets.corpus.schemas import PROMPTS
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.materialize import Result, made, materialize
from t2i_assets.metadata import rows_table
from t2i_assets.resources import Overrides, Pipeline
from t2i_assets.synthweb.evaluation_set import write_evaluation_set
from t2i_assets.synthweb.truth import write_truth

GROUP = {"group_name": "evals", "owners": ["team:evaluation"]}


@dg.asset(**GROUP, kinds={"parquet", "webdataset"}, code_version="2")
def evaluation_set(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Prompts in two styles with what a right picture must show, a real image of each, and a pool for judges."""
    chosen = pipeline.settings.section("evaluation_set", config.overrides)
    return materialize(
        context,
        pipeline,
        path=lambda digest: pipeline.place.evals("evaluation_set", digest),
        config=chosen.model_dump(mode="json"),
        inputs={},
        write=lambda out: write_evaluation_set(chosen, out),
    )


@dg.asset(**GROUP, deps=[evaluation_set], kinds={"parquet"}, code_version="1")
def prompts(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Every prompt that is drawn and scored: those of the evaluation set, and published benchmarks' by path."""
    drawn = made(pipeline, "evaluation_set")
    published = read_prompt_files(pipeline.settings.section("prompts", config.overrides))
    rows = [*read_rows(drawn.path / "prompts.parquet", PROMPTS), *published]

    def write(out: Path) -> dict[str, Any]:
        write_table(out / "prompts.parquet", rows, PROMPTS)
        return {"prompts": len(rows), "styles": dict(Counter(row["style"] for row in rows))}

    kinds = sorted(Counter((row["style"], row["category"]) for row in rows).items())
    return materialize(
        context,
        pipeline,
        path=lambda digest: pipeline.place.evals("prompts", digest),
        config={"published": digest(published)},  # what the files say, not where they lie
        inputs={"evaluation_set": drawn},
        write=write,
        show=lambda _: {
            "categories": rows_table(
                {"style": style, "category": category, "prompts": count} for (style, category), count in kinds
            )
        },
    )


@dg.asset(**GROUP, kinds={"parquet"}, code_version="1")
def site_truth(context: dg.AssetExecutionContext, pipeline: Pipeline) -> Result:
    """What every picture of the embedded site truly shows. Nothing that is trained reads it: only the
    report, the findings of the claims and the tests do."""
    site = pipeline.settings.site

    def write(out: Path) -> dict[str, Any]:
        return {"rows": 0 if site is None else write_truth(site, out / "truth.parquet").num_rows}

    return materialize(
        context,
        pipeline,
        path=lambda _: pipeline.place.root / "synthweb",
        config={} if site is None else site.model_dump(mode="json"),
        inputs={},
        write=write,
    )

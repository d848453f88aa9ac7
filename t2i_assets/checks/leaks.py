"""Check of leaks: what a scored model was trained on gives away neither the pictures nor, to any effect, the prompts.

A picture of the evaluation set among the training pictures is a leak. A prompt among the training captions need not be
one: people who describe simple things use the same words. It is one where it moves the score, so the score is taken
again over the prompts that no caption says. Where that cannot be done, nobody knows, and the check does not pass.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import dagster as dg

from evaluation import leaderboard as statistics
from evaluation.config import LeaderboardConfig
from t2i_assets.assets.evals import leaderboard
from t2i_assets.checks.duplicates import SAME_IMAGE, SHOWN
from t2i_assets.corpus.artifacts import Artifact, read_artifact
from t2i_assets.corpus.blending import recipe_of, table_of
from t2i_assets.corpus.duplicates.contamination import plain
from t2i_assets.corpus.schemas import BLENDS, CONTAMINATION, EVALS, LEADERBOARD, PROMPTS, SAMPLES
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_rows, read_table
from t2i_assets.materialize import made, made_everywhere
from t2i_assets.metadata import rows_table
from t2i_assets.resources import Pipeline

HEADLINES = (statistics.COMPOSITIONAL, statistics.GENEVAL, "clip_score")
"""The score of a style: the first of these that it has."""
OF_PICTURES = ("t2i_compbench", "clip_score")
"""Assets whose scores are of one picture each, so that prompts can be left out."""

Row = Mapping[str, Any]


@dg.asset_check(asset=leaderboard)
def training_gives_nothing_away(pipeline: Pipeline) -> dg.AssetCheckResult:
    """No scored model met a picture of the evaluation set, and prompts that it met as captions do not move its score.

    Of each model on the leaderboard the blend that it was trained on is read. A score moves where that of the prompts
    which no caption of the blend says lies outside the 95 % interval of the whole; where prompts were met and none of
    some category are left, or the score has no interval, it cannot be told, and the check does not pass.
    """
    return leaks(pipeline)


def leaks(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Return what the check says."""
    board = made(pipeline, "leaderboard")
    rows = [
        row
        for row in read_rows(board.path / "leaderboard.parquet", LEADERBOARD)
        if row["system"] == "generated" and row["baseline"] is None
    ]
    pictures: list[Row] = []
    told: list[dict[str, Any]] = []
    for recipe, model in sorted({(row["recipe"], row["model"]) for row in rows}):
        blend = _blend_of(pipeline, recipe, model)
        drawn = read_rows(table_of(blend.path, "diffusion"), BLENDS, ["key", "caption"])
        pictures += [{"recipe": recipe, **row} for row in _pictures(pipeline, blend, {row["key"] for row in drawn})]
        captions = {plain(row["caption"]) for row in drawn}
        told += _styles(pipeline, board, captions, [row for row in rows if row["model"] == model])
    prompts = made(pipeline, "evaluation_set").path
    pool = _keys(prompts / "pool") & _keys(prompts / "reference")
    return dg.AssetCheckResult(
        passed=bool(told) and not pictures and not pool and all(row["gives away"] == "nothing" for row in told),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "pictures of the evaluation set met in training": rows_table(pictures[:SHOWN]),
            "pictures of the prompts that the judges trained on": len(pool),
            "prompts met as captions": rows_table(told),
        },
    )


def _blend_of(pipeline: Pipeline, recipe: str, model: str) -> Artifact:
    trained = read_artifact(pipeline.place.model("latent_diffusion", model))
    if trained is None:
        raise FileNotFoundError(f"the model {model} of {recipe}, which the leaderboard shows, is gone")
    blend = read_artifact(pipeline.place.blend(recipe, trained.manifest.inputs["caption_blend"]))
    if blend is None:
        raise FileNotFoundError(f"the blend that {trained.path} was trained on is gone")
    return blend


def _pictures(pipeline: Pipeline, blend: Artifact, drawn: Set[str]) -> list[Row]:
    """Return the agreements in images of what a blend can draw."""
    parts = list(made_everywhere(pipeline, "contamination").values())
    if recipe_of(blend).include_human_samples:
        parts.append(made(pipeline, "human_contamination"))
    rows = [row for part in parts for row in read_rows(part.path, CONTAMINATION)]
    return [
        {name: row[name] for name in ("key", "kind", "reference", "detail")}
        for row in rows
        if row["kind"] in SAME_IMAGE and row["key"] in drawn
    ]


def _styles(pipeline: Pipeline, board: Artifact, captions: Set[str], rows: list[Row]) -> Iterator[dict[str, Any]]:
    """Yield for each style that one model was scored on what its prompts among ``captions`` do to its score."""
    recipe, model = rows[0]["recipe"], rows[0]["model"]
    scores = [
        scored
        for asset in OF_PICTURES
        if (digest := board.manifest.inputs.get(f"{asset}/{recipe}")) is not None
        and (scored := read_artifact(pipeline.place.evals(asset, digest))) is not None
    ]
    asked = {row["prompt_id"]: row for row in _prompts(pipeline, scores)}
    said = {name for name, row in asked.items() if plain(row["prompt"]) in captions}
    unseen = _scores_without(scores, model, said)
    of_style: dict[str, list[str]] = defaultdict(list)
    for name, row in asked.items():
        of_style[row["style"]].append(name)
    for style, names in sorted(of_style.items()):
        whole = {row["metric"]: row for row in rows if row["style"] == style}
        metric = next((name for name in HEADLINES if name in whole), None)
        if metric is not None:
            met = sum(name in said for name in names)
            rest = unseen.get((style, metric))
            comparable = rest is not None and rest["metric_version"] == whole[metric]["metric_version"]
            yield _told(whole[metric], len(names), met, rest["value"] if rest and comparable else None)


def _prompts(pipeline: Pipeline, scores: Iterable[Artifact]) -> list[Row]:
    """Return the prompts that these scores are of; older scores name the evaluation set, which held them."""
    inputs = [artifact.manifest.inputs for artifact in scores]
    held = {next((name, given[name]) for name in ("prompts", "evaluation_set") if name in given) for given in inputs}
    tables = [pipeline.place.evals(*place) / "prompts.parquet" for place in sorted(held)]
    return [row for table in tables for row in read_rows(table, PROMPTS, ["prompt_id", "style", "prompt"])]


def _scores_without(scores: Iterable[Artifact], model: str, said: Set[str]) -> dict[tuple[str, str], Row]:
    """Return each row of a model's leaderboard over the prompts that are not ``said``, by style and metric."""
    kept = []
    for artifact in scores:
        table = read_table(artifact.path / "scores.parquet", EVALS)
        of = table.select(["model", "prompt_id"]).to_pylist()
        kept.append(table.filter([row["model"] == model and row["prompt_id"] not in said for row in of]))
    rows = statistics.leaderboard(kept, LeaderboardConfig(resamples=2, baseline=None))
    return {(row["style"], row["metric"]): row for row in rows}


def _told(whole: Row, prompts: int, met: int, unseen: float | None) -> dict[str, Any]:
    low, high = whole["low"], whole["high"]
    if not met:
        gives = "nothing"
    elif unseen is None or low is None or high is None:
        gives = "cannot be told"
    else:
        gives = "nothing" if low <= unseen <= high else "the score"
    return {
        **{"recipe": whole["recipe"], "style": whole["style"], "metric": whole["metric"]},
        **{"prompts": prompts, "met": met, "score": whole["value"], "low": low, "high": high},
        **{"score of the others": unseen, "gives away": gives},
    }


def _keys(directory: Path) -> set[str]:
    return {row["key"] for file in directory.glob(SHARD_GLOB) for row in read_rows(file, SAMPLES, ["key"])}

"""Check of leaks: what a scored model was trained on gives away neither the pictures nor, to any effect, the prompts.

A picture of the evaluation set among the training pictures is a leak. A prompt among the training captions need not be
one: people who describe simple things use the same words. It is one where it moves the score, so the score is taken
again over the prompts that no caption says.
"""

from collections import defaultdict
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import dagster as dg

from evaluation import leaderboard as statistics
from evaluation.config import LeaderboardConfig
from t2i_assets.assets.evals import leaderboard
from t2i_assets.checks.duplicates import SAME_IMAGE, SHOWN
from t2i_assets.corpus.artifacts import Artifact, list_refs, read_artifact
from t2i_assets.corpus.blending import recipe_of, table_of
from t2i_assets.corpus.duplicates.contamination import plain
from t2i_assets.corpus.schemas import BLENDS, CONTAMINATION, EVALS, LEADERBOARD, PROMPTS, SAMPLES
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_rows, read_table
from t2i_assets.materialize import made, made_everywhere
from t2i_assets.metadata import rows_table
from t2i_assets.resources import Pipeline

Row = Mapping[str, Any]


@dg.asset_check(asset=leaderboard)
def training_gives_nothing_away(pipeline: Pipeline) -> dg.AssetCheckResult:
    """No scored model met a picture of the evaluation set, and prompts that it met as captions do not move its score.

    Of each model the blend that it was trained on is read. A score moves where that of the prompts which no caption of
    the blend says lies outside the 95 % interval of the whole.
    """
    return leaks(pipeline)


def leaks(pipeline: Pipeline) -> dg.AssetCheckResult:
    """Return what the check says."""
    prompts = made(pipeline, "evaluation_set").path
    board = read_rows(made(pipeline, "leaderboard").path / "leaderboard.parquet", LEADERBOARD)
    whole = {
        (row["model"], row["style"]): row
        for row in board
        if row["metric"] == statistics.COMPOSITIONAL and row["system"] == "generated" and row["baseline"] is None
    }
    asked = read_rows(prompts / "prompts.parquet", PROMPTS)
    pictures, told = [], []
    for recipe, model in list_refs(pipeline.place, "latent_diffusion").items():
        blend = read_artifact(pipeline.place.blend(recipe, model.manifest.inputs["caption_blend"]))
        if blend is None:
            raise FileNotFoundError(f"the blend that {model.path} was trained on is gone")
        rows = read_rows(table_of(blend.path, "diffusion"), BLENDS, ["key", "caption"])
        pictures += [{"recipe": recipe, **row} for row in _pictures(pipeline, blend, {row["key"] for row in rows})]
        met = {plain(row["caption"]) for row in rows}
        said = {prompt["prompt_id"] for prompt in asked if plain(prompt["prompt"]) in met}
        unseen = _scores_without(made(pipeline, "t2i_compbench", recipe), said)
        of_style: dict[str, list[str]] = defaultdict(list)
        for prompt in asked:
            of_style[prompt["style"]].append(prompt["prompt_id"])
        for style, ids in sorted(of_style.items()):
            told.append(_told(recipe, style, ids, said, whole.get((model.digest, style)), unseen.get(style)))
    pool = _keys(prompts / "pool") & _keys(prompts / "reference")
    return dg.AssetCheckResult(
        passed=bool(told) and not pictures and not pool and not any(row["moved"] for row in told),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "pictures of the evaluation set met in training": rows_table(pictures[:SHOWN]),
            "pictures of the prompts that the judges trained on": len(pool),
            "prompts met as captions": rows_table(told),
        },
    )


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


def _scores_without(scores: Artifact, said: Set[str]) -> dict[str, float]:
    """Return the compositional score of each style over the prompts that are not ``said``."""
    table = read_table(scores.path / "scores.parquet", EVALS)
    kept = table.filter([row["prompt_id"] not in said for row in table.select(["prompt_id"]).to_pylist()])
    rows = statistics.leaderboard([kept], LeaderboardConfig(resamples=2, baseline=None))
    return {row["style"]: row["value"] for row in rows if row["metric"] == statistics.COMPOSITIONAL}


def _told(
    recipe: str, style: str, ids: list[str], said: Set[str], whole: Row | None, unseen: float | None
) -> dict[str, Any]:
    score, low, high = (None if whole is None else whole[name] for name in ("value", "low", "high"))
    moved = unseen is not None and low is not None and high is not None and not low <= unseen <= high
    met = sum(prompt in said for prompt in ids)
    return {
        **{"recipe": recipe, "style": style, "prompts": len(ids), "met": met},
        **{"score": score, "low": low, "high": high, "score of the others": unseen, "moved": moved},
    }


def _keys(directory: Path) -> set[str]:
    return {row["key"] for file in directory.glob(SHARD_GLOB) for row in read_rows(file, SAMPLES, ["key"])}

"""Pictures for the prompts, scored by judges that no training text or image has met, beside floor and ceiling."""

from pathlib import Path
from typing import Any

import dagster as dg

from evaluation import leaderboard as statistics
from t2i_assets.assets.diffusion import latent_diffusion
from t2i_assets.assets.generated import generated_images
from t2i_assets.assets.models import clip_model
from t2i_assets.assets.prompts import GROUP, evaluation_set, prompts
from t2i_assets.assets.score_links import linked_scores, scored_samples
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.prompt_files import may_state_interaction
from t2i_assets.corpus.schemas import BLENDS, CAPTIONS, EVALS, LEADERBOARD, PROMPTS
from t2i_assets.corpus.tables import read_rows, read_table, write_table
from t2i_assets.jobs import run_job
from t2i_assets.materialize import Result, made, made_everywhere, materialize
from t2i_assets.metadata import score_table
from t2i_assets.partitions import recipes
from t2i_assets.resources import Overrides, Pipeline

METRICS = {"clip_score": "evaluation_clip", "fid": "real_features", "t2i_compbench": "judge"}
FLOORS = {
    "clip_score": "real images against shuffled prompts",
    "fid": "real images with shuffled patches",
    "t2i_compbench": "real images against shuffled prompts",
}
MODULES = {"clip_score": "clip_score", "fid": "frechet", "t2i_compbench": "compbench"}
VERSIONS = {"clip_score": "2", "fid": "2", "t2i_compbench": "2"}
"""Code versions of the metrics and of their bounds; whoever changes what a metric's job writes raises its number."""
OF_INTERACTIONS = frozenset({"t2i_compbench"})
"""Metrics whose prompts may state interactions, which CLIP scores."""
RESCORED = frozenset({"clip_score", "t2i_compbench"})
"""Metrics whose jobs take over what an earlier run scored."""
OF_FEATURES = frozenset({"fid"})
"""Metrics that compare features, which an asset of their own holds, not pictures."""


@dg.asset(**GROUP, deps=[evaluation_set], kinds={"pytorch"}, code_version="2", pool="training")
def judge(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Detector of objects, colours and textures, trained on the disjoint pool and measured on held-out renders."""
    pictures = made(pipeline, "evaluation_set")
    return run_job(
        context,
        pipeline,
        config,
        module="evaluation.judge",
        section="judge",
        path=lambda digest: pipeline.place.model("judge", digest),
        inputs={"evaluation_set": pictures},
        files={"pool": pictures.path / "pool", "heldout": pictures.path / "heldout"},
    )


@dg.asset(
    **GROUP, deps=[evaluation_set, "tokenizer"], kinds={"pytorch", "open_clip"}, code_version="3", pool="training"
)
def evaluation_clip(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """CLIP trained on the disjoint pool: it neither captioned, filtered nor trained; the vocabulary alone is shared."""
    pictures, vocabulary = made(pipeline, "evaluation_set"), made(pipeline, "tokenizer")

    def prepare(out: Path) -> dict[str, Path]:
        captions = read_rows(pictures.path / "pool" / "captions.parquet", CAPTIONS)
        rows = [
            {
                **{name: row[name] for name in ("key", "caption_id", "source", "caption")},
                "snapshot": "pool",
                "weight": 0.5,
            }
            for row in captions
        ]
        write_table(out / "blend" / "00000.parquet", rows, BLENDS)
        return {"blend": out / "blend"}

    start = pipeline.settings.section("evaluation_clip", config.overrides).pretrained
    return run_job(
        context,
        pipeline,
        config,
        module="training.clip",
        section="evaluation_clip",
        path=lambda digest: pipeline.place.model("evaluation_clip", digest),
        inputs={"evaluation_set": pictures, "tokenizer": vocabulary},
        files={"tokenizer": vocabulary.path, "shards": [pictures.path / "pool"]},
        prepare=prepare,
        named=() if start is None else (start.model, start.weights),
    )


@dg.asset(
    **GROUP, partitions_def=recipes, deps=[clip_model, evaluation_set], kinds={"pytorch", "parquet"}, code_version="1"
)
def clip_retrieval(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Recall at 1 and 5 among held-out pictures and their exact captions, and their classes, by the CLIP of a blend."""
    recipe = context.partition_key
    clip, pictures = made(pipeline, "clip_model", recipe), made(pipeline, "evaluation_set")
    return run_job(
        context,
        pipeline,
        config,
        module="evaluation.retrieval",
        section="clip_retrieval",
        path=lambda digest: pipeline.place.evals("clip_retrieval", digest),
        inputs={"clip_model": clip, "evaluation_set": pictures},
        files={"clip": clip.path, "heldout": pictures.path / "heldout"},
        extra={"recipe": recipe, "model": clip.digest},
    )


def looks_with(metric: str) -> list[dg.AssetsDefinition | str]:
    """Return what a metric's scores of generated pictures are made with, beside the pictures."""
    return [prompts, METRICS[metric], *(["evaluation_clip"] if metric in OF_INTERACTIONS else [])]


def _metric(name: str, description: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        description=description,
        **GROUP,
        partitions_def=recipes,
        deps=[
            *(latent_diffusion, generated_images, *looks_with(name)),
            *(["generated_features"] if name in OF_FEATURES else []),
        ],
        kinds={"pytorch", "parquet"},
        code_version=VERSIONS[name],
    )
    def metric(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
        recipe = context.partition_key
        images, model = made(pipeline, "generated_images", recipe), made(pipeline, "latent_diffusion", recipe)
        features = made(pipeline, "generated_features", recipe) if name in OF_FEATURES else None
        return scored(context, pipeline, config, name, images, model, features)

    return metric


def scored(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    config: Overrides,
    metric: str,
    images: Artifact,
    model: Artifact,
    features: Artifact | None = None,
) -> Result:
    """Score what a model drew, by one metric; one that compares features is given those of the pictures."""
    asset, asked = context.asset_key.to_user_string(), made(pipeline, "prompts")
    scorer, clip = made(pipeline, METRICS[metric]), clip_beside(pipeline, metric, asked)
    return run_job(
        context,
        pipeline,
        config,
        module=f"evaluation.{MODULES[metric]}",
        section=metric,
        path=lambda digest: pipeline.place.evals(asset, digest),
        inputs={
            **{"generated_images": images, "prompts": asked, METRICS[metric]: scorer, **clip},
            **({} if features is None else {"generated_features": features}),
        },
        files={
            **({} if features is None else {"features": features.path}),
            "images": images.path,
            "evaluation_set": asked.path,
            "scorer": scorer.path,
            **{role: artifact.path for role, artifact in clip.items()},
            **earlier_scores(pipeline, metric, asset),
        },
        extra={"recipe": context.partition_key, "model": model.digest, **own_real_images(metric, scorer)},
        named=named_scorers(pipeline, metric, config),
        show=lambda artifact: scored_samples(pipeline.place, artifact.path, model, images, asked.path),
    )


def clip_beside(pipeline: Pipeline, metric: str, asked: Artifact) -> dict[str, Artifact]:
    """Return the CLIP that scores interactions, where one of the prompts states one."""
    if metric not in OF_INTERACTIONS:
        return {}
    acting = any(map(may_state_interaction, read_rows(asked.path / "prompts.parquet", PROMPTS)))
    return {"clip": made(pipeline, "evaluation_clip")} if acting else {}


def own_real_images(metric: str, scorer: Artifact) -> dict[str, bool]:
    """Return what tells a metric of whole sets that its real images are named, not those of the evaluation set."""
    return {"of_any_style": True} if metric in OF_FEATURES and scorer.manifest.config.get("real") is not None else {}


def named_scorers(pipeline: Pipeline, metric: str, config: Overrides) -> tuple[str | None, ...]:
    """Return the names and paths of models that a metric's job looks and reads with, beside what is made here."""
    if metric != "t2i_compbench":
        return ()
    named: tuple[str | None, ...] = pipeline.settings.section(metric, config.overrides).named
    return named


def earlier_scores(pipeline: Pipeline, metric: str, asset: str) -> dict[str, list[Path]]:
    """Return the tables that the asset wrote before, which its job need not score again; no part of any digest."""
    if metric not in RESCORED:
        return {}
    return {"earlier": sorted(pipeline.place.evals(asset, "_").parent.glob("[!.]*/scores.parquet"))}


clip_score = _metric(
    "clip_score", "Cosine of each picture and its prompt by the independent CLIP, and every published score of it."
)
fid = _metric(
    "fid", "Distances between features of generated and of real images, each named by its encoder: fd_judge, not FID."
)
t2i_compbench = _metric(
    "t2i_compbench",
    "Rules of T2I-CompBench's eight categories and of GenEval's six tasks, with the reason of each failure.",
)


def _bounds(name: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"{name}_bounds",
        description=f"Ceiling and floor of {name}: real images of the prompts; {FLOORS[name]}.",
        **GROUP,
        deps=[evaluation_set, METRICS[name]],
        kinds={"pytorch", "parquet"},
        code_version=VERSIONS[name],
    )
    def bounds(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
        pictured, scorer = made(pipeline, "evaluation_set"), made(pipeline, METRICS[name])
        return run_job(
            context,
            pipeline,
            config,
            module=f"evaluation.{MODULES[name]}",
            section=name,
            path=lambda digest: pipeline.place.evals(f"{name}_bounds", digest),
            inputs={"evaluation_set": pictured, METRICS[name]: scorer},
            files={
                "evaluation_set": pictured.path,
                "scorer": scorer.path,
                **earlier_scores(pipeline, name, f"{name}_bounds"),
            },
            extra={"systems": ["ceiling", "floor"]},
            named=named_scorers(pipeline, name, config),
        )

    return bounds


bounds = [_bounds(name) for name in METRICS]


@dg.asset(
    **GROUP,
    deps=[*(dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping()) for name in METRICS), *bounds],
    kinds={"parquet"},
    code_version="2",
)
def leaderboard(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Models by metrics by prompt style, with clustered bootstrap intervals, paired differences, floor and ceiling."""
    chosen = pipeline.settings.section("leaderboard", config.overrides)
    scores: dict[str, Artifact] = {}
    for name in METRICS:
        scores |= {f"{name}/{recipe}": artifact for recipe, artifact in made_everywhere(pipeline, name).items()}
        scores[f"{name}_bounds"] = made(pipeline, f"{name}_bounds")

    def write(out: Path) -> dict[str, Any]:
        tables = [read_table(artifact.path / "scores.parquet", EVALS) for artifact in scores.values()]
        board = statistics.leaderboard(tables, chosen)
        write_table(out / "leaderboard.parquet", board, LEADERBOARD)
        return {"rows": len(board)}

    return materialize(
        context,
        pipeline,
        path=lambda digest: pipeline.place.evals("leaderboard", digest),
        config=chosen.model_dump(mode="json"),
        inputs=scores,
        write=write,
        show=lambda artifact: {"board": linked_scores(artifact.path), "scores": score_table(artifact.path)},
    )

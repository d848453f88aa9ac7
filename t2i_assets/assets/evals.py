"""Pictures for the prompts, scored by judges that no training text or image has met, beside floor and ceiling."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from evaluation import leaderboard as statistics
from t2i_assets.assets.diffusion import OF_TEXT_ENCODER, latent_diffusion
from t2i_assets.assets.models import clip_model
from t2i_assets.assets.score_links import linked_scores, scored_samples
from t2i_assets.config import load_settings
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.named_models import named_model_digest
from t2i_assets.corpus.schemas import BLENDS, CAPTIONS, EVALS, LEADERBOARD
from t2i_assets.corpus.tables import read_rows, read_table, write_table
from t2i_assets.jobs import JOB_VERSIONS, run_job
from t2i_assets.materialize import Result, made, made_everywhere, materialize
from t2i_assets.metadata import generated_table, score_table
from t2i_assets.partitions import recipes, text_encoder_recipe
from t2i_assets.resources import Overrides, Pipeline
from t2i_assets.synthweb.config import PromptFilesConfig
from t2i_assets.synthweb.evaluation_set import write_evaluation_set
from t2i_assets.synthweb.truth import write_truth

GROUP = {"group_name": "evals", "owners": ["team:evaluation"]}
METRICS = {"clip_score": "evaluation_clip", "fid": "real_features", "t2i_compbench": "judge"}
FLOORS = {
    "clip_score": "real images against shuffled prompts",
    "fid": "real images with shuffled patches",
    "t2i_compbench": "real images against shuffled prompts",
}
CONDITIONS: Mapping[str, Sequence[str]] = {
    "caption": (),
    "text_embedding": ("clip_model",),
    "prior": ("clip_model", "diffusion_prior"),
}
"""What each condition of generation needs beside the diffusion model."""
CONDITION = load_settings().generate.condition
MODULES = {"clip_score": "clip_score", "fid": "frechet", "t2i_compbench": "compbench"}
VERSIONS = {"clip_score": "2", "fid": "2", "t2i_compbench": "2"}
"""Code versions of the metrics and of their bounds; whoever changes what a metric's job writes raises its number."""
OF_INTERACTIONS = frozenset({"t2i_compbench"} if load_settings().evaluation_set.prompt_files is not None else ())
"""Metrics whose prompts may state interactions, which CLIP scores: those of the embedded domain state none."""
RESCORED = frozenset({"clip_score", "t2i_compbench"})
"""Metrics whose jobs take over what an earlier run scored."""
OF_FEATURES = frozenset({"fid"})
"""Metrics that compare features, which an asset of their own holds, not pictures."""


@dg.asset(**GROUP, kinds={"parquet", "webdataset"}, code_version="2")
def evaluation_set(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Prompts in two styles with what a right picture must show, a real image of each, and a pool for judges."""
    chosen = pipeline.settings.section("evaluation_set", config.overrides)
    return materialize(
        context,
        pipeline,
        path=lambda digest: pipeline.place.evals("evaluation_set", digest),
        config={**chosen.model_dump(mode="json"), **prompt_file_digests(chosen.prompt_files)},
        inputs={},
        write=lambda out: write_evaluation_set(chosen, out),
    )


def prompt_file_digests(files: PromptFilesConfig | None) -> dict[str, str]:
    """Return what stands for the content of the prompt files in the digest; nothing where there are none."""
    if files is None:
        return {}
    named = [str(path) for path in (files.compbench, files.geneval, files.drawbench) if path is not None]
    return {"prompt_file_contents": named_model_digest(*named)}


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


@dg.asset(**GROUP, deps=[evaluation_set], kinds={"pytorch"}, code_version="2", pool="training")
def judge(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Detector of objects, colours and textures, trained on the disjoint pool and measured on held-out renders."""
    prompts = made(pipeline, "evaluation_set")
    return run_job(
        context,
        pipeline,
        config,
        module="evaluation.judge",
        section="judge",
        path=lambda digest: pipeline.place.model("judge", digest),
        inputs={"evaluation_set": prompts},
        files={"pool": prompts.path / "pool", "heldout": prompts.path / "heldout"},
    )


@dg.asset(
    **GROUP, deps=[evaluation_set, "tokenizer"], kinds={"pytorch", "open_clip"}, code_version="3", pool="training"
)
def evaluation_clip(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """CLIP trained on the disjoint pool: it neither captioned, filtered nor trained; the vocabulary alone is shared."""
    prompts, vocabulary = made(pipeline, "evaluation_set"), made(pipeline, "tokenizer")

    def prepare(out: Path) -> dict[str, Path]:
        captions = read_rows(prompts.path / "pool" / "captions.parquet", CAPTIONS)
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
        inputs={"evaluation_set": prompts, "tokenizer": vocabulary},
        files={"tokenizer": vocabulary.path, "shards": [prompts.path / "pool"]},
        prepare=prepare,
        named=() if start is None else (start.model, start.weights),
    )


@dg.asset(
    **GROUP, partitions_def=recipes, deps=[clip_model, evaluation_set], kinds={"pytorch", "parquet"}, code_version="1"
)
def clip_retrieval(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """Recall at 1 and 5 among held-out pictures and their exact captions, and their classes, by the CLIP of a blend."""
    recipe = context.partition_key
    clip, prompts = made(pipeline, "clip_model", recipe), made(pipeline, "evaluation_set")
    return run_job(
        context,
        pipeline,
        config,
        module="evaluation.retrieval",
        section="clip_retrieval",
        path=lambda digest: pipeline.place.evals("clip_retrieval", digest),
        inputs={"clip_model": clip, "evaluation_set": prompts},
        files={"clip": clip.path, "heldout": prompts.path / "heldout"},
        extra={"recipe": recipe, "model": clip.digest},
    )


@dg.asset(
    **GROUP,
    partitions_def=recipes,
    deps=[
        *(latent_diffusion, evaluation_set),
        *(dg.AssetDep(name, partition_mapping=OF_TEXT_ENCODER) for name in CONDITIONS[CONDITION]),
    ],
    kinds={"pytorch", "diffusers"},
    code_version=JOB_VERSIONS["generate"],
    pool="training",
)
def generated_images(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
    """One image per prompt and seed; the noise of a prompt is the same for every model. A model of the unCLIP variant
    draws from what the preset says: captions, text embeddings, or image embeddings by the diffusion prior."""
    model = made(pipeline, "latent_diffusion", context.partition_key)
    condition = pipeline.settings.section("generate", config.overrides).condition
    told = {name: made(pipeline, name, text_encoder_recipe) for name in CONDITIONS[condition]}
    return drawn(context, pipeline, config, model, told.get("clip_model"), told.get("diffusion_prior"))


def drawn(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    config: Overrides,
    model: Artifact,
    clip: Artifact | None,
    prior: Artifact | None,
    extra: Mapping[str, Any] | None = None,
) -> Result:
    """Draw an image per prompt and seed; ``extra`` are settings that differ from the section's."""
    asset, prompts = context.asset_key.to_user_string(), made(pipeline, "evaluation_set")
    of_condition = {name: artifact for name, artifact in (("clip", clip), ("prior", prior)) if artifact is not None}
    return run_job(
        context,
        pipeline,
        config,
        module="training.generate",
        section="generate",
        path=lambda digest: pipeline.place.evals(asset, digest),
        inputs={"latent_diffusion": model, "evaluation_set": prompts, **of_condition},
        files={
            "diffusion": model.path,
            "prompts": prompts.path / "prompts.parquet",
            **{name: artifact.path for name, artifact in of_condition.items()},
        },
        extra={"model_digest": model.digest, **(extra or {})},
        show=lambda artifact: {"examples": generated_table(artifact.path, prompts.path)},
    )


def _metric(name: str, description: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=name,
        description=description,
        **GROUP,
        partitions_def=recipes,
        deps=[
            *(latent_diffusion, generated_images, evaluation_set, METRICS[name]),
            *(["generated_features"] if name in OF_FEATURES else []),
            *(["evaluation_clip"] if name in OF_INTERACTIONS else []),
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
    asset, prompts = context.asset_key.to_user_string(), made(pipeline, "evaluation_set")
    scorer = made(pipeline, METRICS[metric])
    return run_job(
        context,
        pipeline,
        config,
        module=f"evaluation.{MODULES[metric]}",
        section=metric,
        path=lambda digest: pipeline.place.evals(asset, digest),
        inputs={
            **{"generated_images": images, "evaluation_set": prompts, METRICS[metric]: scorer},
            **clip_beside(pipeline, metric),
            **({} if features is None else {"generated_features": features}),
        },
        files={
            **({} if features is None else {"features": features.path}),
            "images": images.path,
            "evaluation_set": prompts.path,
            "scorer": scorer.path,
            **{role: clip.path for role, clip in clip_beside(pipeline, metric).items()},
            **earlier_scores(pipeline, metric, asset),
        },
        extra={"recipe": context.partition_key, "model": model.digest},
        named=named_scorers(pipeline, metric, config),
        show=lambda artifact: scored_samples(artifact.path, images, prompts.path),
    )


def clip_beside(pipeline: Pipeline, metric: str) -> dict[str, Artifact]:
    """Return the CLIP that scores interactions, where the metric has prompts that state one."""
    return {"clip": made(pipeline, "evaluation_clip")} if metric in OF_INTERACTIONS else {}


def named_scorers(pipeline: Pipeline, metric: str, config: Overrides) -> tuple[str | None, ...]:
    """Return the names and paths of models that a metric's job looks with, beside what is made here."""
    if metric != "t2i_compbench":
        return ()
    judge = pipeline.settings.section(metric, config.overrides).judge
    return judge.answerer, judge.detector, judge.depth


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
    "t2i_compbench", "T2I-CompBench's rules for colour, shape, texture, spatial, numeracy and complex prompts."
)


def _bounds(name: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"{name}_bounds",
        description=f"Ceiling and floor of {name}: real images of the prompts; {FLOORS[name]}.",
        **GROUP,
        deps=[evaluation_set, METRICS[name], *(["evaluation_clip"] if name in OF_INTERACTIONS else [])],
        kinds={"pytorch", "parquet"},
        code_version=VERSIONS[name],
    )
    def bounds(context: dg.AssetExecutionContext, pipeline: Pipeline, config: Overrides) -> Result:
        prompts, scorer = made(pipeline, "evaluation_set"), made(pipeline, METRICS[name])
        return run_job(
            context,
            pipeline,
            config,
            module=f"evaluation.{MODULES[name]}",
            section=name,
            path=lambda digest: pipeline.place.evals(f"{name}_bounds", digest),
            inputs={"evaluation_set": prompts, METRICS[name]: scorer, **clip_beside(pipeline, name)},
            files={
                "evaluation_set": prompts.path,
                "scorer": scorer.path,
                **{role: clip.path for role, clip in clip_beside(pipeline, name).items()},
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

"""When things are made: jobs for each natural use, the daily snapshot and the rebuild of what depends on it."""

import dagster as dg

from t2i_assets.partitions import snapshots

ingest = dg.define_asset_job(
    "ingest",
    selection=dg.AssetSelection.groups("crawl"),
    description="Crawl a snapshot: pages, image and text pairs, shards, duplicates.",
)
train_captioner = dg.define_asset_job(
    "train_captioner",
    selection=dg.AssetSelection.groups("captioner"),
    description="Fetch the human captions; train the tokenizer, the captioner and the filter on every snapshot.",
)
rebuild_captions = dg.define_asset_job(
    "rebuild_captions",
    selection=dg.AssetSelection.groups("capfilt", "duplicates") | dg.AssetSelection.assets("evaluation_set"),
    description="Recaption a snapshot, score every caption and judge it; find what a blend had better leave out.",
)
encode = dg.define_asset_job(
    "encode",
    selection=dg.AssetSelection.assets("autoencoder", "latents"),
    description="Train the autoencoder and compute a snapshot's latents.",
)
train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.assets(
        *("caption_blend", "clip_model", "clip_embeddings", "diffusion_prior", "autoregressive_prior"),
        *("latent_diffusion", "upsampler"),
    ),
    description="Blend captions by a recipe and train CLIP, both priors and the latent diffusion model on the blend, "
    "and the caption upsampler on the kept captions. "
    "Run it for the recipe of the shared text encoder first; a backfill of the assets sees to that by itself.",
)
evaluate = dg.define_asset_job(
    "evaluate",
    selection=dg.AssetSelection.groups("evals", "catalog"),
    description="Generate images for the prompts, score them, rebuild leaderboard, catalog and report.",
)
jobs = [ingest, train_captioner, rebuild_captions, encode, train, evaluate]


@dg.schedule(cron_schedule="0 3 * * *", job=ingest, execution_timezone="UTC")
def daily_snapshot(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Add today's snapshot and crawl it; ``rebuild`` then remakes what depends on it."""
    snapshot = context.scheduled_execution_time.strftime("%Y-%m-%d")
    context.instance.add_dynamic_partitions(str(snapshots.name), [snapshot])
    return dg.RunRequest(run_key=snapshot, partition_key=snapshot)


on_changed_data = (
    dg.AutomationCondition.eager()
    .replace(
        "any_deps_updated",
        dg.AutomationCondition.any_deps_match(dg.AutomationCondition.data_version_changed())
        | dg.AutomationCondition.code_version_changed(),
    )
    .with_label("an input's data version or the code version changed")
)
"""``eager()`` alone fires whenever an input was materialized, even where nothing in it changed. Its guards stay:
nothing starts while an input is missing or being made."""

rebuild = dg.AutomationConditionSensorDefinition(
    "rebuild",
    target=dg.AssetSelection.all() - dg.AssetSelection.assets("pages"),
    description="Materialize whatever has an input whose data version changed. Off until switched on.",
)

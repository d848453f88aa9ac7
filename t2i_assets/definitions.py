"""Everything by name: assets, checks, jobs, the schedule, the sensor and the resource."""

import dagster as dg

from t2i_assets import automation
from t2i_assets.assets import (
    blend,
    capfilt,
    caption_report,
    captioner,
    catalog,
    crawl,
    diffusion,
    duplicates,
    evals,
    features,
    generated,
    models,
    prompts,
    upsampler,
)
from t2i_assets.checks import blend as blend_checks
from t2i_assets.checks import captions as captions_checks
from t2i_assets.checks import crawl as crawl_checks
from t2i_assets.checks import duplicates as duplicates_checks
from t2i_assets.checks import evals as evals_checks
from t2i_assets.checks import judges as judges_checks
from t2i_assets.checks import leaks as leaks_checks
from t2i_assets.config import environment, load_settings
from t2i_assets.resources import Pipeline

assets = [
    *(crawl.pages, crawl.image_text_pairs, crawl.shards, duplicates.near_duplicates),
    *(captioner.human_captions, captioner.tokenizer, captioner.captioner, captioner.caption_filter),
    *(capfilt.synthetic_captions, capfilt.caption_scores, capfilt.filtered_captions, caption_report.caption_report),
    *(duplicates.image_features, duplicates.semantic_duplicates, duplicates.contamination),
    blend.caption_blend,
    *(models.clip_model, models.clip_embeddings, models.diffusion_prior, models.autoregressive_prior),
    *(diffusion.autoencoder, diffusion.latents, diffusion.latent_diffusion),
    *(upsampler.upsampler, upsampler.upsampled_prompts),
    *(prompts.site_truth, prompts.evaluation_set, prompts.prompts, evals.judge, evals.evaluation_clip),
    *(generated.generated_images, evals.clip_retrieval),
    *(features.real_features, features.generated_features),
    *(evals.clip_score, evals.fid, evals.t2i_compbench, *evals.bounds, evals.leaderboard),
    *(catalog.dataset_stats, catalog.report),
]
if blend.HUMAN_SAMPLES:
    from t2i_assets.assets import human_set

    assets += [human_set.human_contamination, human_set.human_latents]
if diffusion.TEXT_STATES:
    assets.append(diffusion.text_states)
if load_settings().claims is not None:
    from t2i_assets.assets import claims

    assets += claims.assets
checks = [
    crawl_checks.ledger_is_complete,
    crawl_checks.shards_are_whole,
    blend_checks.realised_ratio,
    *blend_checks.trained_on_the_ratio,
    captions_checks.captions_without_tics,
    captions_checks.filter_does_not_agree_too_much,
    duplicates_checks.evaluation_set_is_held_out,
    evals_checks.scores_between_floor_and_ceiling,
    judges_checks.judges_see_what_is_there,
    leaks_checks.training_gives_nothing_away,
]

defs = dg.Definitions(
    assets=[asset.with_attributes(automation_condition=automation.on_changed_data) for asset in assets],
    asset_checks=checks,
    jobs=automation.jobs,
    schedules=[automation.daily_snapshot],
    sensors=[automation.rebuild],
    resources={"pipeline": Pipeline(preset=environment().preset, home=str(environment().home))},
    executor=dg.multiprocess_executor.configured({"max_concurrent": 2, "start_method": {"forkserver": {}}}),
)

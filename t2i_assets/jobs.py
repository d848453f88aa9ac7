"""Assets whose work is a ``training`` or ``evaluation`` job: a process of its own, its figures and pictures shown."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel

from t2i_assets.config import LauncherConfig
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.named_models import named_model_digest
from t2i_assets.launcher import launch
from t2i_assets.materialize import Metadata, Result, materialize
from t2i_assets.metadata import pictures
from t2i_assets.resources import Overrides, Pipeline
from training.config import OptimizerConfig

UNTOLD = frozenset({"threads", "device", "workers", "sharded", "memory_gb"})
"""Fields of a job's section that change how fast it runs, not what comes out: they are no part of the digest."""
JOB_VERSIONS = {
    **{"captioner": "3", "caption_filter": "4", "recaption": "2", "score": "2"},
    **{"diffusion_prior": "3", "autoregressive_prior": "3", "latent_diffusion": "3", "generate": "2"},
}
"""Code versions of jobs that several assets run; whoever changes what such a job writes raises its number."""


def run_job(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    overrides: Overrides,
    *,
    module: str,
    section: str,
    path: Callable[[str], Path],
    inputs: Mapping[str, Artifact | Mapping[str, Artifact]],
    files: Mapping[str, Path | list[Path]],
    extra: Mapping[str, Any] | None = None,
    replicate: int = 0,
    named: Sequence[str | None] = (),
    prepare: Callable[[Path], Mapping[str, Path]] | None = None,
    show: Callable[[Artifact], Metadata] | None = None,
) -> Result:
    """Materialize what ``python -m module`` writes.

    ``inputs`` are the artifacts that go into the digest, ``files`` what the job is given of them. ``extra`` adds
    fields to the section, ``replicate`` is added to its seed; ``prepare`` writes further input files into the output
    directory first. ``named`` are names and paths of models that the job starts from: what lies at a path goes into
    the digest, so that another checkpoint there is noticed.
    """
    told = pipeline.settings.section(section, overrides.overrides)
    config = {**told.model_dump(mode="json"), **(extra or {})}
    config["seed"] += replicate

    def write(out: Path) -> Metadata:
        prepared = prepare(out) if prepare else {}
        run = launch(context, module, config, {**files, **prepared}, out, _processes(pipeline.settings.launcher, told))
        return {"steps": run.get("steps", 0), **run.get("final", {})}

    return materialize(
        context,
        pipeline,
        path=path,
        config={
            **digested(config),
            **({"named_models": named_model_digest(*named)} if any(named) else {}),
        },
        inputs=inputs,
        write=write,
        show=lambda artifact: {**pictures(artifact.path), **(show(artifact) if show else {})},
    )


def digested(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a section goes into the digest, at every depth."""
    return {
        name: digested(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if name not in UNTOLD
    }


def _processes(launcher: LauncherConfig, section: BaseModel) -> int | None:
    """Return how many processes of torchrun do the job of a section; None is one without it.

    A job that optimises something shares the work; every process of another would do all of it.
    """
    trains = any(isinstance(value, OptimizerConfig) for _, value in section)
    return launcher.processes if launcher.kind == "torchrun" and trains else None

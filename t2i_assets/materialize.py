"""What every asset does around its own work: look whether it is done, do it, publish it, say what came out."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg

from t2i_assets.corpus.artifacts import WHOLE, Artifact, Manifest, list_refs, plan_digest, publish, read_ref, write_ref
from t2i_assets.corpus.snapshots import check_snapshot_name
from t2i_assets.partitions import snapshots
from t2i_assets.resources import Pipeline

Metadata = dict[str, Any]
Result: TypeAlias = dg.MaterializeResult[Any]


def partition_of(context: dg.AssetExecutionContext) -> str:
    """Return the partition that the run is about, ``_`` where the asset has none."""
    return context.partition_key if context.has_partition_key else WHOLE


def made(pipeline: Pipeline, asset: str, partition: str = WHOLE) -> Artifact:
    """Return what another asset holds now; the error of a missing one says what to materialize."""
    return read_ref(pipeline.place, asset, partition)


def made_everywhere(pipeline: Pipeline, asset: str) -> dict[str, Artifact]:
    """Return every materialized partition of another asset; an error where there is none."""
    artifacts = list_refs(pipeline.place, asset)
    if not artifacts:
        read_ref(pipeline.place, asset)
    return artifacts


def paths(artifacts: Mapping[str, Artifact]) -> list[Path]:
    """Return the directories of an asset's partitions, in order of name."""
    return [artifact.path for artifact in artifacts.values()]


def materialize(
    context: dg.AssetExecutionContext,
    pipeline: Pipeline,
    *,
    path: Callable[[str], Path],
    config: Mapping[str, Any],
    inputs: Mapping[str, Artifact | Mapping[str, Artifact]],
    write: Callable[[Path], Metadata | None],
    show: Callable[[Artifact], Metadata] | None = None,
    fetched: bool = False,
) -> Result:
    """Publish the artifact of this asset and partition, unless it is there already.

    ``path`` tells the place for a digest, ``write`` fills a directory and returns the summary,
    ``show`` returns what a person wants to see of it in the UI.
    """
    asset = context.asset_key.to_user_string()
    partition = partition_of(context)
    if context.assets_def.partitions_def == snapshots:
        check_snapshot_name(partition)
    code_version = context.assets_def.code_versions_by_key[context.asset_key] or "0"
    identities = _identities(inputs)
    digest = plan_digest(asset, code_version, {**config, "partition": partition}, identities)
    manifest = Manifest(
        asset=asset,
        partition=partition,
        digest=digest,
        code_version=code_version,
        config=dict(config),
        inputs=identities,
        fetched=fetched,
    )
    worked = False

    def work(partial: Path) -> Metadata | None:
        nonlocal worked
        worked = True
        return write(partial)

    artifact = publish(path(digest), manifest, work)
    write_ref(pipeline.place, asset, partition, artifact)
    metadata: Metadata = {
        "digest": artifact.digest,
        "path": dg.MetadataValue.path(str(artifact.path)),
        "reused": not worked,
        "seconds of work": round(artifact.manifest.seconds, 1),
        **(show(artifact) if show else {}),
        **_flat(artifact.manifest.summary),
    }
    return dg.MaterializeResult(data_version=dg.DataVersion(artifact.identity), metadata=metadata)


def _identities(inputs: Mapping[str, Artifact | Mapping[str, Artifact]]) -> dict[str, str]:
    identities = {}
    for name, value in inputs.items():
        if isinstance(value, Artifact):
            identities[name] = value.identity
        else:
            identities |= {f"{name}/{partition}": artifact.identity for partition, artifact in value.items()}
    return identities


def _flat(summary: Mapping[str, Any], prefix: str = "") -> Metadata:
    figures: Metadata = {}
    for name, value in summary.items():
        if isinstance(value, Mapping):
            figures |= _flat(value, f"{prefix}{name}/")
        elif isinstance(value, bool | int | float | str):
            figures[f"{prefix}{name}"] = value
        else:
            figures[f"{prefix}{name}"] = dg.MetadataValue.json(value)
    return figures

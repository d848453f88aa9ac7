"""Which assets the demo makes, of which partitions, and in which order two workers do best."""

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from t2i_assets.config import Settings

SECONDS: Mapping[str, int] = {
    "pages": 5,
    "shards": 20,
    "human_captions": 5,
    "captioner": 150,
    "caption_filter": 100,
    "synthetic_captions": 50,
    "caption_scores": 25,
    "image_features": 15,
    "semantic_duplicates": 3,
    "contamination": 3,
    "clip_model": 90,
    "clip_embeddings": 10,
    "diffusion_prior": 45,
    "autoregressive_prior": 45,
    "autoencoder": 140,
    "latents": 10,
    "latent_diffusion": 280,
    "generated_images": 45,
    "judge": 80,
    "evaluation_clip": 60,
}
"""About how long an asset takes on one core at ``tiny``; used for the order alone."""

TEXT_ENCODER_ONLY = frozenset({"clip_model", "clip_embeddings", "diffusion_prior", "autoregressive_prior"})
"""Made for one recipe: the diffusion models of all recipes share its text encoder."""


@dataclass(frozen=True)
class Unit:
    """One asset, of one partition where it has partitions."""

    asset: str
    partition: str | None

    def __str__(self) -> str:
        return f"{self.asset}[{self.partition}]" if self.partition else self.asset


def units(graph: dg.Definitions, settings: Settings, snapshot: str) -> dict[Unit, set[Unit]]:
    """Return every unit of the demo with the units that it needs."""
    nodes = graph.resolve_asset_graph()
    chosen: dict[str, list[Unit]] = {}
    for key in nodes.toposorted_asset_keys:
        name = key.to_user_string()
        partitions: list[str | None] = [None]
        if isinstance(nodes.get(key).partitions_def, dg.DynamicPartitionsDefinition):
            partitions = [snapshot]
        elif nodes.get(key).partitions_def is not None:
            partitions = [settings.text_encoder_recipe] if name in TEXT_ENCODER_ONLY else list(settings.blends)
        chosen[name] = [Unit(name, partition) for partition in partitions]
    needs: dict[Unit, set[Unit]] = {}
    for name, made in chosen.items():
        parents = [parent.to_user_string() for parent in nodes.get(dg.AssetKey(name)).parent_keys]
        for unit in made:
            needs[unit] = {needed for parent in parents for needed in _matching(chosen[parent], unit)}
    return needs


def by_urgency(needs: Mapping[Unit, set[Unit]]) -> dict[Unit, float]:
    """Return for each unit the seconds of the longest chain that waits for it, its own work included."""
    waiting: dict[Unit, float] = {}
    for unit in reversed(list(needs)):
        after = [waiting[other] for other in waiting if unit in needs[other]]
        waiting[unit] = SECONDS.get(unit.asset, 2) + max(after, default=0.0)
    return waiting


def _matching(made: list[Unit], unit: Unit) -> list[Unit]:
    same = [other for other in made if other.partition == unit.partition]
    return same or made

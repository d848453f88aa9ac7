"""Which assets the demo makes, of which partitions, and in which order two workers do best."""

from collections.abc import Collection, Mapping
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
    "upsampler": 40,
    "upsampled_prompts": 15,
    "judge": 80,
    "evaluation_clip": 60,
}
"""About how long an asset takes on one core at ``tiny``; used for the order alone."""

TEXT_ENCODER_ONLY = frozenset(
    {"clip_model", "clip_embeddings", "clip_retrieval", "diffusion_prior", "autoregressive_prior"}
)
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
    needs = _every(graph, snapshot)
    left_out = {
        unit
        for unit in needs
        if (unit.asset in TEXT_ENCODER_ONLY and unit.partition != settings.text_encoder_recipe)
        or (unit.partition in settings.recipes and unit.partition not in settings.blends)
        or unit.asset in experiments(graph)
    }
    return {unit: parents - left_out for unit, parents in needs.items() if unit not in left_out}


def units_behind(graph: dg.Definitions, snapshot: str, targets: Collection[Unit]) -> dict[Unit, set[Unit]]:
    """Return the ``targets`` and all that they need, each with the units that it needs."""
    needs = _every(graph, snapshot)
    wanted, look = set(targets), list(targets)
    while look:
        fresh = needs[look.pop()] - wanted
        wanted |= fresh
        look += fresh
    return {unit: parents for unit, parents in needs.items() if unit in wanted}


def experiments(graph: dg.Definitions) -> set[str]:
    """Return the names of the assets that are experiments: no part of the demo."""
    nodes = graph.resolve_asset_graph()
    return {key.to_user_string() for key in nodes.get_all_asset_keys() if nodes.get(key).group_name == "claims"}


def _every(graph: dg.Definitions, snapshot: str) -> dict[Unit, set[Unit]]:
    """Return every unit of the graph, in topological order, with the units that it needs."""
    nodes = graph.resolve_asset_graph()
    needs: dict[Unit, set[Unit]] = {}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("snapshot", [snapshot])
        with dg.partition_loading_context(dynamic_partitions_store=instance):
            for key in nodes.toposorted_asset_keys:
                of = nodes.get(key).partitions_def
                for partition in [None] if of is None else of.get_partition_keys():
                    parents = nodes.get_parents_partitions(key, partition).parent_partitions
                    needs[Unit(key.to_user_string(), partition)] = {
                        Unit(parent.asset_key.to_user_string(), parent.partition_key) for parent in parents
                    }
    return needs


def by_urgency(needs: Mapping[Unit, set[Unit]]) -> dict[Unit, float]:
    """Return for each unit the seconds of the longest chain that waits for it, its own work included."""
    waiting: dict[Unit, float] = {}
    for unit in reversed(list(needs)):
        after = [waiting[other] for other in waiting if unit in needs[other]]
        waiting[unit] = SECONDS.get(unit.asset, 2) + max(after, default=0.0)
    return waiting

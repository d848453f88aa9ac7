"""Checks of the blend: what is drawn in an epoch, and what training drew, is what the recipe says."""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from t2i_assets.assets.blend import caption_blend
from t2i_assets.assets.diffusion import latent_diffusion
from t2i_assets.assets.models import autoregressive_prior, clip_model, diffusion_prior
from t2i_assets.corpus.artifacts import Artifact, read_artifact
from t2i_assets.corpus.blend import draw, is_held_out
from t2i_assets.corpus.blending import EVERYONE, Consumer, recipe_of, table_of
from t2i_assets.corpus.schemas import BLENDS
from t2i_assets.corpus.tables import read_rows
from t2i_assets.materialize import made
from t2i_assets.resources import Pipeline

Z = 4.0
"""Standard deviations that a realised share may lie from its expectation: exceeded once in 1,400 checks at most."""

Choices = Mapping[str, list[tuple[str, float]]]


@dg.asset_check(asset=caption_blend, blocking=True)
def realised_ratio(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
    """The share of each source drawn in one epoch lies within its binomial bound, for every consumer."""
    return drawn_in_an_epoch(made(pipeline, "caption_blend", context.partition_key))


def drawn_in_an_epoch(blend: Artifact) -> dg.AssetCheckResult:
    """Return what the check says of a blend."""
    found = {}
    for consumer in (EVERYONE, *recipe_of(blend).consumers):
        choices = read_choices(table_of(blend.path, consumer))
        drawn: Counter[str] = Counter()
        for key, own in choices.items():
            drawn[own[draw(0, 0, key, [weight for _, weight in own])][0]] += 1
        realised = {source: count / len(choices) for source, count in drawn.items()}
        found[consumer] = compare(realised, expected_shares(choices, choices), len(choices))
    return dg.AssetCheckResult(
        passed=all(shares and not any(share.outside for share in shares.values()) for shares in found.values()),
        metadata={
            f"{consumer} {source}".strip(): str(share)
            for consumer, shares in found.items()
            for source, share in shares.items()
        },
    )


def drawn_in_training(pipeline: Pipeline, model: Artifact, consumer: Consumer) -> dg.AssetCheckResult:
    """Return whether the shares that a model's training drew are those of the blend that it was trained on.

    They are expected over the samples that were not held out. Raises FileNotFoundError where that blend is gone.
    """
    place = pipeline.place.blend(model.manifest.partition, model.manifest.inputs["caption_blend"])
    blend = read_artifact(place)
    if blend is None:
        raise FileNotFoundError(f"the blend that {model.path} was trained on is gone: {place}")
    choices = read_choices(table_of(blend.path, consumer))
    config = model.manifest.config
    trained = [key for key in choices if not is_held_out(key, config["held_out"])]
    realised = {
        name.removeprefix("blend/"): share
        for name, share in model.manifest.summary.items()
        if name.startswith("blend/")
    }
    draws = config["optimizer"]["steps"] * config["optimizer"]["batch_size"]
    shares = compare(realised, expected_shares(choices, trained), draws)
    return dg.AssetCheckResult(
        passed=bool(realised) and not any(share.outside for share in shares.values()),
        metadata={"captions drawn": draws, **{source: str(share) for source, share in shares.items()}},
    )


def _training_check(asset: dg.AssetsDefinition, consumer: Consumer) -> dg.AssetChecksDefinition:
    name = asset.key.to_user_string()

    @dg.asset_check(asset=asset, name="trained_on_the_ratio", blocking=True)
    def trained_on_the_ratio(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
        """The share of each source that training drew lies within its binomial bound."""
        return drawn_in_training(pipeline, made(pipeline, name, context.partition_key), consumer)

    return trained_on_the_ratio


trained_on_the_ratio = [
    _training_check(clip_model, "clip"),
    _training_check(diffusion_prior, "priors"),
    _training_check(autoregressive_prior, "priors"),
    _training_check(latent_diffusion, "diffusion"),
]


@dataclass(frozen=True)
class Share:
    """The share of one source, drawn and expected, and how far apart chance brings them."""

    realised: float
    expected: float
    bound: float

    @property
    def outside(self) -> bool:
        return abs(self.realised - self.expected) > self.bound

    def __str__(self) -> str:
        return f"{self.realised:.4f} drawn, {self.expected:.4f} ± {self.bound:.4f} expected"


def compare(realised: Mapping[str, float], expected: Mapping[str, float], draws: int) -> dict[str, Share]:
    """Return the shares of every source; the bound is Bernstein's, at ``Z`` standard deviations.

    Draws of a blend spread less than independent ones of the mean share, for each sample has shares of its own and
    comes once an epoch; so the bound errs on the side of passing.
    """
    shares = {}
    for source in sorted({*realised, *expected}):
        share = expected.get(source, 0.0)
        bound = (Z * math.sqrt(draws * max(0.0, share * (1 - share))) + Z * Z / 3) / max(1, draws)
        shares[source] = Share(realised.get(source, 0.0), share, bound)
    return shares


def expected_shares(choices: Choices, keys: Collection[str]) -> dict[str, float]:
    """Return the mean over samples of the probability of each source."""
    expected: dict[str, float] = defaultdict(float)
    for key in keys:
        for source, weight in choices[key]:
            expected[source] += weight / len(keys)
    return dict(expected)


def read_choices(directory: Path) -> Choices:
    """Return what can be drawn for each sample: source and probability of each caption."""
    choices: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in read_rows(directory, BLENDS, ["key", "source", "weight"]):
        choices[row["key"]].append((row["source"], row["weight"]))
    return choices

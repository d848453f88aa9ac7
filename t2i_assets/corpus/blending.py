"""What a blend recipe can draw for each sample, and with which probability.

Source of the idea: Betker et al., "Improving Image Generation with Better Captions" (DALL·E 3), section 4: 95 %
descriptive synthetic captions and 5 % original ones, blended when a sample is drawn (see ``corpus.blend.draw``).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

Source = Literal["original", "human", "synthetic_short", "synthetic_descriptive"]
Contamination = Literal["exact", "perceptual", "semantic", "text"]
CAPTION_SOURCE: dict[str, str] = {
    "original": "alt",
    "human": "human",
    "synthetic_short": "synthetic_short",
    "synthetic_descriptive": "synthetic_descriptive",
}
_ROUNDS = 500
_NEVER = 1e-9


class BlendRecipe(BaseModel):
    """Weights over caption sources, and which captions and samples take part."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="Name of the blend; the partition key of everything trained on it.")
    weights: dict[Source, float] = Field(
        description="Share of each caption source over the corpus; the shares sum to 1."
    )
    filtered: bool = Field(default=True, description="Draw only captions whose verdict is kept.")
    drop_duplicates: bool = Field(
        default=True, description="Leave out all but the kept sample of a cluster of exact or perceptual duplicates."
    )
    drop_semantic: bool = Field(
        default=False,
        description="Leave out all but the kept sample of a semantic cluster too. Off, since it takes the embedder's "
        "word for what is the same: set semantic_duplicates.cosine for your embedder first.",
    )
    decontaminate: tuple[Contamination, ...] = Field(
        default=("exact", "perceptual"),
        description="Leave out samples that agree with the evaluation set in these ways. 'text' drops every sample "
        "with a text that is a prompt, which on web texts as short as the prompts is many; 'semantic' takes the "
        "embedder's word.",
    )
    replicate: int = Field(
        default=0, ge=0, description="Added to the seed of every model trained on it: the same recipe, another try."
    )

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> "BlendRecipe":
        if any(weight < 0 for weight in self.weights.values()) or abs(sum(self.weights.values()) - 1) > 1e-6:
            raise ValueError(f"the weights of blend {self.name!r} must be at least 0 and sum to 1: {self.weights}")
        return self


DEFAULT_RECIPES: tuple[BlendRecipe, ...] = (
    BlendRecipe(name="blend_95_5", weights={"synthetic_descriptive": 0.95, "original": 0.05}),
    BlendRecipe(name="alt_only", weights={"original": 1.0}, filtered=False),
)


class EmptyBlendError(ValueError):
    """No sample has a caption that the recipe may draw; the message counts why."""


def blend(
    recipe: BlendRecipe,
    captions: Iterable[Mapping[str, Any]],
    verdicts: Iterable[Mapping[str, Any]],
    samples: Iterable[Mapping[str, Any]],
    duplicates: Iterable[Mapping[str, Any]],
    contamination: Iterable[Mapping[str, Any]] = (),
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return BLENDS rows (weights sum to 1 per sample) and a summary of counts and expected ratios.

    Takes CAPTIONS, VERDICTS, SAMPLES, DUPLICATES (of every kind) and CONTAMINATION rows of all snapshots (of a sample,
    ``key`` and ``snapshot`` are read; one that stands in several snapshots belongs to the first). The summary counts
    what is left out, each sample under the first reason that holds, and in ``would_go`` what each reason that
    the recipe does not mind would take of the rest.

    The rule for missing captions: the recipe's ratio holds over the corpus, not in each sample. A sample without a
    caption of one source draws from the recipe's other sources that it has, and the samples that have a choice make
    up for it: where N_with of N samples have an original, each draws it with probability ratio * N / N_with, at most
    1. A sample with no caption of any source in the recipe is left out and counted, with the reasons. In full: the
    probability of source s in sample i is proportional to one factor per source over the sources that i has, the
    factors being fitted (iterative proportional fitting, Deming and Stephan 1940) so that the sum over samples meets
    the ratio, or comes as near as the captions allow. Several captions of one source share its probability evenly.

    Raises EmptyBlendError where nothing is left to draw.
    """
    snapshot_of, dropped, would_go = _taking_part(recipe, samples, duplicates, contamination)
    available, rejections = _drawable(recipe, captions, verdicts, snapshot_of)
    if not available:
        raise EmptyBlendError(
            f"blend {recipe.name!r}: none of {len(snapshot_of)} samples has a caption to draw; "
            f"rejected captions: {rejections}"
        )
    sources = [source for source, weight in recipe.weights.items() if weight > 0]
    probabilities = _fit(recipe, sources, available)
    rows = []
    expected: Counter[str] = Counter()
    for key in sorted(available):
        pattern = _pattern(available[key], sources)
        for source, probability in zip(sources, probabilities[pattern], strict=True):
            texts = available[key].get(source, [])
            if not texts or probability < _NEVER:
                continue
            expected[source] += probability
            rows += [_row(caption, snapshot_of[key], probability / len(texts)) for caption in texts]
    summary = {
        "samples": len(available),
        "left_out": {**dropped, "no_caption": len(snapshot_of) - len(available)},
        "would_go": would_go,
        "samples_with": {source: sum(source in have for have in available.values()) for source in sources},
        "asked": {source: recipe.weights[source] for source in sources},
        "expected": {source: float(expected[source]) / len(available) for source in sources},
        "rejected_captions": rejections,
    }
    return rows, summary


def _taking_part(
    recipe: BlendRecipe,
    samples: Iterable[Mapping[str, Any]],
    duplicates: Iterable[Mapping[str, Any]],
    contamination: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, str], dict[str, int], dict[str, int]]:
    """Return the snapshot of each sample that takes part, how many were left out, and how many would go."""
    snapshot_of: dict[str, str] = {}
    for sample in samples:
        snapshot_of.setdefault(sample["key"], sample["snapshot"])
    named: dict[str, set[str]] = {"duplicate": set(), "semantic_duplicate": set()}
    named |= {f"contaminated_{kind}": set() for kind in get_args(Contamination)}
    for row in duplicates:
        if not row["kept"]:
            named["semantic_duplicate" if row["kind"] == "semantic" else "duplicate"].add(row["key"])
    for row in contamination:
        named[f"contaminated_{row['kind']}"].add(row["key"])
    obeyed = ["duplicate"] * recipe.drop_duplicates + ["semantic_duplicate"] * recipe.drop_semantic
    obeyed += [f"contaminated_{kind}" for kind in recipe.decontaminate]
    left_out = dict.fromkeys(obeyed, 0)
    for reason in obeyed:
        spare = named[reason] & snapshot_of.keys()
        left_out[reason] = len(spare)
        snapshot_of = {key: snapshot for key, snapshot in snapshot_of.items() if key not in spare}
    would_go = {reason: len(keys & snapshot_of.keys()) for reason, keys in named.items() if reason not in obeyed}
    return snapshot_of, left_out, would_go


def _drawable(
    recipe: BlendRecipe,
    captions: Iterable[Mapping[str, Any]],
    verdicts: Iterable[Mapping[str, Any]],
    keys: Mapping[str, str],
) -> tuple[dict[str, dict[str, list[Mapping[str, Any]]]], dict[str, dict[str, int]]]:
    """Return key -> source -> captions that may be drawn, and source -> reason -> captions that may not."""
    reason_of = {row["caption_id"]: (row["kept"], row["reason"]) for row in verdicts}
    wanted = {CAPTION_SOURCE[source]: source for source, weight in recipe.weights.items() if weight > 0}
    available: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    rejections: dict[str, Counter[str]] = defaultdict(Counter)
    seen: set[str] = set()
    for caption in captions:
        source = wanted.get(caption["source"])
        if source is None or caption["key"] not in keys or caption["caption_id"] in seen:
            continue
        seen.add(caption["caption_id"])
        kept, reason = reason_of.get(caption["caption_id"], (False, "no_verdict")) if recipe.filtered else (True, "")
        if kept:
            available[caption["key"]][source].append(caption)
        else:
            rejections[source][reason] += 1
    return dict(available), {source: dict(counts.most_common()) for source, counts in rejections.items()}


def _pattern(have: Mapping[str, Any], sources: Sequence[str]) -> tuple[bool, ...]:
    return tuple(source in have for source in sources)


def _fit(
    recipe: BlendRecipe, sources: Sequence[str], available: Mapping[str, Mapping[str, Any]]
) -> dict[tuple[bool, ...], np.ndarray]:
    """Return, for each pattern of available sources, the probability of each source."""
    groups = Counter(_pattern(have, sources) for have in available.values())
    patterns = sorted(groups)
    sizes = np.array([groups[pattern] for pattern in patterns], dtype=float)
    share = np.array([recipe.weights[source] for source in sources])  # type: ignore[index]
    p = np.array(patterns, dtype=float) * share
    p /= p.sum(axis=1, keepdims=True)
    target = share * sizes.sum()
    for _ in range(_ROUNDS):
        got = sizes @ p
        fitted = p * np.divide(target, got, out=np.ones_like(target), where=got > 0)
        fitted /= fitted.sum(axis=1, keepdims=True)
        done = np.abs(fitted - p).max() < 1e-10
        p = fitted
        if done:
            break
    return dict(zip(patterns, p, strict=True))


def _row(caption: Mapping[str, Any], snapshot: str, weight: float) -> dict[str, Any]:
    return {
        "key": caption["key"],
        "snapshot": snapshot,
        "caption_id": caption["caption_id"],
        "source": caption["source"],
        "caption": caption["caption"],
        "weight": float(weight),
    }

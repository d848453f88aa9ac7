"""What a blend recipe can draw for each sample, and with which probability.

Source of the idea: Betker et al., "Improving Image Generation with Better Captions" (DALL·E 3), section 4: 95 %
descriptive synthetic captions and 5 % original ones, blended when a sample is drawn (see ``corpus.blend.draw``).
Everything is columns, so a million captions take seconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.blend_ratio import fit_ratio
from t2i_assets.corpus.caption_sources import CaptionSource
from t2i_assets.corpus.schemas import BLENDS
from t2i_assets.corpus.tables import as_table

Source = Literal["original", "human", "synthetic_short", "synthetic_descriptive"]
Consumer = Literal["clip", "priors", "diffusion"]
Contamination = Literal["exact", "perceptual", "semantic", "text"]
CAPTION_SOURCE: dict[Source, CaptionSource] = {
    "original": "alt",
    "human": "human",
    "synthetic_short": "synthetic_short",
    "synthetic_descriptive": "synthetic_descriptive",
}
EVERYONE = ""
"""Stands for all consumers that have no weights of their own."""
NEVER = 1e-9
"""A caption of a smaller probability is not drawn at all."""


class BlendRecipe(BaseModel):
    """Weights over caption sources, and which captions and samples take part."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="Name of the blend; the partition key of everything trained on it.")
    weights: dict[Source, float] = Field(
        description="Share of each caption source over the corpus, for every consumer; the shares sum to 1."
    )
    consumers: dict[Consumer, dict[Source, float]] = Field(
        default={}, description="Other shares for one consumer: clip, priors or diffusion. See docs/blends.md."
    )
    filtered: bool = Field(default=True, description="Draw only captions whose verdict is kept.")
    include_human_samples: bool = Field(
        default=False,
        description="Train on the images of the human set too, each with its human captions. Without, a human caption "
        "is drawn only where its image was crawled as well.",
    )
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
        for whose, weights in (("", self.weights), *((f" for {name}", own) for name, own in self.consumers.items())):
            if any(weight < 0 for weight in weights.values()) or abs(sum(weights.values()) - 1) > 1e-6:
                raise ValueError(
                    f"the weights of blend {self.name!r}{whose} must be at least 0 and sum to 1: {weights}"
                )
        if self.include_human_samples and not self.draws("human"):
            raise ValueError(f"blend {self.name!r} includes the human samples, but no weights draw their captions")
        return self

    def draws(self, source: Source) -> bool:
        """Whether any consumer draws captions of a source."""
        return any(weights.get(source, 0) > 0 for weights in (self.weights, *self.consumers.values()))


DEFAULT_RECIPES: tuple[BlendRecipe, ...] = (
    BlendRecipe(name="blend_95_5", weights={"synthetic_descriptive": 0.95, "original": 0.05}),
    BlendRecipe(name="alt_only", weights={"original": 1.0}, filtered=False),
)


class EmptyBlendError(ValueError):
    """No sample has a caption that the recipe may draw; the message counts why."""


@dataclass(frozen=True)
class Corpus:
    """What a recipe chooses from, over all snapshots.

    CAPTIONS, VERDICTS, SAMPLES (key and snapshot are read; a sample of several snapshots belongs to the first),
    DUPLICATES of every kind, CONTAMINATION.
    """

    captions: pa.Table
    verdicts: pa.Table
    samples: pa.Table
    duplicates: pa.Table
    contamination: pa.Table


def blend_tables(recipe: BlendRecipe, corpus: Corpus) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Return BLENDS for all consumers (named ``EVERYONE``) and for each with weights of its own, and a summary.

    Weights sum to 1 per sample. The summary counts what is left out, each sample under the first reason that holds,
    and in ``would_go`` what each reason that the recipe does not mind would take of the rest; ``consumers`` holds the
    figures of those with weights of their own.

    The rule for missing captions: the recipe's ratio holds over the corpus, not in each sample. A sample without a
    caption of one source draws from the recipe's other sources that it has, and the samples that have a choice make
    up for it: where N_with of N samples have an original, each draws it with probability ratio * N / N_with, at most
    1. A sample with no caption of any source in the recipe is left out and counted, with the reasons. In full, see
    ``fit_ratio``. Several captions of one source share its probability evenly.

    Raises EmptyBlendError where nothing is left to draw.
    """
    samples, left_out, would_go = _taking_part(recipe, corpus)
    tables, figures = {}, {}
    tables[EVERYONE], summary = _table(recipe.name, recipe.weights, recipe.filtered, corpus, samples)
    for consumer, weights in recipe.consumers.items():
        name = f"{recipe.name}, {consumer}"
        tables[consumer], figures[consumer] = _table(name, weights, recipe.filtered, corpus, samples)
    summary["left_out"] = {**left_out, "no_caption": summary.pop("no_caption")}
    return tables, {**summary, "would_go": would_go, **({"consumers": figures} if figures else {})}


def blend(
    recipe: BlendRecipe,
    captions: Iterable[Mapping[str, Any]],
    verdicts: Iterable[Mapping[str, Any]],
    samples: Iterable[Mapping[str, Any]],
    duplicates: Iterable[Mapping[str, Any]],
    contamination: Iterable[Mapping[str, Any]] = (),
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return BLENDS rows for all consumers and a summary: ``blend_tables`` for rows."""
    corpus = Corpus(*map(_as_columns, _READ, (captions, verdicts, samples, duplicates, contamination)))
    tables, summary = blend_tables(recipe, corpus)
    rows: list[dict[str, Any]] = tables[EVERYONE].to_pylist()
    return rows, summary


def table_of(blend: Path, consumer: str) -> Path:
    """Return the directory of the BLENDS that a consumer draws from, below the directory of a blend."""
    own = blend / consumer
    return own if own.is_dir() else blend


def recipe_of(blend: Artifact) -> BlendRecipe:
    """Return the recipe that a blend was made by."""
    config = blend.manifest.config
    return BlendRecipe.model_validate({name: config[name] for name in BlendRecipe.model_fields if name in config})


def tables_below(blend: Path) -> list[Path]:
    """Return the files of every consumer's BLENDS."""
    return sorted(blend.rglob("[0-9]*.parquet"))


_READ = (
    {"caption_id": pa.string(), "key": pa.string(), "source": pa.string(), "caption": pa.string()},
    {"caption_id": pa.string(), "kept": pa.bool_(), "reason": pa.string()},
    {"key": pa.string(), "snapshot": pa.string()},
    {"key": pa.string(), "kind": pa.string(), "kept": pa.bool_()},
    {"key": pa.string(), "kind": pa.string()},
)
"""Columns that are read, in the order of Corpus."""


def _as_columns(types: Mapping[str, pa.DataType], rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    found = list(rows)
    return pa.table({name: pa.array([row[name] for row in found], type_) for name, type_ in types.items()})


def _taking_part(recipe: BlendRecipe, corpus: Corpus) -> tuple[pa.Table, dict[str, int], dict[str, int]]:
    """Return key and snapshot of each sample that takes part, how many were left out, and how many would go."""
    every = corpus.samples["key"].combine_chunks()
    keys = pc.unique(every)
    snapshots = corpus.samples["snapshot"].take(pc.index_in(keys, every))
    spare, semantic = pc.invert(corpus.duplicates["kept"]), pc.equal(corpus.duplicates["kind"], "semantic")
    named = {
        "duplicate": corpus.duplicates["key"].filter(pc.and_not(spare, semantic)),
        "semantic_duplicate": corpus.duplicates["key"].filter(pc.and_(spare, semantic)),
    }
    for kind in get_args(Contamination):
        named[f"contaminated_{kind}"] = corpus.contamination["key"].filter(pc.equal(corpus.contamination["kind"], kind))
    among = {reason: _flags(pc.is_in(keys, found.combine_chunks())) for reason, found in named.items()}
    obeyed = ["duplicate"] * recipe.drop_duplicates + ["semantic_duplicate"] * recipe.drop_semantic
    obeyed += [f"contaminated_{kind}" for kind in recipe.decontaminate]
    stays = np.ones(len(keys), bool)
    left_out = {}
    for reason in obeyed:
        left_out[reason] = int((stays & among[reason]).sum())
        stays &= ~among[reason]
    would_go = {reason: int((stays & flags).sum()) for reason, flags in among.items() if reason not in obeyed}
    samples = pa.table({"key": keys, "snapshot": snapshots}).filter(pa.array(stays))
    return samples.sort_by("key"), left_out, would_go


def _table(
    name: str, weights: Mapping[Source, float], filtered: bool, corpus: Corpus, samples: pa.Table
) -> tuple[pa.Table, dict[str, Any]]:
    """Return what one consumer can draw, as BLENDS, and its figures."""
    sources = [source for source, weight in weights.items() if weight > 0]
    captions, rejected = _drawable(sources, filtered, corpus, samples)
    if not captions.num_rows:
        raise EmptyBlendError(
            f"blend {name!r}: none of {samples.num_rows} samples has a caption to draw; rejected captions: {rejected}"
        )
    of_sample, of_source = captions["sample"].to_numpy(), captions["number"].to_numpy()
    counts = np.zeros((samples.num_rows, len(sources)), np.int64)
    np.add.at(counts, (of_sample, of_source), 1)
    having = np.flatnonzero(counts.any(axis=1))
    patterns, pattern, sizes = np.unique(counts[having] > 0, axis=0, return_inverse=True, return_counts=True)
    ratio = [weights[source] for source in sources]
    fitted = fit_ratio(patterns, sizes, ratio)
    probability = np.zeros(counts.shape)
    probability[having] = np.where(fitted < NEVER, 0.0, fitted)[pattern.reshape(-1)]
    weight = probability[of_sample, of_source] / counts[of_sample, of_source]
    columns = {
        "key": captions["key"],
        "snapshot": samples["snapshot"].take(captions["sample"]),
        **{column: captions[column] for column in ("caption_id", "source", "caption")},
        "weight": pa.array(weight),
    }
    expected = probability.sum(axis=0) / len(having)
    figures = {
        "samples": len(having),
        "no_caption": samples.num_rows - len(having),
        "samples_with": _by(sources, (counts > 0).sum(axis=0).tolist()),
        "asked": _by(sources, ratio),
        "expected": _by(sources, expected.tolist()),
        "rejected_captions": rejected,
    }
    return as_table(pa.table(columns).filter(pa.array(weight > 0)), BLENDS), figures


def _drawable(
    sources: Sequence[Source], filtered: bool, corpus: Corpus, samples: pa.Table
) -> tuple[pa.Table, dict[str, dict[str, int]]]:
    """Return the captions that may be drawn with the numbers of their sample and source, in order of both.

    Also source -> reason -> captions that may not be drawn.
    """
    found = corpus.captions.select(["caption_id", "key", "source", "caption"]).combine_chunks()
    names = pa.array([CAPTION_SOURCE[source] for source in sources], pa.string())
    found = found.append_column("number", pc.index_in(found["source"], names))
    found = found.append_column("sample", pc.index_in(found["key"], samples["key"].combine_chunks()))
    found = found.filter(pc.and_(pc.is_valid(found["number"]), pc.is_valid(found["sample"])))
    ids = found["caption_id"].combine_chunks()
    found = found.take(pc.index_in(pc.unique(ids), ids))
    rejected: dict[str, dict[str, int]] = {}
    if filtered:
        verdicts = corpus.verdicts.select(["caption_id", "kept", "reason"]).combine_chunks()
        place = pc.index_in(found["caption_id"], verdicts["caption_id"].combine_chunks())
        kept = pc.fill_null(verdicts["kept"].take(place), False)
        reasons = pc.fill_null(verdicts["reason"].take(place), "no_verdict")
        gone = pa.table({"number": found["number"], "reason": reasons}).filter(pc.invert(kept))
        counted = gone.group_by(["number", "reason"]).aggregate([([], "count_all")]).to_pylist()
        for row in sorted(counted, key=lambda row: (row["number"], -row["count_all"], row["reason"])):
            rejected.setdefault(sources[row["number"]], {})[row["reason"]] = row["count_all"]
        found = found.filter(kept)
    order = np.lexsort((found["number"].to_numpy(), found["sample"].to_numpy()))
    return found.take(pa.array(order)), rejected


def _by(sources: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(sources, values, strict=True))


def _flags(values: pa.Array) -> NDArray[np.bool_]:
    flags: NDArray[np.bool_] = values.to_numpy(zero_copy_only=False)
    return flags

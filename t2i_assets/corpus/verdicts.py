"""Which captions may train a model: rules over stored scores and labels, so a new threshold runs no model.

Source of the idea: Li et al., "BLIP" (2022), section 4.3 (CapFilt): a text is dropped where the filter's
image-text matching head says "unmatched"; hygiene rules (length, file names, language) stand before it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from t2i_assets.corpus.digests import caption_id

KEPT = "kept"


class VerdictRules(BaseModel):
    """What a caption must fulfil; the first rule that it breaks is the reason on its row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trusted_sources: frozenset[str] = Field(default=frozenset({"human"}), description="Sources kept without a look.")
    rejected_labels: tuple[str, ...] = Field(
        default=("file_name", "boilerplate", "not_english", "too_short"),
        description="Hygiene labels of the crawl that reject a text, in order of precedence.",
    )
    min_words: int = Field(default=2, ge=0, description="Fewer words than this: too_short.")
    max_words: int = Field(default=64, gt=0, description="More words than this: too_long.")
    itm_threshold: float = Field(
        default=0.5, ge=0, le=1, description="ITM probability below this: itm_below_threshold."
    )
    itc_threshold: float | None = Field(
        default=None, ge=-1, le=1, description="ITC cosine below this: itc_below_threshold."
    )


class MissingScoreError(ValueError):
    """A caption was never scored; the message names it."""


def judge(
    captions: Iterable[Mapping[str, Any]],
    scores: Iterable[Mapping[str, Any]],
    labels: Mapping[str, Sequence[str]],
    rules: VerdictRules,
) -> list[dict[str, Any]]:
    """Return one VERDICTS row per caption.

    ``captions`` and ``scores`` are CAPTIONS and SCORES rows of one scorer; ``labels`` maps a caption_id to the
    hygiene labels of its text (none where it is absent). Raises MissingScoreError where a caption that no other
    rule decides has no score.
    """
    values = {(score["caption_id"], score["kind"]): score["value"] for score in scores}
    rows = []
    for caption in captions:
        reason = _reason(caption, values, labels.get(caption["caption_id"], ()), rules)
        rows.append(
            {
                "caption_id": caption["caption_id"],
                "key": caption["key"],
                "source": caption["source"],
                "kept": reason == KEPT,
                "reason": reason,
            }
        )
    return rows


def count_reasons(verdicts: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Return, per source, how many captions had each reason, the most frequent first."""
    counts: dict[str, Counter[str]] = {}
    for row in verdicts:
        counts.setdefault(row["source"], Counter())[row["reason"]] += 1
    return {source: dict(counter.most_common()) for source, counter in sorted(counts.items())}


def alt_captions(shards: Path) -> list[dict[str, Any]]:
    """Return the alt text of every sample of a shard directory as CAPTIONS rows of source ``alt``."""
    return [_alt_caption(row["key"], row["alt_text"]) for row in _sidecar_rows(shards, ["key", "alt_text"])]


def alt_labels(shards: Path) -> dict[str, list[str]]:
    """Return the hygiene labels of every sample's alt text by caption_id, as the crawl found them."""
    labels = {}
    for row in _sidecar_rows(shards, ["key", "alt_text", "texts"]):
        found = {
            label for text in row["texts"] or () if text["text"] == row["alt_text"] for label in text["labels"] or ()
        }
        labels[caption_id(row["key"], "alt", row["alt_text"])] = sorted(found)
    return labels


def _reason(
    caption: Mapping[str, Any], values: Mapping[tuple[str, str], float], labels: Sequence[str], rules: VerdictRules
) -> str:
    if caption["source"] in rules.trusted_sources:
        return KEPT
    for label in rules.rejected_labels:
        if label in labels:
            return label
    words = len(caption["caption"].split())
    if words < rules.min_words:
        return "too_short"
    if words > rules.max_words:
        return "too_long"
    if _score(caption, values, "itm") < rules.itm_threshold:
        return "itm_below_threshold"
    if rules.itc_threshold is not None and _score(caption, values, "itc") < rules.itc_threshold:
        return "itc_below_threshold"
    return KEPT


def _score(caption: Mapping[str, Any], values: Mapping[tuple[str, str], float], kind: str) -> float:
    try:
        return values[caption["caption_id"], kind]
    except KeyError:
        raise MissingScoreError(
            f"caption {caption['caption_id']} of sample {caption['key']} ({caption['source']}) has no {kind} score: "
            "materialize caption_scores for these captions first"
        ) from None


def _alt_caption(key: str, text: str) -> dict[str, Any]:
    return {
        "caption_id": caption_id(key, "alt", text),
        "key": key,
        "source": "alt",
        "caption": text,
        "captioner": None,
        "decode": None,
        "seed": None,
        "log_probability": None,
    }


def _sidecar_rows(shards: Path, columns: list[str]) -> Iterator[dict[str, Any]]:
    for sidecar in sorted(shards.glob("*.parquet")):
        yield from pq.read_table(sidecar, columns=columns).to_pylist()

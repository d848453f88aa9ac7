"""Which captions may train a model: rules over stored scores and labels, so a new threshold runs no model.

Source of the idea: Li et al., "BLIP" (2022), section 4.3 (CapFilt): a text is dropped where the filter's
image-text matching head says "unmatched"; word lists and hygiene rules (length, file names, language, texts that
stand beside many images) come before it. Rules are applied to columns, so a million captions take seconds.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from t2i_assets.corpus.caption_sources import CaptionSource, HygieneLabel
from t2i_assets.corpus.digests import caption_id
from t2i_assets.corpus.schemas import CAPTIONS, VERDICTS
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.shared_texts import SharedTextRule, images_sharing
from t2i_assets.corpus.tables import as_table
from t2i_assets.corpus.word_lists import WordList, WordListConfig, read_word_lists

KEPT = "kept"
_THRESHOLDS = {"itm_threshold", "itc_threshold", "clip_threshold"}
Flags = NDArray[np.bool_]
Numbers = NDArray[np.float64]


class SourceRules(BaseModel):
    """What differs for one source; null is as for all sources."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_words: int | None = Field(default=None, ge=0, description="Fewer words than this: too_short.")
    max_words: int | None = Field(default=None, gt=0, description="More words than this: too_long.")
    itm_threshold: float | None = Field(default=None, ge=0, le=1, description="As for all sources; 0 asks nothing.")
    itc_threshold: float | None = Field(default=None, ge=-1, le=1, description="As for all sources; -1 asks nothing.")
    clip_threshold: float | None = Field(default=None, ge=-1, le=1, description="As for all sources; -1 asks nothing.")


class VerdictRules(BaseModel):
    """What a caption must fulfil; the first rule that it breaks is the reason on its row."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    word_lists: tuple[WordListConfig, ...] = Field(
        default=(), description="Files of words and phrases; a text that holds one of them whole: listed_word."
    )
    trusted_sources: tuple[CaptionSource, ...] = Field(
        default=("human",), description="Sources that only word lists are asked about."
    )
    rejected_labels: tuple[HygieneLabel, ...] = Field(
        default=("file_name", "boilerplate", "not_english", "too_short"),
        description="Hygiene labels of the crawl that reject a text, in order of precedence. Texts that a model or a "
        "person wrote have none.",
    )
    min_words: int = Field(default=2, ge=0, description="Fewer words than this: too_short.")
    max_words: int = Field(default=64, gt=0, description="More words than this: too_long.")
    shared_texts: SharedTextRule | None = Field(
        default=None,
        description="Rejects texts that stand beside many images; null keeps them. Off, for on a small site of simple "
        "pictures the same few words are often right.",
    )
    itm_threshold: float = Field(
        default=0.5, ge=0, le=1, description="ITM probability below this: itm_below_threshold."
    )
    itc_threshold: float | None = Field(
        default=None, ge=-1, le=1, description="ITC cosine below this: itc_below_threshold."
    )
    clip_threshold: float | None = Field(
        default=None,
        ge=-1,
        le=1,
        description="Cosine of an independent CLIP below this: clip_below_threshold. It needs scores of kind clip.",
    )
    by_source: dict[CaptionSource, SourceRules] = Field(
        default={},
        description="What differs for a source: alt, synthetic_short, synthetic_descriptive; and human, where it is "
        "not trusted.",
    )

    @model_validator(mode="after")
    def _by_source_is_asked(self) -> "VerdictRules":
        for source in self.by_source:
            if source in self.trusted_sources:
                raise ValueError(
                    f"by_source.{source} would do nothing: {source!r} is in trusted_sources, which only word lists are "
                    "asked about"
                )
        human = self.by_source.get("human", SourceRules())
        if human.model_dump(include=_THRESHOLDS, exclude_none=True):
            raise ValueError("by_source.human cannot have a threshold: what people wrote is not scored")
        return self

    def of(self, source: CaptionSource, field: str) -> Any:
        """Return a field as it holds for one source; what people wrote has no threshold, for it is not scored."""
        if source == "human" and field in _THRESHOLDS:
            return None
        own = getattr(self.by_source.get(source), field, None)
        return getattr(self, field) if own is None else own


class MissingScoreError(ValueError):
    """A caption was never scored; the message names it."""


def judge(
    captions: Iterable[Mapping[str, Any]],
    scores: Iterable[Mapping[str, Any]],
    labels: Mapping[str, Sequence[str]],
    rules: VerdictRules,
) -> list[dict[str, Any]]:
    """Return one VERDICTS row per caption: ``judge_table`` for rows.

    ``labels`` maps a caption_id to the hygiene labels of its text (none where it is absent).
    """
    rows = list(captions)
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in _JUDGED}
    found = [list(labels.get(row["caption_id"], ())) for row in rows]
    measured = [{name: score[name] for name in _MEASURED.names} for score in scores]
    texts = pa.table({**columns, "labels": pa.array(found, pa.list_(pa.string()))})
    table = judge_table(
        texts, pa.Table.from_pylist(measured, schema=_MEASURED), rules, read_word_lists(rules.word_lists)
    )
    verdicts: list[dict[str, Any]] = table.to_pylist()
    return verdicts


def judge_table(
    captions: pa.Table, scores: pa.Table, rules: VerdictRules, word_lists: Sequence[WordList] = ()
) -> pa.Table:
    """Return the VERDICTS of captions, in their order.

    ``captions`` has caption_id, key, source, caption and, where hygiene labels are known, labels; ``scores`` are the
    SCORES of one scorer per kind; ``word_lists`` are those of the rules, as read. Each rejection carries its reason,
    the value and threshold behind it where there are some, and what was found in the text. Raises MissingScoreError
    where a caption that no other rule decides lacks a score that a threshold asks for.
    """
    bench = _Bench(captions, rules)
    for words in word_lists:
        bench.reject_listed(words)
    bench.undecided &= ~bench.is_of(rules.trusted_sources)
    for label in rules.rejected_labels:
        bench.reject(bench.has_label(label), label)
    words_of = _count_words(captions["caption"])
    bench.reject_outside(words_of, "min_words", "too_short", below=True)
    bench.reject_outside(words_of, "max_words", "too_long", below=False)
    if rules.shared_texts is not None:
        bench.reject_shared(rules.shared_texts)
    for kind in ("itm", "itc", "clip"):
        bench.reject_scored(kind, scores)
    return bench.verdicts()


def count_reasons(verdicts: Iterable[Mapping[str, Any]] | pa.Table) -> dict[str, dict[str, int]]:
    """Return, per source, how many captions had each reason, the most frequent first."""
    if not isinstance(verdicts, pa.Table):
        rows = list(verdicts)
        verdicts = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in ("source", "reason")})
    counted = verdicts.group_by(["source", "reason"]).aggregate([([], "count_all")]).to_pylist()
    counts: dict[str, dict[str, int]] = {}
    for row in sorted(counted, key=lambda row: (row["source"], -row["count_all"], row["reason"])):
        counts.setdefault(row["source"], {})[row["reason"]] = row["count_all"]
    return counts


def alt_captions(shards: Path) -> list[dict[str, Any]]:
    """Return the alt text of every sample of a shard directory as CAPTIONS rows of source ``alt``."""
    empty = dict.fromkeys(CAPTIONS.names)
    return [{**empty, **row} for row in alt_texts(shards).select(_JUDGED).to_pylist()]


def alt_labels(shards: Path) -> dict[str, list[str]]:
    """Return the hygiene labels of every sample's alt text by caption_id, as the crawl found them."""
    return {row["caption_id"]: sorted(set(row["labels"])) for row in alt_texts(shards).to_pylist()}


def alt_texts(shards: Path) -> pa.Table:
    """Return the alt text of every sample of a shard directory: caption_id, key, source, caption, labels."""
    tables = [_alt_texts_of(pq.read_table(sidecar, columns=_TEXTS)) for sidecar in sorted(shards.glob(SHARD_GLOB))]
    return pa.concat_tables(tables) if tables else _ALT_TEXTS.empty_table()


_JUDGED = ["caption_id", "key", "source", "caption"]
_TEXTS = ["key", "alt_text", "texts"]
_ALT_TEXTS = pa.schema([*((name, pa.string()) for name in _JUDGED), ("labels", pa.list_(pa.string()))])
_MEASURED = pa.schema([("caption_id", pa.string()), ("kind", pa.string()), ("value", pa.float64())])


class _Bench:
    """Captions in columns; a rule rejects those of them that none before it has decided."""

    def __init__(self, captions: pa.Table, rules: VerdictRules) -> None:
        count = captions.num_rows
        self.captions, self.rules = captions, rules
        self.undecided: Flags = np.ones(count, bool)
        self._reason = np.full(count, KEPT, object)
        self._value, self._threshold = np.full(count, np.nan), np.full(count, np.nan)
        self._detail = np.full(count, None, object)
        sources = captions["source"].combine_chunks().dictionary_encode()
        self._sources: list[CaptionSource] = sources.dictionary.to_pylist()
        self._source = sources.indices.to_numpy()

    def is_of(self, sources: Iterable[str]) -> Flags:
        """Return which captions are of one of ``sources``."""
        return np.isin(self._source, [n for n, source in enumerate(self._sources) if source in set(sources)])

    def limits(self, field: str) -> Numbers:
        """Return each caption's limit of a rule; NaN where it has none."""
        limits = [self.rules.of(source, field) for source in self._sources]
        return np.array([np.nan if limit is None else limit for limit in limits], float)[self._source]

    def has_label(self, label: str) -> Flags:
        """Return which captions bear a hygiene label."""
        found = np.zeros(len(self.undecided), bool)
        if "labels" in self.captions.column_names:
            labels = self.captions["labels"].combine_chunks()
            rows, names = pc.list_parent_indices(labels), pc.list_flatten(labels)
            found[rows.filter(pc.fill_null(pc.equal(names, label), False)).to_numpy()] = True
        return found

    def reject(self, broken: Flags, reason: str, value: Any = None, threshold: Any = None, detail: Any = None) -> None:
        """Reject the undecided captions among ``broken``; value, threshold and detail are columns of all captions."""
        rows = np.flatnonzero(broken & self.undecided)
        self.undecided[rows] = False
        self._reason[rows] = reason
        for column, told in ((self._value, value), (self._threshold, threshold), (self._detail, detail)):
            if told is not None:
                column[rows] = told[rows]

    def reject_listed(self, words: WordList) -> None:
        """Reject the captions that hold a phrase of a list."""
        distinct = self.captions["caption"].combine_chunks().dictionary_encode()
        found = np.array([words.find(text) for text in distinct.dictionary.to_pylist()] + [None], object)
        told = np.array([f"{words.name}: {phrase}" if phrase else None for phrase in found], object)
        of_text = distinct.indices.to_numpy()
        listed = np.array([phrase is not None for phrase in found])[of_text]
        if words.sources is not None:
            listed &= self.is_of(words.sources)
        self.reject(listed, "listed_word", detail=told[of_text])

    def reject_outside(self, values: Numbers, field: str, reason: str, below: bool) -> None:
        """Reject the captions whose value lies below, or above, their limit."""
        limits = self.limits(field)
        self.reject(values < limits if below else values > limits, reason, values, limits)

    def reject_shared(self, rule: SharedTextRule) -> None:
        """Reject the captions whose text, or one nearly like it, too many images share."""
        rows = np.flatnonzero(self.is_of(rule.sources))
        counted = self.captions.take(pa.array(rows))
        images, like = images_sharing(
            counted["caption"].combine_chunks(), counted["key"].combine_chunks(), rule.similarity
        )
        values, told = np.full(len(self.undecided), np.nan), np.full(len(self.undecided), None, object)
        values[rows], told[rows] = images, like
        limit = np.full(len(values), float(rule.most_images))
        self.reject(values > limit, "shared_text", values, limit, told)

    def reject_scored(self, kind: str, scores: pa.Table) -> None:
        """Reject the captions whose score of a kind lies below their threshold, where they have one."""
        limits = self.limits(f"{kind}_threshold")
        asked = self.undecided & ~np.isnan(limits)
        if not asked.any():
            return
        of_kind = scores.filter(pc.equal(scores["kind"], kind))
        places = pc.index_in(self.captions["caption_id"].combine_chunks(), of_kind["caption_id"].combine_chunks())
        missing = np.flatnonzero(asked & places.is_null().to_numpy(zero_copy_only=False))
        if len(missing):
            caption = self.captions.slice(missing[0], 1).to_pylist()[0]
            raise MissingScoreError(
                f"caption {caption['caption_id']} of sample {caption['key']} ({caption['source']}) has no {kind} score"
                ": materialize caption_scores for these captions first"
            )
        values = of_kind["value"].take(places).to_numpy(zero_copy_only=False)
        self.reject(asked & ~(values >= limits), f"{kind}_below_threshold", values, limits)

    def verdicts(self) -> pa.Table:
        """Return what was decided, as VERDICTS."""
        columns = {
            **{name: self.captions[name] for name in ("caption_id", "key", "source")},
            "kept": pa.array(self._reason == KEPT, pa.bool_()),
            "reason": pa.array(self._reason, pa.string()),
            "value": pa.array(self._value, pa.float64(), from_pandas=True),
            "threshold": pa.array(self._threshold, pa.float64(), from_pandas=True),
            "detail": pa.array(self._detail, pa.string()),
        }
        return as_table(pa.table(columns), VERDICTS)


def _count_words(texts: pa.ChunkedArray) -> Numbers:
    trimmed = pc.utf8_trim_whitespace(texts)
    words = pc.list_value_length(pc.utf8_split_whitespace(trimmed)).to_numpy()
    return np.where(pc.equal(trimmed, "").to_numpy(), 0.0, words)


def _alt_texts_of(samples: pa.Table) -> pa.Table:
    """Return the alt texts of one sidecar; its columns are key, alt_text and texts."""
    keys, alt, texts = (samples[name].combine_chunks() for name in _TEXTS)
    rows, every = pc.list_parent_indices(texts), pc.list_flatten(texts)
    same = pc.fill_null(pc.equal(pc.struct_field(every, "text"), alt.take(rows)), False)
    labels = pc.struct_field(every, "labels").filter(same)
    row_of_label = rows.filter(same).take(pc.list_parent_indices(labels)).to_numpy()
    begins = np.searchsorted(row_of_label, np.arange(len(keys) + 1)).astype(np.int32)
    names = [caption_id(key, "alt", text) for key, text in zip(keys.to_pylist(), alt.to_pylist(), strict=True)]
    columns = {
        "caption_id": pa.array(names, pa.string()),
        "key": keys,
        "source": pa.array(["alt"] * len(keys), pa.string()),
        "caption": alt,
        "labels": pa.ListArray.from_arrays(begins, pc.list_flatten(labels)),
    }
    return pa.table(columns, schema=_ALT_TEXTS)

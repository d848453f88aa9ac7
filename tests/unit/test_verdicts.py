"""Verdicts: rules over stored scores and labels."""

from pathlib import Path
from typing import Any

import pytest

from t2i_assets.corpus.digests import caption_id
from t2i_assets.corpus.schemas import VERDICTS
from t2i_assets.corpus.tables import as_table
from t2i_assets.corpus.verdicts import MissingScoreError, VerdictRules, alt_captions, alt_labels, count_reasons, judge
from tests.unit.drawn_corpus import write_shards


def caption(text: str, source: str = "alt") -> dict[str, Any]:
    return {"caption_id": caption_id("k", source, text), "key": "k", "source": source, "caption": text}


def score(text: str, value: float, kind: str = "itm", source: str = "alt") -> dict[str, Any]:
    return {"caption_id": caption_id("k", source, text), "key": "k", "scorer": "f", "kind": kind, "value": value}


def reasons(
    captions: list[dict[str, Any]], scores: list[dict[str, Any]], rules: VerdictRules, **labels: list[str]
) -> list[str]:
    rows = judge(captions, scores, {caption_id("k", "alt", text): found for text, found in labels.items()}, rules)
    as_table(rows, VERDICTS)
    assert all(row["kept"] == (row["reason"] == "kept") for row in rows)
    return [row["reason"] for row in rows]


def test_a_caption_is_kept_where_the_filter_says_that_it_matches() -> None:
    texts = [caption("a red star"), caption("a blue circle")]
    scores = [score("a red star", 0.5), score("a blue circle", 0.49)]
    assert reasons(texts, scores, VerdictRules()) == ["kept", "itm_below_threshold"]


def test_another_threshold_changes_verdicts_without_other_scores() -> None:
    texts, scores = [caption("a red star")], [score("a red star", 0.6)]
    assert reasons(texts, scores, VerdictRules(itm_threshold=0.6)) == ["kept"]
    assert reasons(texts, scores, VerdictRules(itm_threshold=0.61)) == ["itm_below_threshold"]


def test_hygiene_stands_before_scores_and_needs_none() -> None:
    texts = [caption("photo"), caption("star"), caption("word " * 65)]
    assert reasons(texts, [], VerdictRules(), photo=["too_short", "file_name"]) == [
        "file_name",
        "too_short",
        "too_long",
    ]


def test_a_cosine_threshold_rejects_where_one_is_set() -> None:
    texts, scores = [caption("a red star")], [score("a red star", 0.9), score("a red star", 0.1, "itc")]
    assert reasons(texts, scores, VerdictRules()) == ["kept"]
    assert reasons(texts, scores, VerdictRules(itc_threshold=0.2)) == ["itc_below_threshold"]


def test_what_people_wrote_is_kept_unscored() -> None:
    assert reasons([caption("star", "human")], [], VerdictRules()) == ["kept"]


def test_a_caption_that_was_never_scored_stops_the_work_and_is_named() -> None:
    with pytest.raises(MissingScoreError, match=r"sample k \(alt\) has no itm score"):
        judge([caption("a red star")], [], {}, VerdictRules())


def test_reasons_are_counted_per_source() -> None:
    texts = [caption("a red star"), caption("a blue star"), caption("x", "human")]
    rows = judge(texts, [score("a red star", 1), score("a blue star", 0)], {}, VerdictRules())
    assert count_reasons(rows) == {"alt": {"kept": 1, "itm_below_threshold": 1}, "human": {"kept": 1}}


def test_alt_texts_and_their_labels_come_from_the_sidecar_of_every_shard(tmp_path: Path) -> None:
    write_shards(tmp_path, 5, 2)
    captions = alt_captions(tmp_path)
    assert len(captions) == 5
    assert {row["source"] for row in captions} == {"alt"}
    labels = alt_labels(tmp_path)
    assert labels == {row["caption_id"]: ["file_name"] for row in captions}

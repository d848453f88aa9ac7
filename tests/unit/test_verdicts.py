"""Verdicts: rules over stored scores and labels."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from t2i_assets.corpus.digests import caption_id
from t2i_assets.corpus.plain_words import plain_words
from t2i_assets.corpus.schemas import VERDICTS
from t2i_assets.corpus.shared_texts import SharedTextRule, leaders
from t2i_assets.corpus.tables import as_table
from t2i_assets.corpus.verdicts import MissingScoreError, VerdictRules, alt_captions, alt_labels, count_reasons, judge
from t2i_assets.corpus.word_lists import WordListError, read_word_lists
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


def rejections(texts: list[dict[str, Any]], scores: list[dict[str, Any]], rules: VerdictRules) -> list[tuple[Any, ...]]:
    return [(row["reason"], row["value"], row["threshold"], row["detail"]) for row in judge(texts, scores, {}, rules)]


def test_each_rejection_tells_the_value_and_the_threshold_behind_it() -> None:
    texts = [caption("a red star"), caption("star"), caption("word " * 9), caption("a blue star")]
    scores = [score("a red star", 0.25), score("a blue star", 0.75)]
    assert rejections(texts, scores, VerdictRules(max_words=8)) == [
        ("itm_below_threshold", 0.25, 0.5, None),
        ("too_short", 1, 2, None),
        ("too_long", 9, 8, None),
        ("kept", None, None, None),
    ]


def test_each_source_may_have_thresholds_of_its_own() -> None:
    texts = [caption("a red star"), caption("a red star", "synthetic_short"), caption("star", "synthetic_short")]
    scores = [score(row["caption"], 0.6, source=row["source"]) for row in texts]
    rules = VerdictRules.model_validate({"by_source": {"synthetic_short": {"itm_threshold": 0.7, "min_words": 0}}})
    assert reasons(texts, scores, rules) == ["kept", "itm_below_threshold", "itm_below_threshold"]


def test_a_source_may_do_without_a_threshold_that_the_others_have() -> None:
    texts = [caption("a red star"), caption("a red star", "synthetic_short")]
    scores = [score(row["caption"], 0.9, source=row["source"]) for row in texts]
    scores.append(score("a red star", 0.1, "itc"))
    rules = VerdictRules(itc_threshold=0.2)
    with pytest.raises(MissingScoreError, match="has no itc score"):
        judge(texts, scores, {}, rules)
    scores.append(score("a red star", -0.9, "itc", "synthetic_short"))
    lenient = VerdictRules.model_validate(
        {"itc_threshold": 0.2, "by_source": {"synthetic_short": {"itc_threshold": -1}}}
    )
    assert reasons(texts, scores, lenient) == ["itc_below_threshold", "kept"]


def test_the_cosine_of_an_independent_clip_is_asked_for_where_its_threshold_is_set() -> None:
    texts, scores = [caption("a red star")], [score("a red star", 0.9)]
    assert reasons(texts, scores, VerdictRules()) == ["kept"]
    with pytest.raises(MissingScoreError, match="has no clip score"):
        judge(texts, scores, {}, VerdictRules(clip_threshold=0.3))
    scores.append(score("a red star", 0.28, "clip"))
    assert rejections(texts, scores, VerdictRules(clip_threshold=0.3)) == [("clip_below_threshold", 0.28, 0.3, None)]


def test_a_score_that_is_no_number_keeps_nothing() -> None:
    assert reasons([caption("a red star")], [score("a red star", math.nan)], VerdictRules()) == ["itm_below_threshold"]


def on_images(text: str, images: int, source: str = "alt") -> list[dict[str, Any]]:
    return [
        {"caption_id": caption_id(f"k{n}", source, text), "key": f"k{n}", "source": source, "caption": text}
        for n in range(images)
    ]


SHARED = VerdictRules(itm_threshold=0, shared_texts=SharedTextRule(most_images=3))


def unscored(texts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"caption_id": row["caption_id"], "kind": "itm", "value": 1.0} for row in texts]


def test_a_text_that_stands_beside_many_images_is_rejected_and_case_and_marks_make_no_difference() -> None:
    texts = on_images("Free shipping today!", 2) + on_images("free shipping – TODAY", 4) + on_images("a red star", 3)
    found = rejections(texts, unscored(texts), SHARED)
    assert found[:6] == [("shared_text", 4, 3, "free shipping today")] * 6
    assert found[6:] == [("kept", None, None, None)] * 3


def test_one_image_with_one_text_from_two_sources_is_one_image() -> None:
    rules = VerdictRules(
        itm_threshold=0, shared_texts=SharedTextRule(most_images=3, sources=("alt", "synthetic_short"))
    )
    texts = on_images("a red star", 3) + on_images("a red star", 3, "synthetic_short")
    assert set(reasons(texts, unscored(texts), rules)) == {"kept"}
    texts += on_images("a red star", 4, "synthetic_short")[3:]
    assert set(reasons(texts, unscored(texts), rules)) == {"shared_text"}


def test_what_a_captioner_writes_of_many_images_is_kept() -> None:
    texts = on_images("a red star", 9, "synthetic_short")
    assert set(reasons(texts, unscored(texts), SHARED)) == {"kept"}


def test_texts_that_are_nearly_alike_count_as_one() -> None:
    texts = [
        {**row, "key": f"k{n}"}
        for n in range(4)
        for row in on_images(f"subscribe to our newsletter and get {n}0 % off", 1)
    ]
    texts += on_images("a large red star above a small blue circle", 3)
    assert reasons(texts, unscored(texts), SHARED) == ["shared_text"] * 4 + ["kept"] * 3
    equal = VerdictRules(itm_threshold=0, shared_texts=SharedTextRule(most_images=3, similarity=1))
    assert set(reasons(texts, unscored(texts), equal)) == {"kept"}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text("ab ", min_size=0, max_size=12), min_size=1, max_size=12, unique=True))
def test_every_text_follows_one_that_it_is_nearly_like_and_that_follows_none(texts: list[str]) -> None:
    found = leaders(texts, 0.6).tolist()
    for text, leader in zip(texts, found, strict=True):
        assert found[leader] == leader
        ours, theirs = (
            {f" {one} "[i : i + 3] for i in range(max(1, len(one)))} if one else {"   "}
            for one in (text, texts[leader])
        )
        assert len(ours & theirs) >= 0.6 * len(ours | theirs)


def listed(tmp_path: Path, lines: str, **config: Any) -> VerdictRules:
    (tmp_path / "unsafe.txt").write_text(lines, encoding="utf-8")
    return VerdictRules.model_validate(
        {"itm_threshold": 0, "word_lists": [{"path": tmp_path / "unsafe.txt", **config}]}
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a BAD word", "bad"),
        ("a ｂａｄ word", "bad"),
        ("a b\u200bad word", "bad"),
        ("not badly meant", None),
        ("worse-than, that", "worse than that"),
        ("worse than", None),
        ("die große STRASSE", "straße"),
        ("Cafe\u0301 noir", "café"),
        ("a # sign", None),
    ],
)
def test_listed_words_are_found_whole_in_any_way_of_writing(tmp_path: Path, text: str, found: str | None) -> None:
    rules = listed(tmp_path, "# unsafe\nbad  # a comment\n\nworse than that\nStraße\ncafé\n")
    texts = [{**caption(text), "key": "k"}]
    want = ("kept", None, None, None)
    if found:
        want = ("listed_word", None, None, f"unsafe.txt: {plain_words(found)}")
    assert rejections(texts, unscored(texts), rules) == [want]


def test_word_lists_are_asked_about_every_source_unless_they_name_some(tmp_path: Path) -> None:
    texts = [caption("a bad star"), caption("a bad star", "human")]
    assert reasons(texts, unscored(texts), listed(tmp_path, "bad\n")) == ["listed_word", "listed_word"]
    assert reasons(texts, unscored(texts), listed(tmp_path, "bad\n", sources=["alt"])) == ["listed_word", "kept"]


def test_a_word_list_is_named_by_what_it_says(tmp_path: Path) -> None:
    def identity(lines: str) -> dict[str, object]:
        return read_word_lists(listed(tmp_path, lines).word_lists)[0].identity

    assert identity("bad\nworse\n") == identity("# sorted\nWorse\nbad\n")
    assert identity("bad\n") != identity("bad\nworse\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"# nothing\n", "holds no word"),
        (b"bad\n***\n", "line 2 .* has no letter"),
    ],
)
def test_a_word_list_that_cannot_be_used_is_told_by_field_and_file(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "unsafe.txt"
    if content is not None:
        path.write_bytes(content)
    rules = VerdictRules.model_validate({"word_lists": [{"path": path}]})
    with pytest.raises(WordListError, match=rf"^verdicts\.word_lists\.0\.path: .*{said}") as told:
        judge([], [], {}, rules)
    assert str(path) in str(told.value)


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


@pytest.mark.parametrize(
    "mistyped",
    [
        {"by_source": {"synthetic": {"min_words": 3}}},
        {"trusted_sources": ["original"]},
        {"rejected_labels": ["filename"]},
        {"shared_texts": {"sources": ["alts"]}},
        {"word_lists": [{"path": "words.txt", "sources": ["alt_text"]}]},
    ],
)
def test_a_name_that_no_row_bears_is_refused_with_those_that_there_are(mistyped: dict[str, Any]) -> None:
    known = "'file_name'" if "rejected_labels" in mistyped else "'synthetic_short' or 'synthetic_descriptive'"
    with pytest.raises(ValidationError, match=known):
        VerdictRules.model_validate(mistyped)


def test_what_people_wrote_is_judged_by_all_but_scores_where_they_are_not_trusted() -> None:
    texts = [caption("a red star", "human"), caption("a star", "human")]
    limits = {"by_source": {"human": {"min_words": 3}}}
    rules = VerdictRules.model_validate({"trusted_sources": [], "clip_threshold": 0.3, **limits})
    assert reasons(texts, [], rules) == ["kept", "too_short"]
    with pytest.raises(ValidationError, match="'human' is in trusted_sources"):
        VerdictRules.model_validate(limits)
    with pytest.raises(ValidationError, match="not scored"):
        VerdictRules.model_validate({"trusted_sources": [], "by_source": {"human": {"itm_threshold": 0.3}}})

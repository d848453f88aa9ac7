"""A captioner's habits as numbers: each is counted as its name says, and the same for every source."""

import json
import math
import random
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from t2i_assets.corpus.caption_tics import COMPARED, caption_tics
from t2i_assets.corpus.digests import caption_id
from t2i_assets.corpus.schemas import CAPTIONS, VERDICTS
from t2i_assets.corpus.tables import read_rows, write_table

WRITER = "c0ffee"
DECODE = {"max_tokens": 8, "style": "short"}


def table(
    path: Path, texts: Iterable[str], source: str = "synthetic_short", decode: dict[str, Any] | None = None
) -> list[Path]:
    """Write texts as captions of one image each, in order of key."""
    written = source.startswith("synthetic")
    decode = DECODE if decode is None else decode
    rows = [
        {
            "caption_id": caption_id(f"{number:032x}", source, text), "key": f"{number:032x}", "source": source,
            "caption": text, "captioner": WRITER if written else None,
            "decode": json.dumps(decode, sort_keys=True), "seed": 0 if written else None, "log_probability": None,
        }
        for number, text in enumerate(texts)
    ]  # fmt: skip
    write_table(path, rows, CAPTIONS)
    return [path]


def measured(**files: Any) -> list[dict[str, Any]]:
    return list(caption_tics(**files).to_pylist())


def tics_of(tmp_path: Path, texts: Iterable[str]) -> list[dict[str, Any]]:
    return measured(captions=table(tmp_path / "captions.parquet", texts))


def figure(rows: list[dict[str, Any]], tic: str) -> float:
    [row] = [row for row in rows if row["tic"] == tic]
    return float(row["value"])


def texts_of(rows: list[dict[str, Any]], tic: str, source: str | None = None) -> dict[str, float]:
    return {row["text"]: row["value"] for row in rows if row["tic"] == tic and source in (None, row["source"])}


def test_lengths_are_counted_in_words(tmp_path: Path) -> None:
    rows = tics_of(tmp_path, ["", "red", "a red dog's t-shirt", "a red, red fox"])
    assert figure(rows, "words_mean") == pytest.approx(9 / 4)
    assert figure(rows, "words_sd") == pytest.approx(math.sqrt(33 / 4 - (9 / 4) ** 2))
    assert figure(rows, "words_p50") == 2.5
    assert {row["rank"]: row["value"] for row in rows if row["tic"] == "length"} == {0: 0.25, 1: 0.25, 4: 0.5}


def test_openings_are_shares_with_their_entropy(tmp_path: Path) -> None:
    rows = tics_of(tmp_path, ["A photo of a fox"] * 4 + ["a photo of snow"] * 3 + ["A dog runs"] * 3 + ["why not"] * 2)
    assert texts_of(rows, "opening_3") == pytest.approx({"a photo of": 7 / 12, "a dog runs": 3 / 12})
    assert texts_of(rows, "opening_1") == pytest.approx({"a": 10 / 12})
    shares = (7 / 12, 3 / 12, 2 / 12)
    assert figure(rows, "opening_3_entropy") == pytest.approx(-sum(share * math.log2(share) for share in shares))
    assert [row["rank"] for row in rows if row["tic"] == "opening_2"] == [1, 2]


CASES = {
    "a red fox": "lower",
    "A red fox": "sentence",
    "“A red Fox”": "sentence",
    "Fox": "sentence",
    "The Fox in the Snow": "title",
    "RED FOX": "upper",
    "USA": "sentence",
    "iPhone on a desk": "mixed",
    "Älter Werden": "title",
    "3 × 5": "no letters",
    "": "no letters",
    "狐": "no letters",
}
ENDINGS = {
    "a fox": ("no mark", False),
    "a fox. ": (".", False),
    "a fox!": ("!", False),
    "a fox,": (",", True),
    "a fox …": ("…", True),
    "a fox...": ("…", True),
    "a fox)": ("another mark", False),
    "a fox on a": ("no mark", True),
    "one two three four five six seven": ("no mark", False),
    "one two three four five six seven eight": ("no mark", True),
    "": ("nothing", False),
}


def apart(tmp_path: Path, texts: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the tics of each text, measured as a source of its own."""
    files = [
        table(tmp_path / f"{number}.parquet", [text], decode={**DECODE, "text": text})[0]
        for number, text in enumerate(texts)
    ]
    tics: dict[str, list[dict[str, Any]]] = {}
    for row in measured(captions=files):
        tics.setdefault(json.loads(row["decode"])["text"], []).append(row)
    return tics


def test_case_is_told(tmp_path: Path) -> None:
    assert {text: list(texts_of(rows, "case")) for text, rows in apart(tmp_path, CASES).items()} == {
        text: [case] for text, case in CASES.items()
    }


def test_endings_tell_what_was_cut_off(tmp_path: Path) -> None:
    found = {
        text: (*texts_of(rows, "ending"), figure(rows, "cut_off") == 1)
        for text, rows in apart(tmp_path, ENDINGS).items()
    }
    assert found == ENDINGS


def test_a_repeated_caption_is_one_that_another_image_has_too(tmp_path: Path) -> None:
    rows = tics_of(tmp_path, ["a fox"] * 3 + ["a dog"] * 2 + ["a cat"])
    assert figure(rows, "repeated") == pytest.approx(5 / 6)
    assert texts_of(rows, "repeated_text") == {"a fox": 0.5}
    assert figure(rows, "vocabulary") == 4


def test_two_captions_of_one_image_repeat_nothing(tmp_path: Path) -> None:
    path = tmp_path / "captions.parquet"
    table(path, ["a fox", "a dog"])
    more = table(tmp_path / "more.parquet", ["a red fox", "a dog"])
    both = measured(captions=[path, *more])
    assert figure(both, "captions") == 3
    assert figure(both, "images") == 2
    assert figure(both, "repeated") == 0


def test_sources_of_unequal_size_are_compared_on_equally_many(tmp_path: Path) -> None:
    rng = random.Random(0)
    said = [" ".join(rng.choices("abcdefgh", k=4)) for _ in range(3000)]
    people = table(tmp_path / "human.parquet", said[:300], "human", {"style": "short"})
    few = table(tmp_path / "few.parquet", said[:20], "synthetic_descriptive")
    rows = measured(captions=[*table(tmp_path / "all.parquet", said), *people, *few])
    by_source = {source: [row for row in rows if row["source"] == source] for source in ("human", "synthetic_short")}
    assert figure(by_source["human"], "compared_captions") == 300
    for tic in ("captions", "repeats", "distinct_1", "distinct_2"):
        ours = figure(by_source["synthetic_short"], f"compared_{tic}")
        assert ours == pytest.approx(figure(by_source["human"], f"compared_{tic}"))
    words = [text.split() for text in said[:300]]
    pairs = {pair for text in words for pair in pairwise(text)}
    assert figure(by_source["human"], "compared_distinct_1") == pytest.approx(8 / 1200)
    assert figure(by_source["human"], "compared_distinct_2") == pytest.approx(len(pairs) / 900)
    assert figure(by_source["synthetic_short"], "repeated") > figure(by_source["human"], "repeated")
    alone = measured(captions=[tmp_path / "all.parquet"])
    assert figure(alone, "compared_captions") == COMPARED


def test_words_that_people_use_less_are_named(tmp_path: Path) -> None:
    people = table(tmp_path / "human.parquet", ["a fox in the snow", "the dog"] * 60, "human", {"style": "short"})
    other = table(tmp_path / "other.parquet", ["stunning view"] * 90, "human", {"style": "descriptive"})
    ours = table(tmp_path / "ours.parquet", ["a stunning fox in the snow", "the stunning dog"] * 60)
    rows = measured(captions=[*people, *other, *ours])
    assert list(texts_of(rows, "overused", "synthetic_short")) == ["stunning"]
    assert texts_of(rows, "overused", "human") == {}
    same = measured(captions=[*people, *table(tmp_path / "same.parquet", ["a fox in the snow"] * 120)])
    assert texts_of(same, "overused") == {}


def test_without_people_no_word_is_overused(tmp_path: Path) -> None:
    assert texts_of(tics_of(tmp_path, ["fox"] * 50), "overused") == {}


def test_captioners_and_decodings_stand_side_by_side(tmp_path: Path) -> None:
    now = table(tmp_path / "now.parquet", ["a fox"] * 3)
    beams = table(tmp_path / "beams.parquet", ["a dog"] * 5, decode={**DECODE, "beams": 3})
    again = table(tmp_path / "again.parquet", ["a cat"] * 7)
    rows = measured(captions=now, earlier=[*beams, *again])
    counted = {(row["current"], row["decode"]): row["value"] for row in rows if row["tic"] == "captions"}
    assert counted == {
        (True, json.dumps(DECODE)): 3,
        (False, json.dumps({"beams": 3, **DECODE})): 5,
        (False, json.dumps(DECODE)): 7,
    }


def test_verdicts_are_told_with_their_reasons(tmp_path: Path) -> None:
    captions = table(tmp_path / "captions.parquet", ["a fox"] * 4)
    rows = [
        {
            "caption_id": f"{number}",
            "key": f"{number:032x}",
            "source": "synthetic_short",
            "kept": kept,
            "reason": reason,
        }
        for number, (kept, reason) in enumerate([(True, "kept"), (False, "itm"), (False, "itm"), (False, "too_long")])
    ]
    write_table(tmp_path / "verdicts.parquet", rows, VERDICTS)
    tics = measured(captions=captions, earlier=captions, verdicts=[tmp_path / "verdicts.parquet"])
    assert texts_of(tics, "kept") == {None: 0.25}
    assert texts_of(tics, "rejected") == {"itm": 0.5, "too_long": 0.25}


def test_a_text_that_two_captions_share_is_not_told(tmp_path: Path) -> None:
    rows = tics_of(tmp_path, ["my neighbour Jo"] * 2 + ["a fox"] * 3)
    told = {row["text"] for row in rows if row["tic"].startswith(("opening", "repeated_text", "overused"))}
    assert told == {"a", "a fox", None}


def test_no_caption_has_no_tics() -> None:
    assert measured() == []


def test_the_order_of_captions_does_not_matter(tmp_path: Path) -> None:
    rng = random.Random(1)
    path = tmp_path / "captions.parquet"
    first = tics_of(
        tmp_path, [" ".join(rng.choices(["a", "red", "fox", "dog"], k=rng.randint(1, 9))) for _ in range(500)]
    )
    rows = read_rows(path, CAPTIONS)
    rng.shuffle(rows)
    write_table(path, rows, CAPTIONS)
    assert measured(captions=[path]) == first

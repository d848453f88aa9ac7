"""Hygiene of texts: what cannot be seen goes, what speaks against a text is said, and hostile texts cost no time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_assets.crawl.config import TextConfig
from t2i_assets.crawl.texts import LABELS, clean, label

CONFIG = TextConfig()


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("a &amp;amp;quot;red&amp;amp;quot; ball", 'a "red" ball'),
        ("exam\u00adple of a zero\u200bwidth space", "example of a zerowidth space"),
        ("\u202eturned around\u202c \u2066here\u2069", "turned around here"),
        ("tagged\U000e0041\U000e0042 text", "tagged text"),
        ("one\x00two\x1bthree", "one two three"),
        ("cafe\u0301", "café"),
        ("family \U0001f468\u200d\U0001f469\u200d\U0001f467", "family \U0001f468\u200d\U0001f469\u200d\U0001f467"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("  much \n\t space \u00a0 ", "much space"),
    ],
)
def test_what_cannot_be_seen_goes_and_what_is_meant_stays(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize("text", ["cafÃ© au lait on a table", "itâ€™s a dog in the park", "a dog \ufffd in the park"])
def test_mojibake_is_labelled_and_kept(text: str) -> None:
    assert "mojibake" in label(clean(text), CONFIG)
    assert clean(text) == text


@pytest.mark.parametrize("text", ["a café on the corner", "it’s a dog in the park", "señor Muñoz at the naïve façade"])
def test_accents_are_no_mojibake(text: str) -> None:
    assert "mojibake" not in label(clean(text), CONFIG)


@given(st.text())
def test_cleaning_leaves_nothing_that_it_would_take(text: str) -> None:
    cleaned = clean(text)
    assert cleaned == " ".join(cleaned.split())
    if "&" not in cleaned:
        assert clean(cleaned) == cleaned
    assert not any(ord(character) < 32 or character in "\u00ad\u200b\u202e" for character in cleaned)
    found = label(cleaned, CONFIG)
    assert found == [name for name in LABELS if name in found]


@pytest.mark.parametrize("digits", [5_000, 1_000_000])
def test_a_reference_of_any_length_is_resolved(digits: int) -> None:
    assert clean(f"a &#{'9' * digits}; ball") == "a \ufffd ball"
    assert clean(f"a &amp;#{'9' * digits}; ball") == "a \ufffd ball"


def test_many_marks_are_kept_and_cleaned_once_and_for_all() -> None:
    cleaned = clean("e" + "\u0301\u0327" * 500)
    assert cleaned.count("\u0301") == 500
    assert clean(cleaned) == cleaned


HOSTILE = {
    "spaces": " \t",
    "entities": "&amp;",
    "half an entity": "&#",
    "file name parts": "a_",
    "braces": "{{",
    "tags": "<a ",
    "the": "the ",
    "digits": "9",
    "per cent": "50% ",
    "parts": "a,",
    "combining marks": "e\u0301\u0327",
    "marks out of order": "\u0301\u0327",
    "mojibake": "Ã",
    "www": "www.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_time_grows_with_the_length_alone(name: str) -> None:
    def seconds(length: int) -> float:
        text = (HOSTILE[name] * length)[:length]
        started = time.process_time()
        label(clean(text), CONFIG)
        return time.process_time() - started

    label(clean("a text that wakes everything up"), CONFIG)
    quarter = min(seconds(250_000) for _ in range(2))
    assert seconds(1_000_000) < 12 * max(quarter, 0.05)

"""What a prompt of T2I-CompBench asks for, from its text: chunks, relation and counts, as the published code reads.

The faults of that reading are switched in ``faults``.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from evaluation.facts import Facts, Relation, Wanted, parse_facts
from evaluation.faults import Faults
from evaluation.places import WITHOUT_RULE
from evaluation.reading.parser import NOUN, Parsed, Parser, Word, joined
from evaluation.reading.rule_parser import ARTICLES, NUMBER_WORDS, PLACES

RELATIONS = {
    "on side of": "on side of", "next to": "next to", "near": "near", "on the left of": "left of",
    "on the right of": "right of", "on the bottom of": "below", "on the top of": "above", "on top of": WITHOUT_RULE,
}  # fmt: skip
"""Phrases of two dimensions, in the published order of search, and the relation of each."""
DEPTH_RELATIONS = {phrase: phrase for phrase in ("in front of", "behind", "hidden")}
FURTHER_RELATIONS = {
    "to the left of": "left of", "to the right of": "right of", "left of": "left of", "right of": "right of",
    "above": "above", "over": "above", "below": "below", "under": "below", "beside": "next to",
}  # fmt: skip
"""Phrases that the published search does not know."""
OFFICIAL_PLACES = frozenset(("top", "the side", "the left", "the right"))
LABELS = {
    **dict.fromkeys(("girl", "boy", "man", "woman"), "person"),
    "ship": "boat", "television": "tv", "telivision": "tv", "goldfish": "fish", "painting": "picture",
}  # fmt: skip
"""Nouns that detectors know by another name."""


class UnreadableError(ValueError):
    """The prompt does not say what its category is about, or the parser does not find it; the message says what."""


def facts_of(prompt: Mapping[str, Any], parser: Parser, faults: Faults) -> Facts:
    """Return what a row of PROMPTS asks for: its facts, or what its text says where it has none.

    Raises UnreadableError where the text does not say what its category needs.
    """
    stored = json.loads(prompt["facts"])
    if "objects" in stored:
        return parse_facts(prompt["facts"])
    return read_prompt(prompt["category"], prompt["prompt"], stored.get("parts"), parser, faults)


def read_prompt(category: str, text: str, parts: list[str] | None, parser: Parser, faults: Faults) -> Facts:
    """Return what the text of a prompt of a category asks for; ``parts`` are those of a complex prompt."""
    parsed = parser.parse(text.strip().rstrip("."))
    if category == "non_spatial":
        return Facts(())
    if category == "numeracy":
        return Facts(_counted(parsed, text))
    chunks = tuple(asked_chunks(parsed, faults))
    if category == "spatial":
        return _related(parsed, RELATIONS, faults, ends=True, text=text)
    if category == "3d_spatial":
        return _related(parsed, DEPTH_RELATIONS, faults, ends=True, text=text)
    if category != "complex":
        return Facts((), chunks=chunks)
    named = tuple(parts) if parts is not None else None
    if named is not None and "spatial" not in named:
        return Facts((), chunks=chunks, parts=named)
    try:
        related = _related(parsed, RELATIONS, faults, ends=faults.complex_nouns == "official", text=text)
    except UnreadableError:
        if named is not None:
            raise
        return Facts((), chunks=chunks)
    return Facts(related.objects, related.relation, chunks=chunks, parts=named)


def asked_chunks(parsed: Parsed, faults: Faults) -> list[Wanted]:
    """Return the noun chunks that are asked about, as they are written."""
    kept = []
    for words in parsed.chunk_words():
        text = joined(words)
        place = all(word.text.lower() in PLACES | ARTICLES for word in words)
        if (faults.chunks == "official" and text in OFFICIAL_PLACES) or (faults.chunks == "corrected" and place):
            continue
        kept.append(Wanted(words[-1].lemma, words=text))
    return kept


def without_adjectives(parsed: Parsed) -> str:
    """Return the text without its adjectives."""
    return joined([word for word in parsed.words if word.kind != "ADJ"])


def _counted(parsed: Parsed, text: str) -> tuple[Wanted, ...]:
    """Return every noun that stands after a number or an article, with its count."""
    counted = []
    for words in parsed.chunk_words():
        first = words[0].text.lower()
        nouns = [word for word in words if word.kind in (NOUN, "PROPN")]
        if nouns and (first in NUMBER_WORDS or first in ("a", "an")):
            noun = " ".join([*(word.text.lower() for word in nouns[:-1]), nouns[-1].lemma])
            counted.append(Wanted(LABELS.get(noun, noun), count=NUMBER_WORDS.get(first, 1)))
    if not counted:
        raise UnreadableError(f"nothing is counted in {text!r}")
    return tuple(counted)


def _related(parsed: Parsed, phrases: Mapping[str, str], faults: Faults, ends: bool, text: str) -> Facts:
    found = _find_relation(parsed, phrases, faults)
    nouns = [(place, word) for place, word in parsed.nouns]
    if len(nouns) < 2:
        raise UnreadableError(f"no two nouns in {text!r}")
    if found is None and not ends:
        raise UnreadableError(f"no relation in {text!r}")
    kind, start, end = found or (WITHOUT_RULE, 0, 0)
    if ends:
        first, last = nouns[0][1], nouns[-1][1]
    else:
        before = [word for place, word in nouns if place < start]
        after = [word for place, word in nouns if place >= end]
        if not before or not after:
            raise UnreadableError(f"no noun on either side of the relation in {text!r}")
        first, last = before[-1], after[0]
    return Facts((_noun(first), _noun(last)), Relation(kind, 0, 1))


def _noun(word: Word) -> Wanted:
    return Wanted(LABELS.get(word.lemma, word.lemma))


def _find_relation(parsed: Parsed, phrases: Mapping[str, str], faults: Faults) -> tuple[str, int, int] | None:
    """Return the relation that the text states, with the first word of its phrase and the word after it."""
    words = [word.text.lower() for word in parsed.words]
    text = " ".join(words)
    official = faults.substrings == "official"
    known = phrases if official else {**phrases, **(FURTHER_RELATIONS if phrases is RELATIONS else {})}
    for phrase, kind in known.items():
        at = text.find(phrase) if official else _whole(phrase, text)
        if at < 0:
            continue
        start = text[:at].count(" ")
        corrected = kind == WITHOUT_RULE and faults.on_top_of == "corrected"
        return "above" if corrected else kind, start, start + phrase.count(" ") + 1
    return None


def _whole(phrase: str, text: str) -> int:
    match = re.search(rf"\b{re.escape(phrase)}\b", text)
    return -1 if match is None else match.start()

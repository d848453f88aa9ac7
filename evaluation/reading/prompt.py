"""What a prompt of T2I-CompBench asks for, from its text: chunks, relation and counts, as the published code reads.

The faults of that reading are switched in ``faults``.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evaluation.facts import Facts, Relation, Wanted, parse_facts
from evaluation.faults import Faults
from evaluation.places import NO_RELATION, ON_TOP_OF
from evaluation.reading.counting import count_nouns, read_counted_nouns
from evaluation.reading.opening import open_parser
from evaluation.reading.parser import NOUN, Parsed, Parser, joined
from evaluation.reading.rule_parser import ARTICLES, PLACES

RELATIONS = {
    "on side of": "on side of", "next to": "next to", "near": "near", "on the left of": "left of",
    "on the right of": "right of", "on the bottom of": "below", "on the top of": "above", "on top of": ON_TOP_OF,
}  # fmt: skip
"""Phrases of two dimensions, in the published order of search, and the relation of each."""
DEPTH_RELATIONS = {phrase: phrase for phrase in ("in front of", "behind", "hidden")}
FURTHER_RELATIONS = {
    "to the left of": "left of", "to the right of": "right of", "left of": "left of", "right of": "right of",
    "above": "above", "over": "above", "below": "below", "under": "below", "beside": "next to",
}  # fmt: skip
"""Phrases that the published search does not know."""
OFFICIAL_PLACES = frozenset(("top", "the side", "the left", "the right"))
MOST_CHUNKS = 8


class UnreadableError(ValueError):
    """The prompt does not say what its category is about, or the parser does not find it; the message says what."""


@dataclass(frozen=True)
class Reader:
    """How prompts without facts are read; ``singulars`` are the nouns that may be counted, where they are named."""

    parser: Parser
    faults: Faults
    singulars: Mapping[str, str] | None = None

    def facts_of(self, prompt: Mapping[str, Any]) -> Facts:
        """Return what a row of PROMPTS asks for: its facts, or what its text says where it has none.

        Raises UnreadableError where the text does not say what its category needs.
        """
        if is_declared(prompt):
            return parse_facts(prompt["facts"])
        return self.read(prompt["category"], prompt["prompt"], json.loads(prompt["facts"]).get("parts"))

    def read(self, category: str, text: str, parts: list[str] | None = None) -> Facts:
        """Return what the text of a prompt of a category asks for; ``parts`` are those of a complex prompt.

        Raises UnreadableError, and ValueError where prompts of numeracy are to be read without a list of nouns.
        """
        if category == "non_spatial":
            return Facts(())
        parsed = self.parser.parse(text.strip())
        if category == "numeracy":
            return Facts(self._counted(parsed, text))
        if parsed.sentence:
            raise UnreadableError(
                f"{text!r} is a sentence, and the parser rule reads phrases: set t2i_compbench.parser to a pipeline of "
                "spaCy such as en_core_web_sm"
            )
        if category in ("spatial", "3d_spatial"):
            return _related(parsed, RELATIONS if category == "spatial" else DEPTH_RELATIONS, self.faults, True, text)
        chunks = asked_chunks(parsed, self.faults)
        if not chunks and self.faults.no_chunk == "corrected":
            raise UnreadableError(f"no noun chunk in {text!r}")
        asked = Facts((), chunks=chunks)
        return asked if category != "complex" else self._complex(asked, parsed, text, parts)

    def _complex(self, asked: Facts, parsed: Parsed, text: str, parts: list[str] | None) -> Facts:
        """Add the relation, where the prompt's file names it as a part or, for want of a file, where there is one."""
        named = None if parts is None else tuple(parts)
        if named is None:
            asked = replace(asked, unread="no file names the parts of the prompt: no interaction is scored")
        if named is not None and "spatial" not in named:
            return replace(asked, parts=named)
        try:
            ends = self.faults.complex_nouns == "official"
            related = _related(parsed, RELATIONS, self.faults, ends, text)
        except UnreadableError as error:
            if named is None:
                return asked
            left = tuple(part for part in named if part != "spatial")
            return replace(asked, parts=left, unread=f"left out the relation: {error}")
        return replace(asked, objects=related.objects, relation=related.relation, parts=named)

    def _counted(self, parsed: Parsed, text: str) -> tuple[Wanted, ...]:
        if self.singulars is None:
            raise ValueError(
                "prompts of numeracy without facts count the nouns of a list: name T2I-CompBench's new_objects.txt in "
                "t2i_compbench.counted_nouns"
            )
        as_written = self.faults.nouns == "official"
        words = [word.text if as_written else word.text.lower() for word in parsed.words]
        counted = count_nouns(words, self.singulars)
        if not counted:
            raise UnreadableError(f"no noun of t2i_compbench.counted_nouns is counted in {text!r}")
        return tuple(Wanted(noun, count=count) for noun, count in counted)


def is_declared(prompt: Mapping[str, Any]) -> bool:
    """Return whether the facts of a row of PROMPTS say which objects are wanted, so that its text need not be read."""
    return "objects" in json.loads(prompt["facts"])


def open_reader(parser: str, faults: Faults, counted_nouns: str | None) -> Reader:
    """Return the reader of a configuration. Raises ValueError where the parser or the list of nouns is not there."""
    singulars = None if counted_nouns is None else read_counted_nouns(Path(counted_nouns))
    return Reader(open_parser(parser), faults, singulars)


def asked_chunks(parsed: Parsed, faults: Faults) -> tuple[str, ...]:
    """Return the noun chunks that are asked about, as they are written."""
    kept = []
    for words in parsed.chunk_words():
        text = joined(words)
        place = all(word.text.lower() in PLACES | ARTICLES for word in words)
        if (faults.chunks == "official" and text in OFFICIAL_PLACES) or (faults.chunks == "corrected" and place):
            continue
        kept.append(text)
    return tuple(kept[:MOST_CHUNKS] if faults.most_chunks == "official" else kept)


def without_adjectives(parsed: Parsed) -> str:
    """Return the text without its adjectives."""
    return joined([word for word in parsed.words if word.kind != "ADJ"])


def _related(parsed: Parsed, phrases: Mapping[str, str], faults: Faults, ends: bool, text: str) -> Facts:
    """Return the two nouns and their relation: the first and the last noun, or without ``ends`` those beside it."""
    official = faults.nouns == "official"
    nouns = [(place, word) for place, word in parsed.nouns if not official or word.kind == NOUN]
    if len(nouns) < (1 if official else 2):
        raise UnreadableError(f"no {'noun' if official else 'two nouns'} in {text!r}")
    found = _find_relation(parsed, phrases, faults)
    if found is None and (not ends or faults.no_relation == "corrected"):
        raise UnreadableError(f"no relation in {text!r}")
    kind, start, end = found or (NO_RELATION, 0, 0)
    if ends:
        first, last = nouns[0][1], nouns[-1][1]
    else:
        before = [word for place, word in nouns if place < start]
        after = [word for place, word in nouns if place >= end]
        if not before or not after:
            raise UnreadableError(f"no noun on either side of the relation in {text!r}")
        first, last = before[-1], after[0]
    return Facts(tuple(Wanted(word.text if official else word.lemma) for word in (first, last)), Relation(kind, 0, 1))


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
        corrected = kind == ON_TOP_OF and faults.on_top_of == "corrected"
        return "above" if corrected else kind, start, start + phrase.count(" ") + 1
    return None


def _whole(phrase: str, text: str) -> int:
    match = re.search(rf"\b{re.escape(phrase)}\b", text)
    return -1 if match is None else match.start()

"""Noun chunks without a model: a determiner, number or first word after a function word opens one, the next closes it.

Made for the language of the embedded domain and for phrases like T2I-CompBench's templates ("a green bench and a blue
bowl"). It knows no verbs, so it marks what looks like a sentence: what begins with a capital, ends with a full stop or
has function words beyond those that join two phrases. A verb that nothing of this gives away ("a fluffy cat slept") is
taken for a noun. Sentences want spaCy.
"""

import re

from evaluation.reading.parser import NOUN, Parsed, Word

ARTICLES = frozenset(("a", "an", "the", "his", "her", "its", "their", "this", "that", "some"))
NUMBER_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10
}  # fmt: skip
FUNCTION_WORDS = frozenset(
    (
        "and", "or", "with", "without", "of", "on", "in", "at", "to", "by", "for", "from", "as", "into", "onto",
        "over", "under", "above", "below", "beside", "behind", "against", "near", "next", "between", "around",
        "through", "inside", "while", "is", "are", "was", "were", "be", "being", "has", "have", "had", "there",
        "hidden", "it", "he", "she", "they", "who", "which",
    )
)  # fmt: skip
PLACES = frozenset(("left", "right", "top", "bottom", "side", "front", "middle", "back", "center"))
"""Nouns that say where, after an article or "on" and "in"; elsewhere ("left of") they are function words."""
IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "mice": "mouse", "geese": "goose",
    "feet": "foot", "knives": "knife", "leaves": "leaf", "shelves": "shelf", "loaves": "loaf", "wolves": "wolf",
    "tomatoes": "tomato", "potatoes": "potato",
}  # fmt: skip
JOINTS = re.compile(
    r"\b(?:and|of|near|next to|hidden by|in front of|behind|above|over|below|under|beside"
    r"|(?:on|to) (?:the )?(?:left|right|top|bottom|side) of|(?:on|against) (?=an? \w+ background))\b"
)
"""What may stand between the phrases of a text that is no sentence."""
SAME = frozenset(("sheep", "fish", "deer", "glasses", "scissors", "pants", "jeans", "shorts"))


class RuleParser:
    """The rules above."""

    identity = "rule-2"

    def parse(self, text: str) -> Parsed:
        """Return words and noun chunks; the last word of a chunk is its noun, those between are adjectives."""
        texts = re.findall(r"[\w'-]+|[^\w\s]", text)
        lower = [word.lower() for word in texts]
        chunks = _chunks(lower)
        kinds = ["X"] * len(texts)
        for start, end in chunks:
            for place in range(start, end):
                kinds[place] = _kind(lower[place], last=place == end - 1)
        words = tuple(
            Word(word, kind, singular(word.lower()) if kind == NOUN else word.lower())
            for word, kind in zip(texts, kinds, strict=True)
        )
        return Parsed(words, chunks, sentence=_is_sentence(text))


def _is_sentence(text: str) -> bool:
    between = re.findall(r"[\w'-]+", JOINTS.sub(" ", text.lower()))
    return text[:1].isupper() or text.endswith(".") or not FUNCTION_WORDS.isdisjoint(between)


def _chunks(words: list[str]) -> tuple[tuple[int, int], ...]:
    chunks: list[tuple[int, int]] = []
    start: int | None = None
    for place, word in enumerate(words):
        if start is not None and (_opens(word) or _closes(words, place)):
            chunks.append((start, place))
            start = None
        if start is None and not _closes(words, place):
            start = place
    if start is not None:
        chunks.append((start, len(words)))
    return tuple(chunk for chunk in chunks if not all(_opens(word) for word in words[slice(*chunk)]))


def _opens(word: str) -> bool:
    return word in ARTICLES or word in NUMBER_WORDS


def _closes(words: list[str], place: int) -> bool:
    word, before = words[place], words[place - 1] if place else ""
    if word in PLACES:
        return before not in ARTICLES and before not in ("on", "in")
    doing = word.endswith("ing") and before in ("is", "are", "was", "were", "and", "person")
    return doing or word in FUNCTION_WORDS or not re.match(r"\w", word)


def _kind(word: str, last: bool) -> str:
    if word in NUMBER_WORDS:
        return "NUM"
    if word in ARTICLES:
        return "DET"
    return NOUN if last else "ADJ"


def singular(noun: str) -> str:
    """Return the singular of an English noun."""
    if noun in SAME:
        return noun
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith("ies") and len(noun) > 4:
        return noun[:-3] + "y"
    if noun.endswith(("ches", "shes", "xes", "sses")):
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and not noun.endswith(("ss", "us")) else noun

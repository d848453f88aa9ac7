"""Variants of texts that are true of an image: shorter ones, which stay true, and changed ones, nearly all false.

What may be left out or exchanged is learnt from texts alone, so no vocabulary is built in. A text is fluent where each
three neighbouring words of it, its ends included, were seen together. Leaving out words of a true text keeps it true;
exchanging one for another of the same context nearly always makes it false, unless the two mean the same, which shows
where captions of one image differ in nothing else.

Source: Yuksekgonul et al., "When and Why Vision-Language Models Behave like Bags-of-Words" (2023), section 4 (NegCLIP):
negatives made by exchanging words of the caption. Theirs swap words within a caption by part of speech; here words
also come from elsewhere, by context.
"""

import itertools
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

START, END = "<start>", "<end>"
LEFT_OUT = 2  # words that may be missing between two neighbours of a text that a caption implies
TRIES = 8
DROP = 0.35  # chance that a word is left out where the rest stays fluent
FRAME = 0.3  # chance of words around a text that say nothing
FRAME_WORDS, FRAME_TEXTS = 3, 3
CUT = 0.7  # chance that a shortened text is a passage of the whole one

Words = list[str]


def words_of(text: str) -> Words:
    """Return lower-case words and punctuation marks."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


class TextVariants:
    """Learns from ``texts_of_image``, the captions of each image, and from ``others``, texts of any truth."""

    def __init__(self, texts_of_image: Iterable[Sequence[str]], others: Iterable[str] = ()) -> None:
        self._seen: set[tuple[str, str, str]] = set()
        self._between: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._same: set[tuple[str, str]] = set()
        groups = [[words_of(text) for text in texts] for texts in texts_of_image]
        strangers = [words_of(text) for text in others]
        self._learn(itertools.chain.from_iterable(groups))
        self._frames = self._frames_of(strangers)
        self._learn(strangers)
        for group in groups:
            for one, other in itertools.permutations(group, 2):
                if len(one) == len(other):
                    differing = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
                    if len(differing) == 1:
                        self._same.add(differing[0])

    def shortened(self, text: str, rng: random.Random) -> str:
        """Return a passage of the text, with words left out; the text itself where nothing of it can go."""
        words = self._passage(words_of(text), rng) if rng.random() < CUT else words_of(text)
        for place in reversed(range(len(words))):
            without = words[:place] + words[place + 1 :]
            if rng.random() < DROP and without and self._fluent(without):
                words = without
        return " ".join(words)

    def changed(self, text: str, truths: Sequence[str], rng: random.Random, exchange: bool = True) -> str | None:
        """Return the text with one word that stands in none of ``truths``, all captions of the image, in the place of
        another, or, with ``exchange``, with two of its words in each other's place: nearly always false of the image.
        None where it cannot be changed.
        """
        words, known = words_of(text), {word for truth in truths for word in words_of(truth)}
        for place in rng.sample(range(len(words)), len(words)):
            others = self._others(words, place)
            strange = [word for word in others if word not in known and (words[place], word) not in self._same]
            partners = [other for other in range(len(words)) if words[other] in others] if exchange else []
            versions = [_put(words, {place: word}) for word in strange]
            swaps = [_put(words, {place: words[partner], partner: words[place]}) for partner in partners]
            for kind in rng.sample((versions, swaps), 2):
                fluent = [version for version in kind if self._fluent(version)]
                if fluent:
                    return " ".join(rng.choice(fluent))
        return None

    def framed(self, text: str, other: str, rng: random.Random) -> tuple[str, str]:
        """Return both texts with the same words before or after them, such as "photo:" or a full stop; often with none.

        Such words say nothing: they stand around what reads like a caption, and in no caption.
        """
        if not self._frames or rng.random() >= FRAME:
            return text, other
        before, after = rng.choice(self._frames)
        return before + text + after, before + other + after

    def _learn(self, texts: Iterable[Words]) -> None:
        for words in texts:
            for before, word, after in _threes(words):
                if (before, word, after) not in self._seen:
                    self._seen.add((before, word, after))
                    self._between[before, after].append(word)

    def _frames_of(self, strangers: Iterable[Words]) -> list[tuple[str, str]]:
        """Return what stands around ``FRAME_TEXTS`` different texts or more that are fluent without it.

        It is at most ``FRAME_WORDS`` on either side, and its outermost word stands in no caption. A thing that no
        caption names but many other texts do at their end would be taken for a frame too.
        """
        known = {word for _, word, _ in self._seen}
        inside: dict[tuple[str, str], set[str]] = defaultdict(set)
        for words in strangers:
            starts = range(1, FRAME_WORDS + 1) if words and words[0] not in known else (0,)
            cuts = range(1, FRAME_WORDS + 1) if words and words[-1] not in known else (0,)
            for start, cut in itertools.product(starts, cuts):
                inner = words[start : len(words) - cut]
                if start + cut and len(inner) > 1 and self._fluent(inner):
                    before = "".join(f"{word} " for word in words[:start])
                    after = "".join(f" {word}" for word in words[len(words) - cut :])
                    inside[before, after].add(" ".join(inner))
        return sorted(frame for frame, texts in inside.items() if len(texts) >= FRAME_TEXTS)

    def _others(self, words: Words, place: int) -> Words:
        """Return other words that were seen between the neighbours of a word; of a punctuation mark, none."""
        if not words[place].isalpha():
            return []
        before, after = [START, *words][place], [*words, END][place + 1]
        return [word for word in self._between[before, after] if word != words[place] and word.isalpha()]

    def _passage(self, words: Words, rng: random.Random) -> Words:
        for _ in range(TRIES):
            start, stop = sorted(rng.sample(range(len(words) + 1), 2))
            if self._fluent(words[start:stop]):
                return words[start:stop]
        return words

    def _fluent(self, words: Words) -> bool:
        return self._seen.issuperset(_threes(words))


def near_pairs(texts: Iterable[str]) -> set[tuple[str, str]]:
    """Return the pairs of words that follow each other in the texts with at most ``LEFT_OUT`` words between them, and
    each word with itself.
    """
    pairs = set()
    for words in map(words_of, texts):
        for place, word in enumerate(words):
            pairs |= {(word, later) for later in words[place + 1 : place + LEFT_OUT + 2]}
            pairs.add((word, word))
    return pairs


def neighbours(text: str) -> set[tuple[str, str]]:
    """Return the pairs of neighbouring words, or the one word with itself: a text whose neighbours are all among the
    ``near_pairs`` of an image's captions may be a shorter version of one of them.
    """
    words = words_of(text)
    return set(itertools.pairwise(words)) if len(words) > 1 else {(word, word) for word in words}


def _put(words: Words, changes: dict[int, str]) -> Words:
    return [changes.get(place, word) for place, word in enumerate(words)]


def _threes(words: Words) -> Iterable[tuple[str, str, str]]:
    return zip([START, *words], words, [*words[1:], END], strict=False)

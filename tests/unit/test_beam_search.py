"""Beam search finds what a search without a cache finds, and the very best text where its beams hold all beginnings."""

import itertools
import math

import pytest
import torch

from training.models.beam import beam_search
from training.models.decoder import Ending

VOCABULARY, END, START = 5, 4, 3
LENGTH = 4


class LastThree:
    """A language model of random logits that looks at the image and at the last three tokens."""

    def __init__(self, images: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(images, *[VOCABULARY + 1] * 3, VOCABULARY, generator=generator) * 1.5
        self.image = torch.arange(images)
        self.seen = torch.full((images, 3), VOCABULARY)
        self.rows_done: list[int] = []

    def logits(self, image: int, tokens: tuple[int, ...]) -> torch.Tensor:
        last = ((VOCABULARY,) * 3 + tokens)[-3:]
        return self.table[image, last[0], last[1], last[2]]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self.rows_done.append(len(tokens))
        self.seen = torch.cat([self.seen[:, 1:], tokens[:, None]], dim=1)
        return self.table[self.image, self.seen[:, 0], self.seen[:, 1], self.seen[:, 2]]

    def select(self, rows: torch.Tensor, beams: int = 1) -> None:
        self.image, self.seen = self.image[rows], self.seen[rows]
        assert all(len(set(group)) == 1 for group in self.image.view(-1, beams).tolist())

    def first(self) -> torch.Tensor:
        return self.table[:, VOCABULARY, VOCABULARY, VOCABULARY]

    def log_probability(self, image: int, tokens: tuple[int, ...]) -> float:
        parts = (self.logits(image, tokens[:n]).log_softmax(0)[tokens[n]] for n in range(len(tokens)))
        return float(sum(parts))


def ending(min_tokens: int = 0) -> Ending:
    return Ending((END,), (START,), min_tokens, LENGTH)


def exhaustive(model: LastThree, image: int, penalty: float, min_tokens: int) -> tuple[int, ...]:
    """Return the best of all texts, the end left out."""
    words = [token for token in range(VOCABULARY) if token not in (END, START)]
    found = []
    for length in range(LENGTH + 1):
        for tokens in itertools.product(words, repeat=length):
            whole = tokens if length == LENGTH else (*tokens, END)
            if length >= min_tokens:
                found.append((model.log_probability(image, whole) / len(whole) ** penalty, tokens))
    return max(found)[1]


def naive(model: LastThree, image: int, beams: int, penalty: float) -> tuple[int, ...]:
    """Return what beam search finds when every prefix is computed again and nothing ends it early."""
    running: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    finished: list[tuple[float, tuple[int, ...]]] = []
    for position in range(LENGTH):
        candidates = []
        for score, tokens in running:
            likely = model.logits(image, tokens).log_softmax(0)
            candidates += [(score + float(likely[t]), (*tokens, t)) for t in range(VOCABULARY) if t != START]
        candidates.sort(key=lambda candidate: -candidate[0])
        for score, tokens in candidates[:beams]:
            if tokens[-1] == END:
                finished.append((score / (position + 1) ** penalty, tokens[:-1]))
        running = [candidate for candidate in candidates if candidate[1][-1] != END][:beams]
    finished += [(score / LENGTH**penalty, tokens) for score, tokens in running]
    return max(finished)[1]


@pytest.mark.parametrize("penalty", [-0.5, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("min_tokens", [0, 3])
def test_with_a_beam_for_every_beginning_the_best_text_is_found(penalty: float, min_tokens: int) -> None:
    model = LastThree(12, seed=0)
    beams = 3**LENGTH
    for image, text in enumerate(beam_search(model, model.first(), ending(min_tokens), beams, penalty)):
        assert text.tokens == exhaustive(model, image, penalty, min_tokens)
        whole = text.tokens if len(text.tokens) == LENGTH else (*text.tokens, END)
        assert text.log_probability == pytest.approx(model.log_probability(image, whole), abs=1e-5)


@pytest.mark.parametrize("penalty", [-0.5, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("beams", [1, 2, 3])
def test_a_few_beams_find_what_a_search_without_a_cache_finds(beams: int, penalty: float) -> None:
    model = LastThree(40, seed=1)
    texts = beam_search(model, model.first(), ending(), beams, penalty)
    assert [text.tokens for text in texts] == [naive(model, image, beams, penalty) for image in range(40)]
    assert len({text.tokens for text in texts}) > 5


def test_images_that_are_done_leave_the_decoder() -> None:
    model = LastThree(40, seed=1)
    beam_search(model, model.first(), ending(), 2, 0.0)
    assert model.rows_done[-1] < model.rows_done[0] <= 80


def test_of_equally_good_texts_the_first_is_taken_every_time() -> None:
    model = LastThree(3, seed=0)
    model.table.zero_()
    texts = beam_search(model, model.first(), ending(min_tokens=LENGTH), 2, 1.0)
    assert [text.tokens for text in texts] == [(0,) * LENGTH] * 3
    assert texts[0].log_probability == pytest.approx(LENGTH * math.log(1 / VOCABULARY), abs=1e-5)

"""Text metrics of captions: COCO's own numbers, made without Java, and clear words on inputs that have none."""

import random

import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from evaluation.caption_metrics import bleu, cider_d, clip_s, evaluate_captions, ref_clip_s, rouge_l, words

VOCABULARY = words("a the red blue dotted circle square star on above left of and white background two")


def captions(seed: int, images: int = 40, references: int = 5) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return candidates that share words with their references, some of them empty, short or repeated."""
    rng = random.Random(seed)
    said = {
        f"image {number:02d}": [_sentence(rng, rng.randint(1, 14)) for _ in range(rng.randint(1, references))]
        for number in range(images)
    }
    written = {
        image: rng.choice([*texts, _sentence(rng, rng.randint(1, 20)), texts[0][: len(texts[0]) // 2], "red " * 9])
        for image, texts in said.items()
    }
    return written, said


def _sentence(rng: random.Random, length: int) -> str:
    return " ".join(rng.choices(VOCABULARY, k=length))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("references", [1, 5])
def test_scores_are_those_of_cocos_evaluation(seed: int, references: int) -> None:
    candidates, said = captions(seed, references=references)
    spoken = {image: [" ".join(words(text))] for image, text in candidates.items()}
    cider, ciders = Cider().compute_score(said, spoken)
    rouge, rouges = Rouge().compute_score(said, spoken)
    bleus, _ = Bleu(4).compute_score(said, spoken, verbose=0)
    scores = evaluate_captions(candidates, said).of_the_set()
    assert scores["cider_d"] == pytest.approx(cider, rel=1e-9)
    assert scores["rouge_l"] == pytest.approx(rouge, rel=1e-9)
    assert [scores[f"bleu_{n}"] for n in range(1, 5)] == pytest.approx(bleus, rel=1e-9)
    assert list(cider_d(candidates, said).values()) == pytest.approx(list(ciders), rel=1e-9, abs=1e-12)
    assert list(rouge_l(candidates, said).values()) == pytest.approx(list(rouges), rel=1e-9)


def test_a_caption_that_repeats_its_reference_has_full_scores() -> None:
    said = {"one": ["a red circle above a blue square"], "two": ["three green stars on a white background"]}
    scores = evaluate_captions({image: texts[0] for image, texts in said.items()}, said).of_the_set()
    assert scores == pytest.approx({"cider_d": 10, "bleu_1": 1, "bleu_2": 1, "bleu_3": 1, "bleu_4": 1, "rouge_l": 1})


def test_words_that_every_image_shares_weigh_nothing() -> None:
    said = {"one": ["a red circle"], "two": ["a blue star"]}
    scores = cider_d({"one": "a", "two": "a red star"}, said)
    assert scores["one"] == 0
    assert 0 < scores["two"] < 10


def test_repeating_a_rare_word_gains_nothing() -> None:
    said = {"one": ["a red circle"], "two": ["a blue star"]}
    once = cider_d({"one": "a red circle", "two": "a"}, said)["one"]
    stuffed = cider_d({"one": "a red circle red red red red", "two": "a"}, said)["one"]
    assert stuffed < once


def test_an_empty_caption_scores_nothing() -> None:
    said = {"one": ["a red circle"], "two": ["a blue star"]}
    scores = evaluate_captions({"one": "", "two": "..."}, said).of_the_set()
    assert all(value == pytest.approx(0, abs=1e-6) for value in scores.values())


@pytest.mark.parametrize(
    ("candidates", "references", "said"),
    [
        ({}, {}, "no captions to score"),
        ({"a": "red"}, {}, "image 'a' has no references"),
        ({"a": "red"}, {"a": ["red"], "b": ["blue"]}, "image 'b' has no candidate"),
        ({"a": "red"}, {"a": []}, "image 'a' has no reference"),
        ({"a": "red"}, {"a": ["red", "!"]}, "image 'a' has a reference without a word"),
    ],
)
def test_captions_and_references_must_be_about_the_same_images(
    candidates: dict[str, str], references: dict[str, list[str]], said: str
) -> None:
    for metric in (bleu, rouge_l, cider_d, evaluate_captions):
        with pytest.raises(ValueError, match=said):
            metric(candidates, references)


def test_cider_over_one_image_says_why_there_is_none() -> None:
    with pytest.raises(ValueError, match="two images or more"):
        cider_d({"a": "a red circle"}, {"a": ["a red circle"]})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Dog's ball, isn't it?", ["a", "dog", "'s", "ball", "is", "n't", "it"]),
        ("\u201cT-shirt\u201d \u2014 3.5 m; 1,000 pieces!", ["t-shirt", "3.5", "m", "1,000", "pieces"]),
        ("'some' words- and-", ["some", "words", "and"]),
        ("Cafe\u0301 d\u2019or", ["caf\u00e9", "d", "or"]),
        ("  \n", []),
    ],
)
def test_words_are_lower_case_without_punctuation(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_clip_score_is_hessels() -> None:
    assert clip_s(0.3) == pytest.approx(0.75)
    assert clip_s(-0.3) == 0
    assert ref_clip_s(0.3, [0.2, 0.5]) == pytest.approx(2 * 0.75 * 0.5 / 1.25)
    assert ref_clip_s(0.3, [-0.2]) == 0
    assert ref_clip_s(-0.1, [0.9]) == 0
    with pytest.raises(ValueError, match="needs the cosine of a reference"):
        ref_clip_s(0.3, [])

"""Judges that cannot see what prompts ask are refused before they look; what a detector does not see is asked for."""

import json
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from evaluation.asking import what_is_asked
from evaluation.config import CompBenchConfig
from evaluation.detection import Detection, Picture
from evaluation.facts import Facts, Relation, Wanted
from evaluation.faults import Faults
from evaluation.geneval import score
from evaluation.judges.config import JudgeChoice
from evaluation.judges.crops import cut_out, with_colors
from evaluation.judges.fit import check_fit
from evaluation.judges.pixels import PixelJudge
from evaluation.judges.protocol import Judge
from evaluation.reading.prompt import Reader
from evaluation.reading.rule_parser import RuleParser

CONFIG = CompBenchConfig()
LEFT_OUT = CompBenchConfig(faults=Faults(unscorable="corrected"))
BOXES = Facts((Wanted("car"), Wanted("dog")), Relation("left of", 0, 1))


class Boxes:
    """A detector that has names and nothing else."""

    vocabulary: ClassVar = {"shape": {"car", "dog", "mouse"}}

    def detect(self, images: np.ndarray) -> list[Picture]:
        raise AssertionError("it must not look")


class Answers:
    """Says yes to a colour as much as the middle of the image is of it; knows no cats."""

    def unknown(self, question: str) -> str | None:
        return "cat" if "cat" in question else None

    def answer(self, images: np.ndarray, questions: Sequence[tuple[int, str]]) -> np.ndarray:
        middle = images[:, :, images.shape[2] // 2, images.shape[3] // 2] / 255
        channel = {"red": 0, "green": 1, "blue": 2}
        return np.array([middle[i, channel[text.split()[1]]] if text.split()[1] in channel else 0
                         for i, text in questions])  # fmt: skip


BARE, ANSWERING, BOTH = (
    Judge("detector", 32, detector=Boxes()),
    Judge("answerer", 32, answerer=Answers()),
    Judge("both", 32, detector=Boxes(), answerer=Answers()),
)
PIXELS = Judge("pixels", 64, detector=PixelJudge(), sees_depth=True)
CHOICE = JudgeChoice(kind="pretrained", detector="x")


@pytest.mark.parametrize(
    ("judge", "category", "facts", "message"),
    [
        (ANSWERING, "numeracy", BOXES, r"needs boxes: name a detection model in t2i_compbench\.judge\.detector"),
        (ANSWERING, "geneval_counting", BOXES, "geneval_counting needs boxes"),
        (ANSWERING, "complex", BOXES, "complex needs boxes"),
        (BARE, "3d_spatial", BOXES, r"needs depth, .* name a depth model in t2i_compbench\.judge\.depth"),
        (BARE, "color", Facts((Wanted("car", "red"),)), "color needs color, .* name a BLIP-VQA in t2i_compbench"),
        (BARE, "texture", Facts((Wanted("car", texture="dotted"),)), "texture needs texture"),
        (BARE, "shape", Facts((Wanted("car"),), background="white"), "shape needs background"),
        (BARE, "geneval_colors", Facts((Wanted("car", "red"),)), "geneval_colors needs color"),
        (BARE, "color", Facts((), chunks=("a red car",)), "prompts without facts, whose chunks are asked"),
        (PIXELS, "color", Facts((), chunks=("a red circle",)), "whose chunks are asked"),
    ],
)  # fmt: skip
def test_a_judge_that_lacks_what_a_category_needs_is_refused(judge, category, facts, message):
    with pytest.raises(ValueError, match=message):
        check_fit(judge, CHOICE, [(category, facts)])


def test_a_judge_that_has_what_categories_need_is_taken():
    asked = [("color", Facts((), chunks=("a red car",))), ("geneval_colors", Facts((Wanted("car", "red"),)))]
    check_fit(BOTH, CHOICE, [*asked, ("spatial", BOXES)])
    check_fit(ANSWERING, CHOICE, [("color", Facts((Wanted("car", "red"),))), ("non_spatial", Facts(()))])
    check_fit(PIXELS, CHOICE, [("3d_spatial", BOXES), ("texture", Facts((Wanted("star", texture="dotted"),)))])


def prompt(category: str, text: str, facts: dict | None = None) -> dict:
    return {"prompt_id": text, "category": category, "prompt": text, "facts": json.dumps(facts or {})}


def asked_of(judge: Judge, config: CompBenchConfig, *prompts: dict) -> tuple[list[str], dict[str, str]]:
    asked, left_out = what_is_asked(prompts, Reader(RuleParser(), config.faults), judge, config)
    return list(asked), left_out


BEE = prompt("spatial", "a bee near a dog")
PINK = prompt("geneval_colors", "a pink star", {"objects": [{"shape": "star", "color": "pink"}]})
CAT = prompt("color", "a red cat")
PROSE = prompt("texture", "The metallic whisk and wooden bowl mix the batter.")
FINE = prompt("spatial", "a computer mouse near a dog"), prompt("color", "a red car")


@pytest.mark.parametrize(
    ("judge", "unscorable", "reason"),
    [
        (BOTH, BEE, r"the detector has no label for 'bee' \(t2i_compbench\.aliases may name one\)"),
        (PIXELS, PINK, "the judge does not know the color 'pink'"),
        (BOTH, CAT, r"the answerer never learned 'cat', which 'a red cat\?' asks for"),
        (BOTH, PROSE, r"is a sentence, .* set t2i_compbench\.parser to a pipeline of spaCy"),
    ],
)
def test_a_prompt_that_cannot_be_scored_stops_the_job_or_is_left_out_with_its_reason(judge, unscorable, reason):
    fine = FINE if judge is BOTH else ()
    with pytest.raises(ValueError, match=f"1 of {1 + len(fine)} prompts cannot be scored.*{reason}.*unscorable: corr"):
        asked_of(judge, CONFIG, *fine, unscorable)
    asked, left_out = asked_of(judge, LEFT_OUT, *fine, unscorable)
    assert asked == [one["prompt_id"] for one in fine] and list(left_out) == [unscorable["prompt"]]


def test_a_noun_without_a_label_is_not_there_officially_and_there_under_another_name():
    official = CompBenchConfig(faults=Faults.model_validate("official"))
    assert asked_of(BOTH, official, BEE) == ([BEE["prompt_id"]], {})
    named = CompBenchConfig(aliases={"bee": ("mouse",)})
    assert asked_of(BOTH, named, BEE) == ([BEE["prompt_id"]], {})


def test_colours_that_a_detector_does_not_see_are_asked_of_each_object_cut_out():
    image = np.full((3, 32, 32), 120, np.uint8)
    image[:, 4:12, 4:12] = np.array([255, 0, 0])[:, None, None]
    image[:, 20:28, 16:32] = np.array([0, 0, 255])[:, None, None]
    boxes = [("car", (4 / 32, 4 / 32, 12 / 32, 12 / 32)), ("dog", (0.5, 20 / 32, 1.0, 28 / 32))]
    picture = Picture(tuple(Detection({name: 1.0}, {}, {}, box, 0.9) for name, box in boxes), {})

    def judged(car: str, dog: str, judge: Judge = BOTH) -> str | None:
        facts = Facts((Wanted("car", car), Wanted("dog", dog)))
        (seen,) = with_colors(judge, image[None], [(0, "geneval_color_attr", facts, picture)], CONFIG)
        return score("geneval_color_attr", facts, seen, CONFIG).reason

    assert judged("red", "blue") is None
    assert judged("blue", "red") == "expected 1 blue car, found 1 red; expected 1 red dog, found 1 blue"
    assert judged("red", "blue", BARE) == "expected 1 red car, found 1 unknown; expected 1 blue dog, found 1 unknown"
    assert cut_out(image, boxes[1][1]).shape == image.shape
    assert (cut_out(image, boxes[1][1]) == image[:, 24:25, 24:25]).all()

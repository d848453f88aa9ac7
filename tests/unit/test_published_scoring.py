"""``official`` against T2I-CompBench's published code: cases worked by hand through it, category by category.

Of github.com/Karine-Huang/T2I-CompBench: UniDet_eval/2D_spatial_eval.py, 3D_spatial_eval.py and numeracy_eval.py,
BLIPvqa_eval/BLIP_vqa.py and 3_in_1_eval/3_in_1.py.
"""

import pytest

from evaluation.config import CompBenchConfig
from evaluation.detection import Box, Detection, Picture
from evaluation.facts import Facts, Wanted
from evaluation.faults import Faults
from evaluation.reading.prompt import Reader
from evaluation.reading.rule_parser import RuleParser
from evaluation.rules import attribute_binding, numeracy, score, spatial, spatial_3d

OFFICIAL, MENDED = (CompBenchConfig(faults=Faults.model_validate(name)) for name in ("official", "corrected"))
READER = Reader(RuleParser(), OFFICIAL.faults)
LEFT, RIGHT = (0.0, 0.4, 0.2, 0.6), (0.7, 0.4, 0.9, 0.6)


def seen(*things: tuple[str, Box, float], depths: tuple[float, ...] = ()) -> Picture:
    """Return a picture of (name, box, score), which detectors give surest first."""
    near = depths or (None,) * len(things)
    return Picture(tuple(Detection({n: 1.0}, {}, {}, b, s, d) for (n, b, s), d in zip(things, near, strict=True)), {})


@pytest.mark.parametrize(
    ("prompt", "things", "expected"),
    [
        # "car" in ["carpet", "hot dog"] is membership of a list
        ("a car on the left of a dog", [("carpet", LEFT, 1.0), ("hot dog", RIGHT, 1.0)], 0),
        # man and woman are both the first person, which is near itself: 0.25·0.8 + 0.25·0.8 + 1/2
        ("a man near a woman", [("person", LEFT, 0.8)], 0.9),
        # painting is no picture in two dimensions, so 0.25·0.9 < 0.5
        ("a painting on the left of a boat", [("boat", RIGHT, 0.9), ("picture", LEFT, 0.9)], 0),
        # the surest of two dogs is taken, though the other one stands right: 0.25·(0.9 + 0.8)
        ("a dog on the left of a cat", [("dog", (0.8, 0.4, 1, 0.6), 0.9), ("cat", RIGHT, 0.8), ("dog", LEFT, 0.7)], 0),
        ("a dog on the right of a cat", [("dog", RIGHT, 0.9), ("cat", LEFT, 0.8), ("dog", LEFT, 0.7)], 0.925),
        # "dogs" is looked for as it is written
        ("two dogs near a box", [("dog", LEFT, 1.0), ("box", LEFT, 1.0)], 0),
        # no phrase that is looked for: position 0, and 0.25·(1 + 1) is not under 0.5
        ("a cat, a box", [("cat", LEFT, 1.0), ("box", LEFT, 1.0)], 0.5),
        ("a cat on top of a box", [("cat", (0.4, 0.0, 0.6, 0.2), 1.0), ("box", (0.4, 0.6, 0.6, 0.8), 1.0)], 0.5),
        # a noun alone is the first and the last: 0.25·0.6 + 0.25·0.6 + 0
        ("a cat", [("cat", LEFT, 1.0)], 0.5),
        # 150 px / 300 px apart, of 480: 0.25·(0.9 + 0.8) + 0.5/2
        ("a cat near a box", [("cat", (0, 0, 0.1, 0.1), 0.9), ("box", (0.625, 0.5, 0.725, 0.6), 0.8)], 0.675),
        # an overlap of 1/3: 0.25·(1 + 1) + 0.1/(1/3)/2
        ("a cat on the left of a box", [("cat", (0, 0, 0.4, 0.4), 1.0), ("box", (0.2, 0, 0.6, 0.4), 1.0)], 0.65),
    ],
)  # fmt: skip
def test_two_dimensions(prompt, things, expected):
    assert spatial(READER.read("spatial", prompt), seen(*things), OFFICIAL).value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prompt", "things", "depths", "expected"),
    [
        # "car" in "carpet" and "dog" in "hot dog" are substrings here, exact names or not; overlap 0
        ("a car behind a dog", [("carpet", LEFT, 0.8), ("hot dog", RIGHT, 0.6)], (0, 1), 0.35),
        # the first table, since the second comes after both were met: 0.25·(0.9 + 0.8) + (1/3)/0.5/2
        (
            "a table behind a lamp",
            [("dining table", (0, 0, 0.4, 0.4), 0.9), ("lamp", (0.2, 0, 0.6, 0.4), 0.8), ("table", RIGHT, 0.7)],
            (0, 1, 0),
            0.425 + 1 / 3,
        ),
        # the second table, since the lamp comes last; it does not overlap
        (
            "a table behind a lamp",
            [("table", (0, 0, 0.4, 0.4), 0.9), ("dining table", RIGHT, 0.8), ("lamp", (0.2, 0, 0.6, 0.4), 0.7)],
            (0, 0, 1),
            0.375,
        ),
        # one noun alone keeps the quarter of its first object
        ("a cat hidden by a dog", [("cat", LEFT, 0.8), ("cat", RIGHT, 0.6)], (0, 0), 0.2),
        # two of a noun are one object, which is not in front of itself
        ("a desk in front of a desk", [("desk", LEFT, 0.8), ("desk", RIGHT, 0.6)], (1, 0), 0.4),
        # no phrase that is looked for
        ("a cat, a dog", [("cat", LEFT, 0.8), ("dog", LEFT, 0.6)], (1, 0), 0.35),
    ],
)
def test_three_dimensions(prompt, things, depths, expected):
    result = spatial_3d(READER.read("3d_spatial", prompt), seen(*things, depths=depths), OFFICIAL)
    assert result.value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("wanted", "names", "official", "mended"),
    [
        # a cup is there by its name, so the cupboard stays one; a painting is a picture: ½·½ + ½·(½ + ½)
        ([("cup", 2), ("painting", 1)], ["cupboard", "cup", "picture"], 0.75, 0.75),
        # no cup: both cupboards become cups, and no cupboard is left for the second noun
        ([("cup", 2), ("cupboard", 1)], ["cupboard", "cupboard"], 0.5, 0.25),
        # "telivision" is what becomes tv
        ([("television", 1)], ["tv"], 0.0, 1.0),
        ([("ship", 1), ("goldfish", 2), ("girl", 1)], ["boat", "fish", "fish", "person"], 1.0, 1.0),
        ([("phone", 1)], ["cell phone"], 1.0, 1.0),
        ([("sofa", 1)], ["couch"], 0.0, 1.0),
    ],
)
def test_counting(wanted, names, official, mended):
    facts = Facts(tuple(Wanted(noun, count=count) for noun, count in wanted))
    picture = seen(*((name, (0.2 * i, 0.2, 0.2 * i + 0.1, 0.4), 1.0) for i, name in enumerate(names)))
    assert numeracy(facts, picture, OFFICIAL).value == pytest.approx(official)
    assert numeracy(facts, picture, MENDED).value == pytest.approx(mended)


def test_attributes_multiply_over_the_first_eight_chunks_each_and_all_to_four_digits():
    facts = READER.read("color", " and ".join(f"a red thing{number}" for number in range(9)))
    answers = dict.fromkeys(facts.questions(), 1.0) | {
        "a red thing0?": 1 / 3,
        "a red thing1?": 1 / 3,
        "a red thing8?": 0,
    }
    assert attribute_binding(facts, Picture((), {}, answers), OFFICIAL).value == 0.1111


@pytest.mark.parametrize(
    ("parts", "expected"),
    [(["spatial"], (0.8 + 0.9) / 2), (["action"], (0.8 + 0.3) / 2), (["spatial", "action"], (0.8 + 0.9 + 0.3) / 3)],
)
def test_three_in_one_is_the_mean_of_the_parts_by_the_prompts_file(parts, expected):
    facts = READER.read("complex", "a tall man near a small woman", parts)
    picture = seen(("person", LEFT, 0.8))
    answered = Picture(picture.objects, {}, {"a tall man?": 0.8, "a small woman?": 1.0})
    assert score("complex", facts, answered, OFFICIAL, cosine=0.3).value == pytest.approx(expected)

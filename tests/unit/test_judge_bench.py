"""How judges are measured: ceilings, floors at chance, agreement, and what disturbance does."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from evaluation.detection import Picture, picture_of_truth
from evaluation.judge_bench import BLURS, NOISES, disturbances, facts_of_truth, measure_judges, trials
from evaluation.judges.protocol import Judge
from t2i_assets.synthweb.evaluation_set import shown
from t2i_assets.synthweb.language import holds, say_all
from t2i_assets.synthweb.scenes import sample_scene

RNG = random.Random(3)
SCENES = [sample_scene(RNG) for _ in range(40)]
TRUTH = [picture_of_truth(json.dumps(shown(scene))) for scene in SCENES]
IMAGES = np.random.default_rng(0).integers(0, 255, (40, 3, 8, 8), np.uint8)


class Blind:
    """Sees what it is told, whatever the image."""

    def __init__(self, pictures: list[Picture]) -> None:
        self.pictures = pictures

    def detect(self, images: np.ndarray) -> list[Picture]:
        return self.pictures[: len(images)]


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    repainted = [
        replace(picture, objects=tuple(replace(thing, color={"red": 1.0}) for thing in picture.objects))
        for picture in TRUTH
    ]
    judges = [
        ("right", Judge("right", 8, Blind(TRUTH)), IMAGES),
        ("red", Judge("red", 8, Blind(repainted)), IMAGES),
        ("empty", Judge("empty", 8, Blind([Picture((), {"white": 1.0})] * 40)), IMAGES),
    ]
    return measure_judges(judges, TRUTH, disturbed=10, seed=0)


def value(rows: list[dict], judge: str, measure: str, other: str | None = None) -> float:
    (found,) = [
        row["value"]
        for row in rows
        if (row["judge"], row["condition"], row["measure"], row["other"]) == (judge, "sharp", measure, other)
    ]
    return found


def test_a_judge_that_is_right_has_full_ceilings_and_the_floors_of_chance(rows):
    for rule in ("attributes", "spatial", "numeracy"):
        assert value(rows, "right", f"ceiling/{rule}") == 1
        for trial in ("floor", "swapped"):
            assert value(rows, "right", f"{trial}/{rule}") == value(rows, "oracle", f"{trial}/{rule}")
    assert value(rows, "right", "floor/attributes") < 0.1
    assert value(rows, "right", "swapped/attributes") == 0
    assert value(rows, "right", "agreement", "oracle") == value(rows, "right", "kappa", "oracle") == 1


def test_a_judge_that_sees_one_colour_only_loses_its_attributes_and_keeps_its_places(rows):
    assert value(rows, "red", "ceiling/attributes") < 0.2
    assert value(rows, "red", "ceiling/spatial") == value(rows, "red", "shape") == 1
    assert 0 < value(rows, "red", "kappa", "right") < 1


def test_agreement_by_chance_is_taken_away_from_a_judge_that_always_says_no(rows):
    assert value(rows, "empty", "agreement", "right") > 0.3
    assert abs(value(rows, "empty", "kappa", "right")) < 0.2


def test_a_single_picture_has_no_floor():
    found = measure_judges([("right", Judge("right", 8, Blind(TRUTH)), IMAGES[:1])], TRUTH[:1], disturbed=1, seed=0)
    assert {row["measure"].split("/")[0] for row in found} >= {"ceiling", "swapped"}
    assert not any(row["measure"].startswith("floor") for row in found)


def test_every_judge_is_measured_under_every_disturbance_on_the_first_pictures(rows):
    found = {(row["judge"], row["condition"]) for row in rows}
    assert len(found) == 4 + 3 * (len(BLURS) + len(NOISES))
    assert {row["n"] for row in rows if row["condition"] != "sharp" and row["measure"] == "whole"} == {10}


def test_disturbances_grow_and_keep_pictures_pictures():
    image = np.zeros((1, 3, 32, 32), np.uint8)
    image[..., 8:24, 8:24] = 200
    changed = {name: disturb(image) for name, disturb in disturbances(32, 0).items()}
    assert all(picture.dtype == np.uint8 and picture.shape == image.shape for picture in changed.values())
    away = [np.abs(picture.astype(int) - image).mean() for picture in changed.values()]
    assert away[:3] == sorted(away[:3]) and away[3:] == sorted(away[3:]) and min(away) > 0


def test_facts_of_a_picture_are_true_of_it_and_no_picture_is_held_against_its_own_as_a_floor():
    for scene, picture in zip(SCENES, TRUTH, strict=True):
        facts, stated = facts_of_truth(picture), say_all(scene)
        assert holds(stated, scene)
        assert [(w.shape, w.color, w.texture, w.count) for w in facts.objects] == [
            (m.shape, m.color, m.texture, m.count) for m in stated.objects
        ]
    own, others, swapped = trials(TRUTH, 0).values()
    assert all(mine is not theirs for mine, theirs in zip(own, others, strict=True))
    assert {id(facts) for facts in others} == {id(facts) for facts in own}
    for mine, changed in zip(own, swapped, strict=True):
        assert mine.objects != changed.objects
        assert [wanted.shape for wanted in mine.objects] == [wanted.shape for wanted in changed.objects]

"""Scenes, their pictures and what is said about them."""

import json
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2i_assets.synthweb.alt_texts import alt_text, say_part, say_wrong
from t2i_assets.synthweb.diseases import RIGHT, AltDisease
from t2i_assets.synthweb.draw import PALETTE, draw
from t2i_assets.synthweb.language import (
    INVERSE,
    descriptive,
    facts,
    holds,
    read,
    say_all,
    say_short,
    short,
    write,
)
from t2i_assets.synthweb.scenes import BACKGROUNDS, KINDS, RELATIONS, SHAPES, Relation, Scene, Thing, sample_scene

unhurried = settings(deadline=None, max_examples=60)  # a busy machine is no failure
seeds = st.integers(0, 2**32)
scenes = st.builds(lambda seed, kind: sample_scene(random.Random(seed), kind), seeds, st.sampled_from(KINDS))
pairs = st.builds(lambda seed: sample_scene(random.Random(seed), "pair"), seeds)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return min(a[2], b[2]) > max(a[0], b[0]) and min(a[3], b[3]) > max(a[1], b[1])


@unhurried
@given(scenes)
def test_things_lie_inside_the_picture_and_never_overlap(scene):
    boxes = [thing.box for thing in scene.things]
    assert all(0 <= x <= 1 for box in boxes for x in box)
    assert not any(overlap(boxes[i], boxes[j]) for i in range(len(boxes)) for j in range(i))


@unhurried
@given(scenes)
def test_a_scene_has_the_things_of_its_kind(scene):
    looks = {(thing.color, thing.shape, thing.texture) for thing in scene.things}
    expected = {"single": (1,), "count": (2, 3), "pair": (2,), "trio": (3,)}[scene.kind]
    assert len(scene.things) in expected
    assert len(looks) == (1 if scene.kind in ("single", "count") else len(scene.things))
    assert (scene.relation is not None) == (scene.kind == "pair")


@unhurried
@given(pairs)
def test_a_relation_is_what_the_geometry_shows(scene):
    subject, other = scene.things
    dx, dy = subject.x - other.x, subject.y - other.y
    along, across = {"above": (-dy, dx), "below": (dy, dx), "left of": (-dx, dy)}.get(scene.relation.kind, (dx, dy))
    gap = abs(along) - (subject.size + other.size) / 2
    if scene.relation.kind == "next to":
        assert abs(dx) > 3 * abs(dy) and gap < 0.08
    else:
        assert along > 3 * abs(across) and gap > 0.11


@unhurried
@given(scenes)
def test_the_same_scene_is_drawn_alike_twice_and_at_other_sizes(scene):
    small, large = draw(scene, 64), draw(scene, 192)
    assert small.tobytes() == draw(scene, 64).tobytes()
    difference = np.asarray(small, float) - np.asarray(large.resize((64, 64), 4), float)
    assert np.abs(difference).mean() < 4


def test_what_is_drawn_fills_the_box_of_the_thing():
    for shape in SHAPES:
        for angle in (-0.15, 0.0, 0.15):
            thing = Thing("blue", shape, "solid", 0.5, 0.5, 0.5, angle)
            pixels = np.asarray(draw(Scene((thing,), None, "white", "single", 3), 200), int)
            rows, columns = np.nonzero(np.abs(pixels - 244).sum(axis=2) > 150)
            found = (columns.min() / 200, rows.min() / 200, (columns.max() + 1) / 200, (rows.max() + 1) / 200)
            assert found == pytest.approx(thing.box, abs=0.02), shape


def test_colours_are_told_apart_by_the_nearest_of_the_palette():
    rng = random.Random(4)
    for _ in range(100):
        scene = sample_scene(rng, "single")
        thing = scene.things[0]
        solid = Scene((Thing(thing.color, thing.shape, "solid", 0.5, 0.5, 0.5),), None, scene.background, "single", 1)
        middle = np.asarray(draw(solid, 32), int)[16, 16]
        assert min(PALETTE, key=lambda name: np.abs(middle - PALETTE[name]).sum()) == thing.color


def test_textures_differ_at_32_pixels_in_every_shape_and_on_every_background():
    for background in BACKGROUNDS:
        for shape in SHAPES:
            for color in PALETTE:
                seen = [
                    np.asarray(
                        draw(Scene((Thing(color, shape, texture, 0.5, 0.5, 0.38),), None, background, "single", 5), 32),
                        float,
                    )
                    for texture in ("solid", "striped", "dotted")
                ]
                for i in range(3):
                    for j in range(i):
                        assert np.abs(seen[i] - seen[j]).max() > 60, (background, shape, color)


def test_drawing_is_fast():
    rng = random.Random(1)
    batch = [sample_scene(rng) for _ in range(100)]
    started = time.process_time()
    for scene in batch:
        draw(scene, 64)
    assert (time.process_time() - started) / len(batch) < 0.003


@unhurried
@given(scenes, seeds)
def test_a_caption_reads_back_as_exactly_what_it_says(scene, seed):
    rng = random.Random(seed)
    for statement in (say_all(scene), say_short(scene), say_part(scene, rng)):
        assert read(write(statement, rng)) == statement
        assert read(write(statement, rng, articles=False)) == statement
    assert read(descriptive(scene, rng)).facts() == facts(scene)
    assert read(short(scene, rng)).facts() == facts(scene, "short")


def test_facts_follow_their_contract():
    things = (Thing("red", "star", "striped", 0.2, 0.5, 0.3), Thing("blue", "circle", "solid", 0.8, 0.5, 0.3))
    scene = Scene(things, Relation("left of", 0, 1), "white", "pair", 0)
    assert descriptive(scene) == "a striped red star left of a solid blue circle on a white background"
    assert short(scene) == "a red star and a blue circle"
    assert json.loads(json.dumps(facts(scene))) == {
        "objects": [
            {"shape": "star", "color": "red", "texture": "striped", "count": 1},
            {"shape": "circle", "color": "blue", "texture": "solid", "count": 1},
        ],
        "relation": {"kind": "left of", "subject": 0, "object": 1},
        "background": "white",
    }
    assert facts(scene, "short")["relation"] is None and facts(scene, "short")["background"] is None


@unhurried
@given(scenes, seeds)
def test_true_statements_hold_and_wrong_ones_do_not(scene, seed):
    rng = random.Random(seed)
    assert holds(say_all(scene), scene) and holds(say_short(scene), scene) and holds(say_part(scene, rng), scene)
    assert not holds(say_wrong(scene, rng), scene)


@unhurried
@given(pairs, st.sampled_from(RELATIONS))
def test_a_relation_holds_read_from_either_end_and_no_other_does(scene, kind):
    subject, other = say_all(scene).objects
    said = type(say_all(scene))((subject, other), Relation(kind, 0, 1))
    turned = type(said)((other, subject), Relation(INVERSE[kind], 0, 1))
    assert holds(said, scene) == holds(turned, scene) == (kind == scene.relation.kind)


@unhurried
@given(scenes, seeds)
def test_alt_texts_are_as_right_as_their_disease_says(scene, seed):
    for disease in (AltDisease.COMPLETE, AltDisease.PARTIAL, AltDisease.MISLEADING):
        text = alt_text(scene, disease, random.Random(seed))
        for opening in ("image of ", "picture of ", "photo: "):
            text = text.lower().removeprefix(opening)
        statement = read(text)
        assert statement is not None, text
        assert holds(statement, scene) == RIGHT[disease]
        assert disease is not AltDisease.COMPLETE or statement == say_all(scene)
        assert disease is not AltDisease.PARTIAL or statement != say_all(scene)


@unhurried
@given(scenes, seeds)
def test_useless_alt_texts_say_nothing_of_the_scene(scene, seed):
    rng = random.Random(seed)
    for disease in (AltDisease.FILE_NAME, AltDisease.ADVERT):
        words = set(alt_text(scene, disease, rng).lower().replace(",", "").split())
        assert not words & {*PALETTE, *SHAPES}
    assert alt_text(scene, AltDisease.EMPTY, rng) == "" and alt_text(scene, AltDisease.MISSING, rng) is None
    one = alt_text(scene, AltDisease.ONE_WORD, rng).lower()
    assert one in {word for thing in scene.things for word in (thing.color, thing.shape)}
    foreign = alt_text(scene, AltDisease.FOREIGN, rng).split()
    assert not {word.lower() for word in foreign} & {"red", "green", "blue", "circle", "square", "star"}

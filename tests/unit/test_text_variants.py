"""Shortened texts stay true, changed ones are false, and both read like texts that were seen."""

import random

from t2i_assets.synthweb.language import descriptive, holds, read, short
from t2i_assets.synthweb.scenes import sample_scene
from training.text_variants import TextVariants, near_pairs, neighbours


def test_shortened_captions_hold_and_changed_ones_do_not() -> None:
    rng = random.Random(0)
    scenes = [sample_scene(rng) for _ in range(300)]
    captions = [[descriptive(scene, rng), descriptive(scene, rng), short(scene, rng)] for scene in scenes]
    variants = TextVariants(captions)
    shortened = true = changed = false = 0
    for scene, texts in zip(scenes, captions, strict=True):
        said = read(variants.shortened(texts[0], rng).replace(" ,", ","))
        if said is not None:
            shortened += 1
            true += holds(said, scene)
        text = variants.changed(texts[0], texts, rng)
        said = None if text is None else read(text.replace(" ,", ","))
        if said is not None:
            changed += 1
            false += not holds(said, scene)
    assert shortened > 250 and true == shortened
    assert changed > 250 and false > 0.97 * changed


def test_words_that_captions_of_one_image_exchange_mean_the_same() -> None:
    captions = [["a star on a wall", "a star against a wall"], ["a star under a wall"]]
    variants = TextVariants(captions)
    rng = random.Random(0)
    changed = {variants.changed(text, [text], rng) for text in captions[0] for _ in range(20)}
    assert changed == {"a star under a wall"}


def test_a_word_of_another_caption_of_the_image_is_no_false_one() -> None:
    variants = TextVariants([["red"], ["blue"], ["green"]])
    rng = random.Random(0)
    assert {variants.changed("red", ["red", "a blue hat"], rng) for _ in range(20)} == {"green"}
    assert variants.changed("red", ["red", "a blue hat", "green"], rng) is None


def test_two_words_of_a_text_change_places_where_they_fit() -> None:
    text = "a red star and a blue circle"
    variants = TextVariants([[text], ["a blue star and a red hat"], ["a red circle"]])
    changed = {variants.changed(text, [text], random.Random(seed)) for seed in range(20)}
    assert changed == {"a blue star and a red circle"}
    assert variants.changed(text, [text], random.Random(0), exchange=False) is None


def test_near_pairs_tell_what_a_shorter_text_may_say() -> None:
    near = near_pairs(["a solid red star and a blue circle"])
    assert neighbours("A red star") <= near
    assert neighbours("circle") <= near
    assert not neighbours("red circle") <= near
    assert not neighbours("square") <= near


def test_words_that_stand_around_captions_and_in_none_are_a_frame() -> None:
    captions = ["a red star", "a circle", "a star"]
    others = [*(f"Photo: {text}" for text in captions), *(f"image of {text}." for text in captions)]
    variants = TextVariants([captions], [*others, "a bicycle", "a red star and a chair", "wow, a star"])
    framed = {variants.framed("a circle", "a star", random.Random(seed)) for seed in range(99)}
    assert framed == {
        ("a circle", "a star"),
        ("photo : a circle", "photo : a star"),
        ("image of a circle .", "image of a star ."),
    }
    assert TextVariants([["a star"]]).framed("a star", "a circle", random.Random(0)) == ("a star", "a circle")

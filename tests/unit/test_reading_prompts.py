"""Prompts without facts, read by rules; the faults of the published reading, one by one."""

import importlib.util
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.facts import Relation, Wanted
from evaluation.faults import Faults
from evaluation.reading.parser import joined, open_parser
from evaluation.reading.prompt import UnreadableError, facts_of, read_prompt, without_adjectives
from evaluation.reading.rule_parser import RuleParser, singular
from t2i_assets.synthweb.language import Mention, Statement, write
from t2i_assets.synthweb.scenes import BACKGROUNDS, COLORS, DEPTH_RELATIONS, RELATIONS, SHAPES, TEXTURES
from t2i_assets.synthweb.scenes import Relation as Stated

PARSER = RuleParser()
MENDED, OFFICIAL = Faults.model_validate("corrected"), Faults.model_validate("official")
mentions = st.builds(
    Mention,
    shape=st.sampled_from(SHAPES),
    color=st.none() | st.sampled_from(COLORS),
    texture=st.none() | st.sampled_from(TEXTURES),
)


def chunks(category: str, text: str, faults: Faults = MENDED) -> list[str]:
    return [str(chunk) for chunk in read_prompt(category, text, None, PARSER, faults).chunks]


@given(st.lists(mentions, min_size=1, max_size=3), st.none() | st.sampled_from(BACKGROUNDS), st.booleans())
def test_every_sentence_of_the_embedded_grammar_has_a_chunk_for_each_thing_it_names(named, background, articles):
    text = write(Statement(tuple(named), None, background), articles=articles)
    found = chunks("color", text)
    assert len(found) == len(named) + (background is not None)
    for mention, chunk in zip(named, found, strict=False):
        stated = [word for word in (mention.texture, mention.color, mention.shape) if word is not None]
        assert [word for word in chunk.split() if word not in ("a", "an")] == stated


@given(mentions, mentions, st.sampled_from([*RELATIONS, *DEPTH_RELATIONS]), st.booleans())
def test_a_relation_of_the_embedded_grammar_is_read_with_its_two_nouns(first, second, kind, articles):
    text = write(Statement((first, second), Stated(kind, 0, 1)), articles=articles)
    category = "3d_spatial" if kind in DEPTH_RELATIONS else "spatial"
    facts = read_prompt(category, text, None, PARSER, MENDED)
    assert [wanted.shape for wanted in facts.objects] == [first.shape, second.shape]
    assert facts.relation == Relation(kind, 0, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a green bench and a blue bowl", ["a green bench", "a blue bowl"]),
        ("The fluffy towel and the metallic bottle.", ["The fluffy towel", "the metallic bottle"]),
        ("a dog on the left of a cat", ["a dog", "a cat"]),
        ("two cats are sitting on the wooden chair", ["two cats", "the wooden chair"]),
    ],
)
def test_chunks_of_prompts_like_the_published_ones(text, expected):
    assert chunks("color", text) == expected


def test_places_are_asked_about_first_then_four_of_them_not_then_none():
    text = "a red cup on the bottom of a box on the left of a lamp on top of the table"
    asked = {name: chunks("color", text, Faults(chunks=name)) for name in ("first", "official", "corrected")}
    assert asked["corrected"] == ["a red cup", "a box", "a lamp", "the table"]
    assert set(asked["official"]) - set(asked["corrected"]) == {"the bottom"}
    assert set(asked["first"]) - set(asked["official"]) == {"the left", "top"}


def test_on_top_of_has_no_rule_officially_and_is_above_when_mended():
    text = "a cat on top of a chair"
    assert read_prompt("spatial", text, None, PARSER, MENDED).relation.kind == "above"
    assert read_prompt("spatial", text, None, PARSER, OFFICIAL).relation.kind == "on top of"
    assert read_prompt("spatial", "a cat on the top of a chair", None, PARSER, OFFICIAL).relation.kind == "above"


def test_relations_are_found_inside_words_officially_only():
    text = "a linear lamp beside a chair"
    assert read_prompt("spatial", text, None, PARSER, OFFICIAL).relation.kind == "near"
    assert read_prompt("spatial", text, None, PARSER, MENDED).relation.kind == "next to"


def test_a_complex_prompt_relates_its_first_and_last_noun_officially_and_the_nouns_beside_the_relation_mended():
    text = "a small table and a red lamp next to a chair and a white dog"
    ends, beside = (read_prompt("complex", text, ["spatial"], PARSER, faults) for faults in (OFFICIAL, MENDED))
    assert [wanted.shape for wanted in ends.objects] == ["table", "dog"]
    assert [wanted.shape for wanted in beside.objects] == ["lamp", "chair"]
    assert len(beside.chunks) == 4 and beside.parts == ("spatial",)


def test_a_complex_prompt_about_an_action_needs_no_relation_and_none_is_made_up():
    facts = read_prompt("complex", "The tall man is walking a black dog", ["action"], PARSER, MENDED)
    assert facts.relation is None and facts.parts == ("action",)
    assert [str(chunk) for chunk in facts.chunks] == ["The tall man", "a black dog"]


def test_counts_are_read_with_singular_nouns_and_the_names_that_detectors_use():
    facts = read_prompt("numeracy", "three women, two boxes, a tennis racket and four sheep", None, PARSER, MENDED)
    counted = [(wanted.shape, wanted.count) for wanted in facts.objects]
    assert counted == [("person", 3), ("box", 2), ("racket", 1), ("sheep", 4)]


def test_what_the_text_does_not_say_is_named():
    with pytest.raises(UnreadableError, match="no two nouns in 'quickly'"):
        read_prompt("spatial", "quickly", None, PARSER, MENDED)
    with pytest.raises(UnreadableError, match="nothing is counted"):
        read_prompt("numeracy", "the dogs", None, PARSER, MENDED)


def test_facts_that_come_with_a_prompt_are_taken_as_they_are():
    stored = {"objects": [{"shape": "star", "color": "red"}]}
    row = {"category": "color", "prompt": "something else", "facts": json.dumps(stored)}
    assert facts_of(row, PARSER, MENDED).objects == (Wanted("star", "red"),)
    read = facts_of({"category": "color", "prompt": "a red star", "facts": "{}"}, PARSER, MENDED)
    assert [str(chunk) for chunk in read.chunks] == ["a red star"]


def test_adjectives_are_left_out_for_the_action_of_a_complex_prompt():
    assert without_adjectives(PARSER.parse("the tall man next to a red box")) == "the man next to a box"


@pytest.mark.parametrize(
    ("plural", "expected"),
    [("stars", "star"), ("boxes", "box"), ("berries", "berry"), ("glass", "glass"), ("men", "man"), ("bus", "bus")],
)
def test_singular_nouns(plural, expected):
    assert singular(plural) == expected


@pytest.mark.skipif(importlib.util.find_spec("spacy") is not None, reason="spaCy is installed")
def test_a_pipeline_that_is_not_there_is_named_with_the_mend():
    with pytest.raises(ValueError, match="set parser to rule"):
        open_parser("en_core_web_sm")


@pytest.mark.skipif(importlib.util.find_spec("en_core_web_sm") is None, reason="no pipeline of spaCy here")
def test_spacy_reads_the_same_chunks_of_a_simple_prompt():
    parsed = open_parser("en_core_web_sm").parse("a green bench and a blue bowl")
    assert [joined(words) for words in parsed.chunk_words()] == ["a green bench", "a blue bowl"]

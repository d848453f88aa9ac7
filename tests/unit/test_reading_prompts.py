"""Prompts without facts, read by rules; the faults of the published reading, one by one."""

import importlib.util
import json
import sys
from types import SimpleNamespace
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.facts import Relation, Wanted
from evaluation.faults import Faults
from evaluation.reading.opening import open_parser
from evaluation.reading.parser import joined
from evaluation.reading.prompt import Reader, UnreadableError, open_reader, without_adjectives
from evaluation.reading.rule_parser import RuleParser, singular
from t2i_assets.synthweb.language import Mention, Statement, write
from t2i_assets.synthweb.scenes import BACKGROUNDS, COLORS, DEPTH_RELATIONS, RELATIONS, SHAPES, TEXTURES
from t2i_assets.synthweb.scenes import Relation as Stated

PARSER = RuleParser()
MENDED, OFFICIAL = (Reader(PARSER, Faults.model_validate(name)) for name in ("corrected", "official"))
mentions = st.builds(
    Mention,
    shape=st.sampled_from(SHAPES),
    color=st.none() | st.sampled_from(COLORS),
    texture=st.none() | st.sampled_from(TEXTURES),
)


def chunks(category: str, text: str, reader: Reader = MENDED) -> list[str]:
    return list(reader.read(category, text).chunks)


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
    facts = MENDED.read(category, text)
    assert [wanted.shape for wanted in facts.objects] == [first.shape, second.shape]
    assert facts.relation == Relation(kind, 0, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a green bench and a blue bowl", ["a green bench", "a blue bowl"]),
        ("rubber sole shoes and the fluffy clouds", ["rubber sole shoes", "the fluffy clouds"]),
        ("a dog on the left of a cat", ["a dog", "a cat"]),
    ],
)
def test_chunks_of_prompts_like_the_published_ones(text, expected):
    assert chunks("color", text) == expected


def test_places_are_asked_about_first_then_four_of_them_not_then_none():
    text = "a red cup on the bottom of a box on the left of a lamp on top of the table"
    asked = {n: chunks("color", text, Reader(PARSER, Faults(chunks=n))) for n in ("first", "official", "corrected")}
    assert asked["corrected"] == ["a red cup", "a box", "a lamp", "the table"]
    assert set(asked["official"]) - set(asked["corrected"]) == {"the bottom"}
    assert set(asked["first"]) - set(asked["official"]) == {"the left", "top"}


def test_on_top_of_has_no_rule_officially_and_is_above_when_mended():
    text = "a cat on top of a chair"
    assert MENDED.read("spatial", text).relation.kind == "above"
    assert OFFICIAL.read("spatial", text).relation.kind == "on top of"
    assert OFFICIAL.read("spatial", "a cat on the top of a chair").relation.kind == "above"


def test_relations_are_found_inside_words_officially_only():
    text = "a linear lamp beside a chair"
    assert OFFICIAL.read("spatial", text).relation.kind == "near"
    assert MENDED.read("spatial", text).relation.kind == "next to"


def test_a_complex_prompt_relates_its_first_and_last_noun_officially_and_the_nouns_beside_the_relation_mended():
    text = "a small table and a red lamp next to a chair and a white dog"
    ends, beside = (reader.read("complex", text, ["spatial"]) for reader in (OFFICIAL, MENDED))
    assert [wanted.shape for wanted in ends.objects] == ["table", "dog"]
    assert [wanted.shape for wanted in beside.objects] == ["lamp", "chair"]
    assert len(beside.chunks) == 4 and beside.parts == ("spatial",)


def test_a_complex_prompt_about_an_action_needs_no_relation_and_none_is_made_up():
    facts = MENDED.read("complex", "the tall man, a black dog", ["action"])
    assert facts.relation is None and facts.parts == ("action",)
    assert facts.chunks == ("the tall man", "a black dog")


def test_a_complex_prompt_without_a_known_relation_keeps_its_other_parts_and_says_what_is_left_out():
    facts = MENDED.read("complex", "the leather wallet, the brown purse", ["spatial", "action"])
    assert facts.chunks == ("the leather wallet", "the brown purse") and facts.parts == ("action",)
    assert facts.unread == "left out the relation: no relation in 'the leather wallet, the brown purse'"


def test_a_complex_prompt_whose_parts_no_file_names_says_that_no_interaction_is_scored():
    facts = MENDED.read("complex", "a tall man near a black dog")
    assert facts.relation == Relation("near", 0, 1) and facts.parts is None
    assert facts.unread == "no file names the parts of the prompt: no interaction is scored"


@pytest.mark.parametrize(
    ("category", "text"),
    [
        ("texture", "The metallic whisk and wooden bowl mix the fluffy batter for the cake on the plastic counter."),
        ("complex", "The fluffy white cat slept on the warm fuzzy blanket."),
        ("complex", "The fluffy white cat slept"),
        ("color", "a white cat slept."),
        ("color", "a white bathroom with a black and white shower curtain"),
        ("color", "a black gold and white vase sitting on a counter"),
        ("spatial", "two cats are sitting near the wooden chair"),
    ],
)
def test_the_rules_refuse_what_looks_like_a_sentence_since_they_know_no_verbs(category, text):
    with pytest.raises(UnreadableError, match=r"is a sentence, .* set t2i_compbench.parser to a pipeline of spaCy"):
        MENDED.read(category, text)


def test_nothing_is_counted_but_nouns_of_the_list_after_a_number_or_an_article(tmp_path):
    (tmp_path / "objects.txt").write_text("clock - clocks\nman - men\nfish - fish\ntennis racket - tennis rackets\n")
    reader = open_reader("rule", Faults(), str(tmp_path / "objects.txt"))

    def counted(text: str, reader: Reader = reader) -> list[tuple[str, int]]:
        return [(wanted.shape, wanted.count) for wanted in reader.read("numeracy", text).objects]

    assert counted("three clocks ticked on the wall") == [("clock", 3)]
    assert counted("Four men gathered for a picnic near two clocks.") == [("man", 4), ("clock", 2)]
    assert counted("two fish, a tennis racket and one fish") == [("fish", 2), ("tennis racket", 1), ("fish", 1)]
    official = open_reader("rule", OFFICIAL.faults, str(tmp_path / "objects.txt"))
    assert counted("Four men and two clocks", official) == [("clock", 2)]
    with pytest.raises(UnreadableError, match=r"no noun of t2i_compbench\.counted_nouns is counted in 'the clocks'"):
        reader.read("numeracy", "the clocks")
    with pytest.raises(ValueError, match=r"name T2I-CompBench's new_objects.txt in\s+t2i_compbench.counted_nouns"):
        MENDED.read("numeracy", "two clocks")


def test_a_list_of_nouns_that_is_none_is_named_with_its_line(tmp_path):
    (tmp_path / "objects.txt").write_text("cup - cups\nbottles\n")
    with pytest.raises(ValueError, match=r"objects\.txt, line 2: 'bottles' is no noun with its plural"):
        open_reader("rule", Faults(), str(tmp_path / "objects.txt"))
    with pytest.raises(ValueError, match="there is no file"):
        open_reader("rule", Faults(), str(tmp_path / "other.txt"))


def test_a_text_without_a_relation_has_none_that_holds_officially_and_is_not_read_when_mended():
    for category in ("spatial", "3d_spatial"):
        assert OFFICIAL.read(category, "a cat, a box").relation.kind == "any known relation"
        with pytest.raises(UnreadableError, match="no relation in 'a cat, a box'"):
            MENDED.read(category, "a cat, a box")


def test_nouns_are_taken_as_written_officially_and_in_the_singular_when_mended():
    text = "two dogs near a box"
    assert [wanted.shape for wanted in OFFICIAL.read("spatial", text).objects] == ["dogs", "box"]
    assert [wanted.shape for wanted in MENDED.read("spatial", text).objects] == ["dog", "box"]


def test_eight_chunks_are_asked_about_officially():
    text = " and ".join(f"a red thing{number}" for number in range(10))
    assert len(chunks("color", text, OFFICIAL)) == 8 and len(chunks("color", text)) == 10


def test_what_the_text_does_not_say_is_named():
    with pytest.raises(UnreadableError, match="no two nouns in 'quickly'"):
        MENDED.read("spatial", "quickly")
    with pytest.raises(UnreadableError, match="no noun chunk in 'the left'"):
        MENDED.read("color", "the left")


def test_facts_that_come_with_a_prompt_are_taken_as_they_are():
    stored = {"objects": [{"shape": "star", "color": "red"}]}
    row = {"category": "color", "prompt": "something else", "facts": json.dumps(stored)}
    assert MENDED.facts_of(row).objects == (Wanted("star", "red"),)
    assert MENDED.facts_of({"category": "color", "prompt": "a red star", "facts": "{}"}).chunks == ("a red star",)


def test_adjectives_are_left_out_for_the_action_of_a_complex_prompt():
    assert without_adjectives(PARSER.parse("the tall man next to a red box")) == "the man next to a box"


@pytest.mark.parametrize(
    ("plural", "expected"),
    [("stars", "star"), ("boxes", "box"), ("berries", "berry"), ("glass", "glass"), ("men", "man"), ("bus", "bus")],
)
def test_singular_nouns(plural, expected):
    assert singular(plural) == expected


def test_what_a_pipeline_of_spacy_reads_is_known_by_its_content(tmp_path, monkeypatch):
    said = [("two", "NUM", "two"), ("Dogs", "NOUN", "Dog"), ("run", "VERB", "run")]
    tokens = [SimpleNamespace(text=text, pos_=kind, lemma_=lemma) for text, kind, lemma in said]

    class Document(list):
        noun_chunks = (SimpleNamespace(start=0, end=2),)

    class Pipeline:
        meta: ClassVar = {"name": "core_web_sm", "version": "3.8.0"}

        def __call__(self, text: str) -> Document:
            return Document(tokens)

    monkeypatch.setitem(sys.modules, "spacy", SimpleNamespace(__version__="3.8", load=lambda name: Pipeline()))
    parser = open_parser("en_core_web_sm")
    parsed = parser.parse("two Dogs run")
    assert [joined(words) for words in parsed.chunk_words()] == ["two Dogs"] and not parsed.sentence
    assert [word.lemma for _, word in parsed.nouns] == ["dog"]
    (tmp_path / "config.cfg").write_text("first")
    first = open_parser(str(tmp_path)).identity
    (tmp_path / "config.cfg").write_text("second")
    assert len({parser.identity, first, open_parser(str(tmp_path)).identity}) == 3


@pytest.mark.skipif(importlib.util.find_spec("spacy") is not None, reason="spaCy is installed")
def test_a_pipeline_that_is_not_there_is_named_with_the_mend():
    with pytest.raises(ValueError, match="set parser to rule"):
        open_parser("en_core_web_sm")


@pytest.mark.skipif(importlib.util.find_spec("en_core_web_sm") is None, reason="no pipeline of spaCy here")
def test_spacy_reads_the_same_chunks_of_a_simple_prompt():
    parsed = open_parser("en_core_web_sm").parse("a green bench and a blue bowl")
    assert [joined(words) for words in parsed.chunk_words()] == ["a green bench", "a blue bowl"]

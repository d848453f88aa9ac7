"""Prompts of published benchmarks, read from files in their own formats."""

import json

import pytest

from t2i_assets.corpus.prompt_files import read_compbench, read_drawbench, read_geneval
from t2i_assets.corpus.schemas import PROMPTS
from t2i_assets.corpus.tables import read_rows
from t2i_assets.synthweb.config import CATEGORIES, DRAWN, EvaluationSetConfig, PromptFilesConfig
from t2i_assets.synthweb.evaluation_set import write_evaluation_set

GENEVAL = [
    {"tag": "counting", "include": [{"class": "clock", "count": 3}], "exclude": [{"class": "clock", "count": 4}],
     "prompt": "a photo of three clocks"},
    {"tag": "position",
     "include": [{"class": "bench", "count": 1}, {"class": "dog", "count": 1, "position": ["right of", 0]}],
     "prompt": "a photo of a dog right of a bench"},
    {"tag": "color_attr",
     "include": [{"class": "cow", "count": 1, "color": "green"}, {"class": "cup", "count": 1, "color": "red"}],
     "prompt": "a photo of a green cow and a red cup"},
]  # fmt: skip


@pytest.fixture
def files(tmp_path):
    (tmp_path / "color_val.txt").write_text("a green bench and a blue bowl\n\na red apple and a yellow vase\n")
    (tmp_path / "non_spatial_val.txt").write_text("A person is reading a book.\n")
    spatial, acting = "The red hat is on the top of the box.", "The tall man is walking a dog"
    both = "The tall man near the red box is walking a dog"
    (tmp_path / "complex_val.txt").write_text(f"{spatial}\n{acting}\n{both}\n")
    for kind, text in (("spatial", spatial), ("action", acting), ("spatialaction", both)):
        (tmp_path / f"complex_val_{kind}.txt").write_text(f"{text}\n")
    (tmp_path / "geneval.jsonl").write_text("".join(json.dumps(value) + "\n" for value in GENEVAL))
    (tmp_path / "drawbench.csv").write_text('Prompts,Category\nA red car.,Colors\n"One cat, two dogs.",Counting\n')
    return tmp_path


def test_compbench_gives_one_prompt_a_line_and_complex_prompts_their_parts(files):
    rows = list(read_compbench(files, "val", None))
    assert [row["category"] for row in rows] == ["color", "color", "non_spatial", "complex", "complex", "complex"]
    assert rows[1]["prompt"] == "a red apple and a yellow vase"
    assert [json.loads(row["facts"])["parts"] for row in rows[3:]] == [["spatial"], ["action"], ["spatial", "action"]]
    assert len({row["prompt_id"] for row in rows}) == len(rows)
    assert [row["prompt"] for row in read_compbench(files, "val", 1)][:2] == [
        "a green bench and a blue bowl", "A person is reading a book.",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no file named"):
        list(read_compbench(files, "train", None))


def test_geneval_declares_objects_counts_relation_and_what_is_one_too_many(files):
    counting, position, colors = (json.loads(row["facts"]) for row in read_geneval(files / "geneval.jsonl", None))
    assert counting["objects"] == [{"shape": "clock", "color": None, "count": 3}]
    assert counting["excluded"] == [{"shape": "clock", "count": 4}]
    assert position["relation"] == {"kind": "right of", "subject": 1, "object": 0}
    assert [thing["color"] for thing in colors["objects"]] == ["green", "red"]


def test_a_line_that_is_no_prompt_of_geneval_is_named(files):
    path = files / "broken.jsonl"
    path.write_text(json.dumps(GENEVAL[0]) + '\n{"tag": "counting", "prompt": "x", "include": []}\n')
    with pytest.raises(ValueError, match=r"broken\.jsonl, line 2"):
        list(read_geneval(path, None))


def test_drawbench_keeps_its_categories_and_needs_its_columns(files):
    rows = list(read_drawbench(files / "drawbench.csv", None))
    assert [row["category"] for row in rows] == ["drawbench_colors", "drawbench_counting"]
    assert rows[1]["prompt"] == "One cat, two dogs."
    (files / "other.csv").write_text("text\nA car\n")
    with pytest.raises(ValueError, match="columns Prompts and Category"):
        list(read_drawbench(files / "other.csv", None))


def test_prompts_from_files_stand_beside_the_drawn_ones_without_a_picture(files, tmp_path):
    config = EvaluationSetConfig(
        scenes_per_category=2,
        pool_images=2,
        heldout_images=2,
        categories=("color", "3d_spatial", "geneval_counting"),
        prompt_files=PromptFilesConfig(compbench=files, geneval=files / "geneval.jsonl"),
    )
    summary = write_evaluation_set(config, tmp_path / "set")
    rows = read_rows(tmp_path / "set" / "prompts.parquet", PROMPTS)
    assert summary["prompts"] == len(rows) == 2 * 2 * 3 + 6 + 3
    assert {row["reference_key"] is None for row in rows if row["style"] == "benchmark"} == {True}
    assert all(row["reference_key"] for row in rows if row["style"] != "benchmark")
    counted = [json.loads(row["facts"]) for row in rows if row["category"] == "geneval_counting"]
    asked = [facts for facts in counted if facts["objects"][0].get("color") is not None or "background" in facts]
    assert all(facts["excluded"][0]["count"] == facts["objects"][0]["count"] + 1 for facts in asked)


def test_new_fields_leave_the_identity_of_the_default_set_as_it_was():
    names = {"seed", "scenes_per_category", "pool_images", "heldout_images", "image_size"}
    assert set(EvaluationSetConfig().model_dump(mode="json")) == names
    assert set(EvaluationSetConfig(categories=DRAWN).model_dump(mode="json")) == {*names, "categories"}
    assert EvaluationSetConfig().categories == CATEGORIES


def test_interactions_cannot_be_drawn_and_the_message_says_where_they_come_from():
    with pytest.raises(ValueError, match=r"flat shapes do nothing to each other; take prompt_files\.compbench"):
        EvaluationSetConfig(categories=("non_spatial",))
    with pytest.raises(ValueError, match="'mood' cannot be drawn"):
        EvaluationSetConfig(categories=("mood",))

"""Prompts of published benchmarks, read from files in their own formats."""

import json
from pathlib import Path

import pytest

from t2i_assets.config import SettingsError, load_settings
from t2i_assets.corpus.prompt_files import (
    PromptFilesConfig,
    may_state_interaction,
    read_compbench,
    read_drawbench,
    read_geneval,
    read_prompt_files,
)

COUNTING = {
    "tag": "counting", "include": [{"class": "clock", "count": 3}], "exclude": [{"class": "clock", "count": 4}],
    "prompt": "a photo of three clocks",
}  # fmt: skip
POSITION = {
    "tag": "position", "prompt": "a photo of a dog right of a bench",
    "include": [{"class": "bench", "count": 1}, {"class": "dog", "count": 1, "position": ["right of", 0]}],
}  # fmt: skip
COLORS = {
    "tag": "color_attr", "prompt": "a photo of a green cow and a red cup",
    "include": [{"class": "cow", "count": 1, "color": "green"}, {"class": "cup", "count": 1, "color": "red"}],
}  # fmt: skip
SPATIAL, ACTING = "The red hat is on the top of the box.", "The tall man is walking a dog"
BOTH = "The tall man near the red box is walking a dog"


@pytest.fixture
def files(tmp_path: Path) -> PromptFilesConfig:
    (tmp_path / "color_val.txt").write_text("a green bench and a blue bowl\n\na red apple and a yellow vase\n")
    (tmp_path / "non_spatial_val.txt").write_text("A person is reading a book.\n")
    (tmp_path / "complex_val.txt").write_text(f"{SPATIAL}\n{ACTING}\n{BOTH}\n")
    for kind, text in (("spatial", SPATIAL), ("action", ACTING), ("spatialaction", BOTH)):
        (tmp_path / f"complex_val_{kind}.txt").write_text(f"{text}\n")
    lines = "".join(json.dumps(value) + "\n" for value in (COUNTING, POSITION, COLORS))
    (tmp_path / "geneval.jsonl").write_text(lines)
    (tmp_path / "drawbench.csv").write_text('Prompts,Category\nA red car.,Colors\n"One cat, two dogs.",Counting\n')
    return PromptFilesConfig(
        compbench=tmp_path, geneval=tmp_path / "geneval.jsonl", drawbench=tmp_path / "drawbench.csv"
    )


def test_each_benchmark_is_a_style_of_its_own_without_real_pictures(files: PromptFilesConfig) -> None:
    rows = read_prompt_files(files)
    assert [row["style"] for row in rows] == ["t2i_compbench"] * 6 + ["geneval"] * 3 + ["drawbench"] * 2
    assert {row["reference_key"] for row in rows} == {None}
    assert len({row["prompt_id"] for row in rows}) == len({row["scene_id"] for row in rows}) == len(rows)


def test_limit_keeps_the_first_of_each_category(files: PromptFilesConfig) -> None:
    every, first = read_prompt_files(files), read_prompt_files(files.model_copy(update={"limit": 1}))
    kept = {row["category"]: row for row in reversed(every)}
    assert first == sorted(kept.values(), key=every.index)


def test_compbench_gives_one_prompt_a_line_and_complex_prompts_their_parts(files: PromptFilesConfig) -> None:
    assert files.compbench is not None
    rows = read_compbench(files.compbench, "val")
    assert [row["category"] for row in rows] == ["color", "color", "non_spatial", "complex", "complex", "complex"]
    assert rows[1]["prompt"] == "a red apple and a yellow vase"
    assert [json.loads(row["facts"])["parts"] for row in rows[3:]] == [["spatial"], ["action"], ["spatial", "action"]]
    with pytest.raises(ValueError, match="no file named"):
        read_compbench(files.compbench, "train")
    for path in files.compbench.glob("*_val.txt"):
        path.write_text("\n")
    with pytest.raises(ValueError, match="holds no prompt"):
        read_compbench(files.compbench, "val")


def test_a_line_that_joins_makes_no_other_prompt_new_and_one_that_comes_twice_is_two(files: PromptFilesConfig) -> None:
    assert files.compbench is not None
    before = {row["prompt_id"] for row in read_compbench(files.compbench, "val")}
    colors = files.compbench / "color_val.txt"
    colors.write_text(f"a new pink shoe\n{colors.read_text()}a red apple and a yellow vase\n")
    after = read_compbench(files.compbench, "val")
    fresh = [row["prompt"] for row in after if row["prompt_id"] not in before]
    assert fresh == ["a new pink shoe", "a red apple and a yellow vase"]
    assert len({row["prompt_id"] for row in after}) == len(after)


def test_interactions_are_stated_by_files_alone(files: PromptFilesConfig) -> None:
    stated = [row["category"] for row in read_prompt_files(files) if may_state_interaction(row)]
    assert stated == ["non_spatial", "complex", "complex", "complex"]
    assert not may_state_interaction({"style": "descriptive", "category": "complex"})


def test_geneval_declares_objects_counts_relation_and_what_is_one_too_many(files: PromptFilesConfig) -> None:
    assert files.geneval is not None
    counting, position, colors = (json.loads(row["facts"]) for row in read_geneval(files.geneval))
    assert counting["objects"] == [{"shape": "clock", "color": None, "count": 3}]
    assert counting["excluded"] == [{"shape": "clock", "count": 4}]
    assert position["relation"] == {"kind": "right of", "subject": 1, "object": 0}
    assert [thing["color"] for thing in colors["objects"]] == ["green", "red"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"include": []}, "include"),
        ({"tag": "mood"}, "tag"),
        ({"prompt": None}, "prompt"),
        ({"include": [{"class": "dog", "count": 0}]}, r"include\.0\.count"),
        ({"include": [{"class": "dog", "colour": "red"}]}, r"include\.0\.colour"),
        ({"include": [{"class": "dog", "position": ["beside", 0]}]}, r"include\.0\.position"),
        ({"include": [{"class": "dog", "position": ["left of", 7]}]}, "names clause 7"),
        ({"include": [{"class": "dog", "position": ["left of", 0]}]}, "names clause 0"),
        ({"include": [{"class": "dog", "position": ["left of", 1 - n]} for n in (0, 1)]}, "only one clause"),
        ({"exclude": [{"class": "dog"}]}, r"exclude\.0\.count"),
    ],
)
def test_a_line_that_is_no_prompt_of_geneval_is_named(tmp_path: Path, wrong: dict, message: str) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text(f"{json.dumps(COUNTING)}\n\n{json.dumps(COUNTING | wrong)}\n")
    with pytest.raises(ValueError, match=rf"broken\.jsonl, line 3: not a prompt of GenEval: .*{message}"):
        read_geneval(path)


def test_a_line_that_is_no_json_and_a_file_that_is_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_text("a photo of a dog\n")
    with pytest.raises(ValueError, match=r"broken\.jsonl, line 1: .*JSON"):
        read_geneval(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"broken\.jsonl is not UTF-8"):
        read_geneval(path)


def test_drawbench_keeps_its_categories_with_or_without_a_byte_order_mark(files: PromptFilesConfig) -> None:
    assert files.drawbench is not None
    rows = read_drawbench(files.drawbench)
    assert [row["category"] for row in rows] == ["drawbench_colors", "drawbench_counting"]
    assert rows[1]["prompt"] == "One cat, two dogs."
    files.drawbench.write_text(f"\ufeff{files.drawbench.read_text()}")
    assert read_drawbench(files.drawbench) == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text\nA car\n", r"columns Prompts and Category"),
        ("Prompts,Category\nA car,Colors\nA dog\n", r"\.csv, line 3: no category"),
        ("Prompts,Category\n ,Colors\n", r"\.csv, line 2: no prompt"),
        ("Prompts,Category\n", "holds no prompt"),
    ],
)
def test_a_table_that_is_not_like_drawbench_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "other.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_drawbench(tmp_path / "other.csv")


def test_a_path_may_begin_at_home_and_means_one_file_wherever_it_is_read(
    files: PromptFilesConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert PromptFilesConfig(geneval=Path("~/geneval.jsonl")).geneval == files.geneval
    with pytest.raises(SettingsError, match=r"prompts.*geneval.*data/geneval\.jsonl is relative: write the whole path"):
        load_settings().section("prompts", {"geneval": "data/geneval.jsonl"})


def test_what_is_not_there_is_named_when_prompts_are_read_and_stops_nothing_before(files: PromptFilesConfig) -> None:
    away = load_settings().section("prompts", {"geneval": "/unmounted/geneval.jsonl"})
    with pytest.raises(ValueError, match=r"prompts\.geneval: there is no file /unmounted/geneval\.jsonl"):
        read_prompt_files(away)
    with pytest.raises(ValueError, match=r"prompts\.compbench: there is no directory .*/geneval\.jsonl"):
        read_prompt_files(PromptFilesConfig(compbench=files.geneval))

"""In the UI a score leads on: to its pictures with reasons, and to the model, the blend and the captions behind it."""

import base64
import io
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from t2i_assets.assets.score_links import linked_scores, scored_samples
from t2i_assets.corpus.artifacts import read_ref
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import EVALS, LEADERBOARD, PROMPTS
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.definitions import defs
from tests.sample_home import make_home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("home"), samples=12, scenes=18)


def links(text: str) -> list[tuple[str, str]]:
    return re.findall(r"(?<!!)\[([^\]]+)\]\(/assets/([^)]+)\)", text)


def test_every_score_of_a_model_is_a_link_to_the_asset_that_shows_its_pictures(home: Home) -> None:
    text = linked_scores(read_ref(home, "leaderboard").path).value
    color = next(line for line in text.splitlines() if line.startswith("| color"))
    assert [where for _, where in links(color)] == [
        f"t2i_compbench?view=partitions&partition={recipe}" for recipe in ("alt_only", "blend_95_5")
    ]
    assert "n 3 ⚠" in color
    for metric, asset in (("clip_score", "clip_score"), ("fd_judge", "fid"), ("compositional", "t2i_compbench")):
        line = next(line for line in text.splitlines() if line.startswith(f"| {metric} "))
        assert {where.split("?")[0] for _, where in links(line)} == {asset}
    for words, asset in (("model", "latent_diffusion"), ("blend and captions", "caption_blend")):
        assert (words, f"{asset}?view=partitions&partition=alt_only") in links(text)
    known = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert {where.split("?")[0] for _, where in links(text)} <= known


def test_scores_that_do_not_compare_stand_on_lines_of_their_own(home: Home, tmp_path: Path) -> None:
    board = read_rows(read_ref(home, "leaderboard").path / "leaderboard.parquet", LEADERBOARD)
    for row in board:
        if row["metric"] == "color" and row["recipe"] == "alt_only":
            row["scorer"] = "another"
    write_table(tmp_path / "leaderboard.parquet", board, LEADERBOARD)
    lines = [line.split(" | ") for line in linked_scores(tmp_path).value.splitlines() if line.startswith("| color ")]
    assert [(name.strip("| "), alt != "–", blend != "–") for name, _, alt, blend, _ in lines] == [
        ("color (1)", False, True), ("color (2)", True, False),
    ] * 2  # fmt: skip


def shown(home: Home, metric: str, recipe: str = "alt_only") -> dict[str, str]:
    """Return what the page of a metric's partition shows, by name."""
    model, images = read_ref(home, "latent_diffusion", recipe), read_ref(home, "generated_images", recipe)
    scores, prompts = read_ref(home, metric, recipe).path, read_ref(home, "prompts").path
    return {name: text.value for name, text in scored_samples(home, scores, model, images, prompts).items()}


def test_the_best_and_worst_pictures_are_shown_with_the_reason(home: Home) -> None:
    text = shown(home, "t2i_compbench")["best and worst"]
    rows = [line for line in text.splitlines() if line.startswith("| descriptive | color |")]
    stored = read_rows(read_ref(home, "t2i_compbench", "alt_only").path / "scores.parquet", EVALS)
    values = [row["value"] for row in stored if (row["style"], row["metric"]) == ("descriptive", "color")]
    assert [float(row.split("|")[3]) for row in rows] == sorted(values, reverse=True)
    assert [("no red star was found" in row) for row in rows] == [value == 0 for value in sorted(values, reverse=True)]
    for row in rows:
        data = re.search(r"base64,([^)]+)", row)
        assert data is not None
        assert Image.open(io.BytesIO(base64.b64decode(data[1]))).size == (32, 32)


def test_texts_cannot_break_out_of_the_table(home: Home, tmp_path: Path) -> None:
    copy = Home(Path(shutil.copytree(home.root, tmp_path / "home")))
    prompts = read_ref(copy, "prompts").path / "prompts.parquet"
    hostile = "a | b](https://elsewhere.example) <script>"
    write_table(prompts, [{**row, "prompt": hostile} for row in read_rows(prompts, PROMPTS)], PROMPTS)
    scores = read_ref(copy, "t2i_compbench", "alt_only").path / "scores.parquet"
    write_table(scores, [{**row, "reason": hostile} for row in read_rows(scores, EVALS)], EVALS)
    text = shown(copy, "t2i_compbench")["best and worst"]
    assert {line.count("|") for line in text.splitlines()} == {7}
    assert "<script>" not in text
    assert "](https:" not in text


def test_pages_of_scores_lead_to_model_blend_and_pictures_also_where_the_score_is_of_a_whole_set(home: Home) -> None:
    ways = [
        (words, f"{asset}?view=partitions&partition=alt_only")
        for words, asset in (
            ("model", "latent_diffusion"), ("blend and captions", "caption_blend"), ("pictures", "generated_images")
        )
    ]  # fmt: skip
    for metric in ("t2i_compbench", "fid"):
        assert links(shown(home, metric)["behind"]) == ways
    assert "best and worst" not in shown(home, "fid")


def test_pages_of_an_experiments_scores_lead_to_its_own_model_and_pictures(home: Home) -> None:
    model, images = read_ref(home, "latent_diffusion", "blend_95_5"), read_ref(home, "generated_images", "alt_only")
    for made, asset, partition in ((model, "diffusion_replicate", "epsilon-1"), (images, "drawing", "epsilon-1-3.0")):
        made.manifest.asset, made.manifest.partition = asset, partition
    text = scored_samples(home, read_ref(home, "fid", "alt_only").path, model, images, Path())["behind"].value
    assert links(text) == [
        ("model", "diffusion_replicate?view=partitions&partition=epsilon-1"),
        ("blend and captions", "caption_blend?view=partitions&partition=blend_95_5"),
        ("pictures", "drawing?view=partitions&partition=epsilon-1-3.0"),
    ]

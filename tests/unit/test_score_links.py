"""In the UI a score leads on: to its pictures with reasons, and to the model, the blend and the captions behind it."""

import base64
import io
import re

import pytest
from PIL import Image

from t2i_assets.assets.score_links import linked_scores, scored_samples
from t2i_assets.corpus.artifacts import read_ref
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import EVALS
from t2i_assets.corpus.tables import read_rows
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
    assert ("caption blend", "caption_blend?view=partitions&partition=blend_95_5") in links(text)
    assert ("captions", "filtered_captions") in links(text)
    known = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert {where.split("?")[0] for _, where in links(text)} <= known


def test_the_best_and_worst_pictures_are_shown_with_the_reason(home: Home) -> None:
    scores, images = read_ref(home, "t2i_compbench", "alt_only"), read_ref(home, "generated_images", "alt_only")
    text = scored_samples(scores.path, images, read_ref(home, "evaluation_set").path)["best and worst"].value
    rows = [line for line in text.splitlines() if line.startswith("| descriptive | color |")]
    values = sorted(
        (row["value"] for row in read_rows(scores.path / "scores.parquet", EVALS)
         if (row["style"], row["metric"]) == ("descriptive", "color")), reverse=True
    )  # fmt: skip
    assert [float(row.split("|")[3]) for row in rows] == values
    assert [("no red star was found" in row) for row in rows] == [value == 0 for value in values]
    for row in rows:
        data = re.search(r"base64,([^)]+)", row)
        assert data is not None
        assert Image.open(io.BytesIO(base64.b64decode(data[1]))).size == (32, 32)


def test_texts_cannot_break_out_of_the_table(home: Home) -> None:
    scores, images = read_ref(home, "t2i_compbench", "alt_only"), read_ref(home, "generated_images", "alt_only")
    text = scored_samples(scores.path, images, read_ref(home, "evaluation_set").path)["best and worst"].value
    assert {line.count("|") for line in text.splitlines()[2:]} == {7}


def test_a_metric_of_whole_sets_shows_no_pictures(home: Home) -> None:
    scores, images = read_ref(home, "fid", "alt_only"), read_ref(home, "generated_images", "alt_only")
    assert scored_samples(scores.path, images, read_ref(home, "evaluation_set").path) == {}

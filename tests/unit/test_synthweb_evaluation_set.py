"""The evaluation set on disk."""

import json

import pyarrow.parquet as pq
import pytest

from t2i_assets.corpus.digests import tree_digest
from t2i_assets.corpus.schemas import CAPTIONS, PROMPTS
from t2i_assets.corpus.shards import iter_images, read_samples, verify
from t2i_assets.corpus.tables import read_rows
from t2i_assets.synthweb.config import DRAWN, EMBEDDED_CATEGORIES, EvaluationSetConfig, SiteConfig, stream
from t2i_assets.synthweb.evaluation_set import original_statement, scene_of, write_evaluation_set
from t2i_assets.synthweb.language import holds, read
from t2i_assets.synthweb.site import build_site

CONFIG = EvaluationSetConfig(scenes_per_category=5, pool_images=40, heldout_images=12)
OPENINGS = ("image of ", "picture of ", "photo: ")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("evaluation_set")
    summary = write_evaluation_set(CONFIG, path)
    assert summary == {"scenes": 30, "prompts": 60, "pool_images": 40, "heldout_images": 12}
    return path


@pytest.fixture(scope="module")
def prompts(directory):
    return read_rows(directory / "prompts.parquet", PROMPTS)


def undressed(prompt: str) -> str:
    text = prompt.lower()
    for opening in OPENINGS:
        text = text.removeprefix(opening)
    return text


def test_every_category_has_its_scenes_with_one_prompt_of_each_style(prompts):
    assert len({row["prompt_id"] for row in prompts}) == len(prompts)
    for category in EMBEDDED_CATEGORIES:
        rows = [row for row in prompts if row["category"] == category]
        assert len({row["scene_id"] for row in rows}) == 5
        assert sorted(row["style"] for row in rows) == ["descriptive"] * 5 + ["original"] * 5


def test_the_facts_are_exactly_what_the_prompt_says(prompts):
    for row in prompts:
        assert read(undressed(row["prompt"])).facts() == json.loads(row["facts"]), row["prompt"]


def test_every_prompt_is_true_of_its_scene():
    for category in EMBEDDED_CATEGORIES:
        for number in range(50):
            scene = scene_of(category, stream(3, category, number))
            assert holds(original_statement(category, scene), scene)


def test_prompts_state_what_their_category_asks_for(prompts):
    for row in prompts:
        facts = json.loads(row["facts"])
        colors, textures = ([thing[name] for thing in facts["objects"]] for name in ("color", "texture"))
        match row["category"]:
            case "color":
                assert all(colors) and set(textures) <= {None, "solid"}
            case "texture":
                assert set(textures) <= {"striped", "dotted"} and len(set(textures)) == len(textures)
            case "spatial":
                assert facts["relation"] is not None and len(facts["objects"]) == 2
            case "numeracy":
                assert facts["objects"][0]["count"] > 1
            case "shape" | "complex":
                assert len(facts["objects"]) >= 2
        if row["style"] == "descriptive":
            assert all(colors) and all(textures) and facts["background"]


def test_each_reference_picture_belongs_to_one_scene(directory, prompts):
    keys = set(read_samples(directory / "reference")["key"].to_pylist())
    by_scene = {row["scene_id"]: row["reference_key"] for row in prompts}
    assert set(by_scene.values()) == keys and len(keys) == len(by_scene) == 30
    captions = {row["key"]: row["alt_text"] for row, _ in iter_images(directory / "reference")}
    assert all(captions[row["reference_key"]] == row["prompt"] for row in prompts if row["style"] == "descriptive")


@pytest.mark.parametrize(("name", "count"), [("pool", 40), ("heldout", 12)])
def test_pools_hold_pictures_exact_captions_and_boxes(directory, name, count):
    keys = set(read_samples(directory / name)["key"].to_pylist())
    facts = {
        row["key"]: json.loads(row["facts"]) for row in pq.read_table(directory / name / "facts.parquet").to_pylist()
    }
    captions = read_rows(directory / name / "captions.parquet", CAPTIONS)
    assert len(keys) == count and set(facts) == keys and len(captions) == 2 * count
    for row in captions:
        statement, shown = read(row["caption"]), facts[row["key"]]
        assert row["source"] == "human"
        assert sum(mention.count for mention in statement.objects) == len(shown["objects"])
        if json.loads(row["decode"])["style"] == "descriptive":
            assert statement.background == shown["background"]
            said = {(m.shape, m.color, m.texture) for m in statement.objects}
            assert said == {(thing["shape"], thing["color"], thing["texture"]) for thing in shown["objects"]}
    for shown in facts.values():
        for x0, y0, x1, y1 in (thing["box"] for thing in shown["objects"]):
            assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1


def test_shards_are_whole_and_no_picture_is_in_two_places(directory):
    keys = []
    for name in ("reference", "pool", "heldout"):
        assert verify(directory / name) == []
        keys += read_samples(directory / name)["key"].to_pylist()
    assert len(set(keys)) == len(keys)


def test_equal_configurations_give_equal_bytes(directory, tmp_path):
    write_evaluation_set(CONFIG, tmp_path)
    assert tree_digest(tmp_path) == tree_digest(directory)


def test_no_scene_is_on_the_site_of_the_same_seed():
    site = {picture.scene for picture in build_site(SiteConfig(pages=40, seed=CONFIG.seed)).pictures.values()}
    for category in EMBEDDED_CATEGORIES:
        for number in range(40):
            assert scene_of(category, stream(CONFIG.seed, "evaluation", category, number)) not in site


def test_in_counting_as_geneval_does_one_more_object_is_one_too_many(tmp_path):
    config = EvaluationSetConfig(
        scenes_per_category=4, pool_images=1, heldout_images=1, categories=("geneval_counting",)
    )
    write_evaluation_set(config, tmp_path)
    for row in read_rows(tmp_path / "prompts.parquet", PROMPTS):
        facts = json.loads(row["facts"])
        assert [one["count"] for one in facts["excluded"]] == [one["count"] + 1 for one in facts["objects"]]


def test_new_fields_leave_the_identity_of_the_default_set_as_it_was():
    names = {"seed", "scenes_per_category", "pool_images", "heldout_images", "image_size"}
    assert set(EvaluationSetConfig().model_dump(mode="json")) == names
    assert set(EvaluationSetConfig(categories=DRAWN).model_dump(mode="json")) == {*names, "categories"}
    assert EvaluationSetConfig().categories == EMBEDDED_CATEGORIES


def test_interactions_cannot_be_drawn_and_the_message_says_where_they_come_from():
    with pytest.raises(ValueError, match=r"flat shapes do nothing to each other; take prompts\.compbench"):
        EvaluationSetConfig(categories=("non_spatial",))
    with pytest.raises(ValueError, match="'mood' cannot be drawn"):
        EvaluationSetConfig(categories=("mood",))

"""What agrees with the evaluation set is found, kept out of blends, and noticed where it comes in anyway."""

from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from t2i_assets.checks.duplicates import held_out
from t2i_assets.corpus.artifacts import Manifest, publish, read_ref, write_ref
from t2i_assets.corpus.blending import DEFAULT_RECIPES, BlendRecipe
from t2i_assets.corpus.catalog import build_catalog, query
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.duplicates.config import ContaminationConfig
from t2i_assets.corpus.duplicates.contamination import find_contamination, plain
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import BLENDS, CONTAMINATION, IMAGE_EMBEDDINGS, PROMPTS
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.images import process_image
from t2i_assets.resources import Pipeline
from tests.sample_home import SNAPSHOT, make_home
from tests.unit.crawl_site import picture

IMAGES = ImageConfig(size=64, min_bytes=0)


def write(directory: Path, bodies: dict[str, bytes], texts: dict[str, list[str]] | None = None) -> dict[str, str]:
    """Write one shard; return the key of each name."""
    keys = {}
    with ShardWriter(directory, "demo") as writer:
        for name, body in bodies.items():
            image = process_image(body, IMAGES)
            own = (texts or {}).get(name, [name])
            about = {field: value for field, value in vars(image).items() if field not in ("data", "ext", "exif")}
            row = {"key": image.key, "source": "s", "image_ext": "jpg", "image_url": name, "consent": ""}
            row["texts"] = [{"text": text, "field": "alt", "page_url": None, "labels": []} for text in own]
            writer.write(about | row | {"alt_text": own[0]}, image.data, own[0])
            keys[name] = image.key
    return keys


def evaluation_set(directory: Path, prompts: list[str]) -> dict[str, str]:
    keys = write(directory / "reference", {"scored": picture(1, (300, 225), "PNG")})
    keys |= write(directory / "pool", {"judged": picture(2, (300, 225), "PNG")})
    keys |= write(directory / "heldout", {"measured": picture(3, (300, 225), "PNG")})
    rows = [
        {"prompt_id": f"p{number}", "scene_id": "s", "style": "original", "category": "color", "prompt": prompt}
        | {"facts": "{}", "reference_key": keys["scored"]}
        for number, prompt in enumerate(prompts)
    ]
    write_table(directory / "prompts.parquet", rows, PROMPTS)
    return keys


def agreements(root: Path, config: ContaminationConfig | None = None, **features: Path) -> dict[str, dict[str, Any]]:
    config = config or ContaminationConfig()
    find_contamination(root / "shards", root / "evaluation", "demo", root / "out", config, **features)
    rows = read_rows(root / "out", CONTAMINATION)
    return {f"{row['key']}/{row['kind']}": row for row in rows}


def test_the_same_file_a_smaller_copy_and_a_prompt_are_found_and_nothing_else(tmp_path: Path) -> None:
    held_out = evaluation_set(tmp_path / "evaluation", ["A red ball.", "a blue square left of a green star"])
    bodies = {
        "same file": picture(1, (300, 225), "PNG"),
        "smaller": picture(2, (200, 150), "JPEG", quality=80),
        "of the heldout": picture(3, (280, 210), "WEBP"),
        "other": picture(9, (300, 225), "PNG"),
        "spoken": picture(10, (300, 225), "PNG"),
    }
    texts = {"spoken": ["see here", "a RED  ball"], "other": ["a red ball on a white table"]}
    keys = write(tmp_path / "shards", bodies, texts)
    found = agreements(tmp_path)
    assert {(row["key"], row["kind"], row["reference"]) for row in found.values()} == {
        (keys["same file"], "exact", held_out["scored"]),
        (keys["smaller"], "perceptual", held_out["judged"]),
        (keys["of the heldout"], "perceptual", held_out["measured"]),
        (keys["spoken"], "text", "p0"),
    }
    assert found[f"{keys['smaller']}/perceptual"]["distance"] <= ContaminationConfig().images.radius
    assert "the text 'a RED  ball' is the prompt 'A red ball.'" in found[f"{keys['spoken']}/text"]["detail"]
    only_scored = agreements(tmp_path, ContaminationConfig(parts=("reference",)))
    assert {row["kind"] for row in only_scored.values()} == {"exact", "text"}


def test_embeddings_find_what_hashes_do_not_and_the_strongest_kind_is_told(tmp_path: Path) -> None:
    held_out = evaluation_set(tmp_path / "evaluation", [])
    bodies = {
        "same": picture(1, (300, 225), "PNG"),
        "alike": picture(5, (99, 99), "PNG"),
        "other": picture(6, (80, 80), "PNG"),
    }
    keys = write(tmp_path / "shards", bodies)
    own = {"same": [1.0, 0.0], "alike": [1.0, 0.0], "other": [0.0, 1.0]}
    table = pa.table({"key": [keys[name] for name in own], "embedding": list(own.values())})
    write_table(tmp_path / "features" / "0.parquet", table, IMAGE_EMBEDDINGS)
    table = pa.table({"key": [held_out["scored"]], "embedding": [[1.0, 0.0]]})
    write_table(tmp_path / "references" / "0.parquet", table, IMAGE_EMBEDDINGS)
    places = {"features_dir": tmp_path / "features", "reference_features_dir": tmp_path / "references"}
    found = agreements(tmp_path, **places)
    assert set(found) == {f"{keys['same']}/exact", f"{keys['alike']}/semantic"}
    assert found[f"{keys['alike']}/semantic"]["cosine"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A red ball.", "a red ball"),
        ("a\u00a0red –  BALL!", "a red ball"),
        ("ｒｅｄ", "red"),
        ("Straße", "strasse"),
        ("…", ""),
    ],
)
def test_case_punctuation_and_spacing_make_no_other_text(text: str, words: str) -> None:
    assert plain(text) == words


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home", until="autoencoder")


def check(home: Home) -> dg.AssetCheckResult:
    return held_out(Pipeline(preset="tiny", home=str(home.root)), "alt_only")


def replace_blend(home: Home, rows: list[dict[str, Any]], recipe: BlendRecipe) -> None:
    """Have the recipe's blend hold these rows."""
    manifest = Manifest(
        asset="caption_blend",
        partition=recipe.name,
        digest=digest([rows, recipe.model_dump(mode="json")]),
        code_version="1",
        config=recipe.model_dump(mode="json"),
    )
    path = home.blend(recipe.name, manifest.digest)
    artifact = publish(path, manifest, lambda out: write_table(out / "00000.parquet", rows, BLENDS) and None)
    write_ref(home, "caption_blend", recipe.name, artifact)


def test_a_blend_without_contaminated_samples_passes(home: Home) -> None:
    found = check(home)
    assert found.passed
    assert found.metadata["agreements checked"].value == 1


def test_a_contaminated_image_that_gets_into_a_blend_fails_the_check_by_name(home: Home) -> None:
    [recipe] = [recipe for recipe in DEFAULT_RECIPES if recipe.name == "alt_only"]
    rows = read_rows(read_ref(home, "caption_blend", recipe.name).path, BLENDS)
    agreements = read_rows(read_ref(home, "contamination", SNAPSHOT).path, CONTAMINATION)
    leaked = {row["kind"]: row["key"] for row in agreements}
    assert leaked["exact"] not in {row["key"] for row in rows}
    assert leaked["text"] in {row["key"] for row in rows}, "texts that are prompts stay unless the recipe minds"
    tampered = [*rows, {**rows[0], "key": leaked["exact"]}]
    replace_blend(home, tampered, recipe)
    found = check(home)
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert [record.data["key"] for record in found.metadata["leaked"].records] == [leaked["exact"]]
    replace_blend(home, tampered, recipe.model_copy(update={"decontaminate": ()}))
    found = check(home)
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    replace_blend(home, rows, recipe.model_copy(update={"decontaminate": ("exact", "perceptual", "text")}))
    assert not check(home).passed


def test_the_funnel_counts_images_of_the_evaluation_set_and_what_is_alike_after_copies(home: Home) -> None:
    build_catalog(home)
    sql = (
        "SELECT stage_order, reason, count FROM funnel WHERE stage_order IN (5, 9, 10) ORDER BY stage_order, count DESC"
    )
    assert [tuple(row.values()) for row in query(home, sql).to_pylist()] == [
        (5, "passed", 58),
        (5, "perceptual", 2),
        (9, "passed", 57),
        (9, "exact", 1),
        (10, "passed", 56),
        (10, "semantic", 1),
    ]
    assert query(home, "SELECT kind, detail FROM contamination ORDER BY kind").to_pylist()[0]["kind"] == "exact"

"""A blend with a table for one consumer and with the human set's images, as everything that reads blends sees it."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from t2i_assets import jobs
from t2i_assets.assets import blend, diffusion, human_set, models
from t2i_assets.checks.blend import drawn_in_an_epoch, drawn_in_training
from t2i_assets.checks.duplicates import held_out
from t2i_assets.corpus.artifacts import Artifact, Manifest, read_ref
from t2i_assets.corpus.blend import is_held_out
from t2i_assets.corpus.blending import Consumer, tables_below
from t2i_assets.corpus.catalog import build_catalog, query
from t2i_assets.corpus.export.run import export_blend
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.integrity import verify_home
from t2i_assets.corpus.purge import carry_out, plan_purge
from t2i_assets.corpus.schemas import BLENDS, CONTAMINATION
from t2i_assets.corpus.shards import read_samples
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.resources import Pipeline
from tests.sample_home import SNAPSHOT, make_home
from training.data import BlendTexts, read_blend

RECIPE = "blend_95_5"
WITH_PEOPLE = {
    "name": RECIPE,
    "weights": {"synthetic_descriptive": 0.8, "original": 0.1, "human": 0.1},
    "consumers": {"clip": {"original": 0.5, "synthetic_short": 0.5}},
    "include_human_samples": True,
}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A home whose blend was made by the recipe above, word lists and all."""
    root = tmp_path_factory.mktemp("people")
    make_home(root / "home", samples=40, scenes=6)
    (root / "words.txt").write_text("red\n")
    preset = {"blends": {RECIPE: WITH_PEOPLE}, "verdicts": {"word_lists": [{"path": str(root / "words.txt")}]}}
    (root / "preset.yaml").write_text(yaml.safe_dump(preset))
    pipeline = Pipeline(preset=str(root / "preset.yaml"), home=str(root / "home"))
    make(pipeline, human_set.human_contamination)
    make(pipeline, blend.caption_blend, RECIPE)
    return pipeline


def make(pipeline: Pipeline, asset: dg.AssetsDefinition, partition: str | None = None, overrides: Any = None) -> None:
    config = {"ops": {asset.key.to_user_string(): {"config": {"overrides": overrides or {}}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        resources = {"pipeline": pipeline}
        done = dg.materialize(
            [asset], instance=instance, partition_key=partition, resources=resources, run_config=config
        )
    assert done.success


def made(pipeline: Pipeline) -> Artifact:
    return read_ref(pipeline.place, "caption_blend", RECIPE)


def test_each_consumer_reads_what_its_weights_name(pipeline: Pipeline) -> None:
    sources = {
        consumer: {caption.source for own in read_blend(made(pipeline).path, consumer).values() for caption in own}
        for consumer in ("clip", "priors", "diffusion")
    }
    everyone = {"alt", "human", "synthetic_descriptive"}
    assert sources == {"clip": {"alt", "synthetic_short"}, "priors": everyone, "diffusion": everyone}


def test_images_of_the_human_set_are_drawn_with_what_people_wrote_unless_a_listed_word_is_in_it(
    pipeline: Pipeline,
) -> None:
    rows = [row for row in read_rows(made(pipeline).path, BLENDS) if row["snapshot"] == "human"]
    people = set(read_samples(read_ref(pipeline.place, "human_captions").path)["key"].to_pylist())
    assert {row["source"] for row in rows} == {"human"}
    assert 0 < len({row["key"] for row in rows}) <= len(people)
    assert {row["key"] for row in rows} <= people
    assert not [row for row in rows if "red" in row["caption"].lower().split()]
    assert made(pipeline).manifest.summary["rejected_captions"]["human"]["listed_word"] > 0


def test_checks_hold_of_every_table(pipeline: Pipeline) -> None:
    found = drawn_in_an_epoch(made(pipeline))
    assert found.passed
    assert {name.split()[0] for name in found.metadata} == {"alt", "human", "synthetic_descriptive", "clip"}
    held = held_out(pipeline, RECIPE)
    assert held.passed
    keys = {row["key"] for file in tables_below(made(pipeline).path) for row in read_rows(file, BLENDS)}
    assert held.metadata["samples"].value == len(keys)


def test_a_contaminated_sample_of_one_consumer_alone_fails_the_check(pipeline: Pipeline, tmp_path: Path) -> None:
    blended = made(pipeline)
    file = blended.path / "clip" / "00000.parquet"
    whole = file.read_bytes()
    rows = read_rows(file, BLENDS)
    contamination = read_ref(pipeline.place, "contamination", SNAPSHOT).path
    [leak] = [row["key"] for row in read_rows(contamination, CONTAMINATION) if row["kind"] == "exact"]
    try:
        write_table(file, [*rows, {**rows[0], "key": leak}], BLENDS)
        assert not held_out(pipeline, RECIPE).passed
    finally:
        file.write_bytes(whole)
    assert held_out(pipeline, RECIPE).passed


def test_the_catalog_counts_each_sample_once_and_shows_the_consumers_table_apart(pipeline: Pipeline) -> None:
    build_catalog(pipeline.place)
    everyone = {row["key"] for row in read_rows(made(pipeline).path, BLENDS)}

    def ask(sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = query(pipeline.place, sql).to_pylist()
        return rows

    [counted] = ask(f"SELECT sum(count) AS n FROM funnel WHERE stage = 'training samples of {RECIPE}'")
    assert counted["n"] == len(everyone)
    [shares] = ask(f"SELECT sum(weight) AS n FROM blends WHERE current AND name = '{RECIPE}'")
    assert shares["n"] == pytest.approx(len(everyone))
    own = ask(
        "SELECT consumer, blend_digest, count(DISTINCT key) AS n, sum(weight) AS w FROM consumer_blends GROUP BY ALL"
    )
    assert [(row["consumer"], row["blend_digest"]) for row in own] == [("clip", made(pipeline).digest)]
    assert own[0]["w"] == pytest.approx(own[0]["n"])


def test_an_export_holds_the_human_sets_images_too(pipeline: Pipeline, tmp_path: Path) -> None:
    export_blend(pipeline.place, RECIPE, "imagefolder", tmp_path / "out")
    lines = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    rows = read_rows(made(pipeline).path, BLENDS)
    assert Counter(line["snapshot"] for line in lines) == Counter(
        dict({row["key"]: row["snapshot"] for row in rows}).values()
    )
    assert {line["key"] for line in lines} == {row["key"] for row in rows}


def test_a_recipe_that_asks_for_human_captions_of_images_that_were_not_crawled_says_so(
    pipeline: Pipeline, capfd: pytest.CaptureFixture[str]
) -> None:
    before = made(pipeline)
    make(pipeline, blend.caption_blend, RECIPE, {"include_human_samples": False})
    assert "no image of the human set was crawled" in capfd.readouterr().err
    alone = made(pipeline)
    make(pipeline, blend.caption_blend, RECIPE)
    assert "no image of the human set was crawled" not in capfd.readouterr().err
    assert alone.manifest.summary["samples_with"]["human"] == 0
    assert not [row for row in read_rows(alone.path, BLENDS) if row["source"] == "human"]
    assert made(pipeline).digest == before.digest


def test_models_are_given_the_human_sets_images_and_latents(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Mapping[str, Any]] = {}

    def note(context: Any, module: str, config: Any, inputs: Mapping[str, Any], output: Path, _: Any) -> dict[str, Any]:
        given[module] = inputs
        (output / "model").write_text(module)
        return {}

    monkeypatch.setattr(jobs, "launch", note)
    make(pipeline, diffusion.autoencoder)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("snapshot", [SNAPSHOT])
        dg.materialize([diffusion.latents], instance=instance, partition_key=SNAPSHOT, resources={"pipeline": pipeline})
    make(pipeline, human_set.human_latents)
    for asset in (models.clip_model, models.clip_embeddings, diffusion.latent_diffusion):
        make(pipeline, asset, RECIPE)
    people = read_ref(pipeline.place, "human_captions").path
    both = [read_ref(pipeline.place, "shards", SNAPSHOT).path, people]
    assert given["training.clip"]["shards"] == given["training.embed"]["shards"] == both
    assert given["training.latents"]["shards"] == people
    latents = [read_ref(pipeline.place, "latents", SNAPSHOT).path, read_ref(pipeline.place, "human_latents").path]
    assert given["training.diffusion"]["latents"] == latents
    manifest = read_ref(pipeline.place, "latent_diffusion", RECIPE).manifest
    assert manifest.inputs["latents/human"] == read_ref(pipeline.place, "human_latents").identity


def trained(pipeline: Pipeline, shares: dict[str, float], steps: int = 400) -> Artifact:
    """Return a model that says what its training drew."""
    config = {"held_out": 0.1, "optimizer": {"steps": steps, "batch_size": 32}}
    summary = {f"blend/{source}": share for source, share in shares.items()}
    manifest = Manifest(
        asset="model",
        partition=RECIPE,
        digest="d",
        code_version="1",
        config=config,
        inputs={"caption_blend": made(pipeline).digest},
        summary=summary,
    )
    return Artifact(path=Path("model"), manifest=manifest)


def drawn(pipeline: Pipeline, consumer: Consumer, epochs: int) -> dict[str, float]:
    """Return the shares that training on a consumer's table draws."""
    found = read_blend(made(pipeline).path, consumer)
    keys = [key for key in found if not is_held_out(key, 0.1)]
    texts, counts = BlendTexts(found), Counter[str]()
    for epoch in range(epochs):
        counts.update(texts.count_sources(3, epoch, keys))
    return {source: count / counts.total() for source, count in counts.items()}


def test_what_training_drew_is_held_against_the_table_of_its_consumer(pipeline: Pipeline) -> None:
    pairs: list[tuple[Consumer, Consumer]] = [("clip", "diffusion"), ("priors", "clip")]
    for consumer, other in pairs:
        model = trained(pipeline, drawn(pipeline, consumer, 200))
        found = drawn_in_training(pipeline, model, consumer)
        assert found.passed, found.metadata
        assert not drawn_in_training(pipeline, model, other).passed


def test_shares_may_lie_as_far_off_as_chance_brings_so_many_draws(pipeline: Pipeline) -> None:
    shares = drawn(pipeline, "clip", 200)
    off = {"alt": shares["alt"] - 0.05, "synthetic_short": shares["synthetic_short"] + 0.05}
    assert not drawn_in_training(pipeline, trained(pipeline, off), "clip").passed
    assert drawn_in_training(pipeline, trained(pipeline, off, steps=2), "clip").passed
    assert not drawn_in_training(pipeline, trained(pipeline, {}), "clip").passed


def test_a_home_with_consumers_verifies_and_a_purge_reaches_their_tables(pipeline: Pipeline) -> None:
    assert [str(fault) for fault in verify_home(Home(pipeline.place.root)) if "blends/" in fault.place] == []
    [victim, *_] = read_rows(made(pipeline).path / "clip" / "00000.parquet", BLENDS)
    carry_out(pipeline.place, plan_purge(pipeline.place, [("key", victim["key"])], "a wish"))
    left = [row["key"] for file in tables_below(made(pipeline).path) for row in read_rows(file, BLENDS)]
    assert left
    assert victim["key"] not in left


def test_the_limits_of_the_preset_hold_for_people_who_are_not_trusted(pipeline: Pipeline, tmp_path: Path) -> None:
    preset = yaml.safe_load(Path(pipeline.preset).read_text())
    preset["verdicts"] |= {"trusted_sources": [], "by_source": {"human": {"min_words": 5}}}
    (tmp_path / "strict.yaml").write_text(yaml.safe_dump(preset))
    make(pipeline, blend.caption_blend, RECIPE)
    before = made(pipeline)
    make(Pipeline(preset=str(tmp_path / "strict.yaml"), home=pipeline.home), blend.caption_blend, RECIPE)
    strict = made(pipeline)
    make(pipeline, blend.caption_blend, RECIPE)

    def shortest(blended: Artifact) -> int:
        rows = read_rows(blended.path, BLENDS)
        return min(len(row["caption"].split()) for row in rows if row["source"] == "human")

    assert shortest(before) < 5 <= shortest(strict)
    assert strict.manifest.summary["rejected_captions"]["human"]["too_short"] > 0
    assert made(pipeline).digest == before.digest != strict.digest

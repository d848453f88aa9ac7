"""A new threshold or ratio runs no model and reads no image; a new captioner changes only what depends on it."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from t2i_assets import jobs
from t2i_assets.assets import blend, capfilt, captioner, diffusion, duplicates, models
from t2i_assets.corpus.artifacts import Artifact, list_refs, read_ref
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import BLENDS, CAPTIONS, IMAGE_EMBEDDINGS, SCORES, VERDICTS
from t2i_assets.corpus.shards import read_image, read_samples
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.corpus.verdicts import alt_captions
from t2i_assets.definitions import defs
from t2i_assets.resources import Pipeline
from tests.sample_home import SNAPSHOT, make_home
from tests.watched import watched

RECIPE = "blend_95_5"


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("snapshot", [SNAPSHOT])
        yield instance


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("home"), samples=24, scenes=6)


def rebuild(
    instance: dg.DagsterInstance,
    home: Home,
    assets: list[dg.AssetsDefinition],
    partition: str | None = None,
    **overrides: dict[str, Any],
) -> None:
    done = dg.materialize(
        assets,
        instance=instance,
        partition_key=partition,
        resources={"pipeline": Pipeline(preset="tiny", home=str(home.root))},
        run_config={"ops": {name: {"config": {"overrides": changed}} for name, changed in overrides.items()}},
    )
    assert done.success


def rejudge_and_blend(instance: dg.DagsterInstance, home: Home, rules: dict[str, Any], recipe: dict[str, Any]) -> None:
    rebuild(instance, home, [capfilt.filtered_captions], SNAPSHOT, filtered_captions=rules)
    rebuild(instance, home, [blend.caption_blend], RECIPE, caption_blend=recipe)


def kept(home: Home) -> int:
    return sum(row["kept"] for row in read_rows(read_ref(home, "filtered_captions", SNAPSHOT).path, VERDICTS))


def synthetic_share(home: Home) -> float:
    rows = read_rows(read_ref(home, "caption_blend", RECIPE).path, BLENDS)
    weights = {source: sum(row["weight"] for row in rows if row["source"] == source) for source in ("alt", "human")}
    return 1 - sum(weights.values()) / sum(row["weight"] for row in rows)


def test_the_watch_sees_images_that_are_read_and_programs_that_are_started(home: Home) -> None:
    shards = read_ref(home, "shards", SNAPSHOT).path
    with watched() as seen:
        read_image(shards, read_samples(shards).to_pylist()[0])
        subprocess.run([sys.executable, "-c", ""], check=True)
    assert seen.shards == [str(shards / "00000.tar")]
    assert len(seen.programs) >= 1


def test_a_new_threshold_rejudges_and_reblends_with_no_model_and_no_image(
    instance: dg.DagsterInstance, home: Home
) -> None:
    rejudge_and_blend(instance, home, {}, {})
    before, drawn = kept(home), read_ref(home, "caption_blend", RECIPE).digest
    with watched() as seen:
        rejudge_and_blend(instance, home, {"itm_threshold": 0.9}, {})
    assert kept(home) < before
    assert read_ref(home, "caption_blend", RECIPE).digest != drawn
    assert (seen.shards, seen.programs) == ([], [])


def test_a_new_ratio_reblends_with_no_model_and_no_image(instance: dg.DagsterInstance, home: Home) -> None:
    rejudge_and_blend(instance, home, {}, {})
    judged, share = read_ref(home, "filtered_captions", SNAPSHOT).digest, synthetic_share(home)
    with watched() as seen:
        rejudge_and_blend(instance, home, {}, {"weights": {"synthetic_descriptive": 0.5, "original": 0.5}})
    assert read_ref(home, "filtered_captions", SNAPSHOT).digest == judged
    assert synthetic_share(home) < share - 0.1
    assert (seen.shards, seen.programs) == ([], [])


def test_a_changed_word_list_rejudges_and_an_unchanged_one_that_moved_does_not(
    instance: dg.DagsterInstance, home: Home, tmp_path: Path
) -> None:
    def judged(path: Path, words: str) -> tuple[str, int]:
        path.parent.mkdir(exist_ok=True)
        path.write_text(words)
        rules = {"word_lists": [{"path": str(path)}]}
        rebuild(instance, home, [capfilt.filtered_captions], SNAPSHOT, filtered_captions=rules)
        artifact = read_ref(home, "filtered_captions", SNAPSHOT)
        listed = [row for row in read_rows(artifact.path, VERDICTS) if row["reason"] == "listed_word"]
        return artifact.digest, len(listed)

    first, none = judged(tmp_path / "a" / "words.txt", "dirigible\n")
    assert none == 0
    second, some = judged(tmp_path / "a" / "words.txt", "dirigible\nred\n")
    assert some > 0
    assert second != first
    assert judged(tmp_path / "b" / "words.txt", "# moved\ndirigible\nred\n") == (second, some)


WHOLE_ASSETS = [captioner.captioner, captioner.caption_filter, diffusion.autoencoder]
BY_SNAPSHOT = [
    *(capfilt.synthetic_captions, capfilt.caption_scores, capfilt.filtered_captions, diffusion.latents),
    *(duplicates.near_duplicates, duplicates.image_features, duplicates.semantic_duplicates, duplicates.contamination),
]
BY_RECIPE = [
    *(blend.caption_blend, models.clip_model, models.clip_embeddings, models.diffusion_prior),
    *(models.autoregressive_prior, diffusion.latent_diffusion),
]


def stand_in(
    context: dg.AssetExecutionContext,
    module: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, Any],
    output: Path,
    _: Any,
) -> dict[str, Any]:
    """Write in the place of a job: tables whose texts tell which captioner wrote them, and nothing learned."""
    if module == "training.recaption":
        rows = [
            {**row, "source": source, "caption": f"{source} by {config['captioner_digest']}"}
            for row in alt_captions(inputs["shards"])
            for source in ("synthetic_short", "synthetic_descriptive")
        ]
        write_table(
            output / "00000.parquet", [{**row, "caption_id": row["caption"] + row["key"]} for row in rows], CAPTIONS
        )
    elif module == "training.score":
        rows = alt_captions(inputs["shards"]) + [r for path in inputs["captions"] for r in read_rows(path, CAPTIONS)]
        scored = [
            {"caption_id": row["caption_id"], "key": row["key"], "scorer": "", "kind": kind, "value": 1.0}
            for row in rows
            for kind in ("itm", "itc")
        ]
        write_table(output / "00000.parquet", scored, SCORES)
    elif module == "training.image_features":
        for shards, place in ((inputs["shards"], output), (inputs["references"], output / "references")):
            keys = read_samples(shards)["key"].to_pylist()
            embeddings = pa.array([[float(n), 1.0] for n in range(len(keys))], pa.list_(pa.float32()))
            write_table(place / "00000.parquet", pa.table({"key": keys, "embedding": embeddings}), IMAGE_EMBEDDINGS)
    (output / "run.json").write_text(json.dumps(dict(config)))
    return {}


def identities(home: Home) -> dict[str, str]:
    """Return what each asset of the graph holds, by the name that its products would know it by."""
    held: dict[str, dict[str, Artifact]] = {
        key.to_user_string(): list_refs(home, key.to_user_string())
        for key in defs.resolve_asset_graph().get_all_asset_keys()
    }
    return {f"{name}[{partition}]": made.identity for name, of in held.items() for partition, made in of.items()}


def test_a_new_captioner_changes_what_depends_on_it_and_nothing_else(
    instance: dg.DagsterInstance, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "launch", stand_in)

    def make_all(seed: int) -> dict[str, str]:
        rebuild(instance, home, WHOLE_ASSETS, captioner={"seed": seed})
        rebuild(instance, home, BY_SNAPSHOT, SNAPSHOT)
        rebuild(instance, home, BY_RECIPE, RECIPE)
        return identities(home)

    first = make_all(0)
    assert make_all(0) == first
    second = make_all(1)
    changed = {name.split("[")[0] for name in first if first[name] != second[name]}
    graph = defs.resolve_asset_graph()
    made = {asset.key.to_user_string() for asset in (*WHOLE_ASSETS, *BY_SNAPSHOT, *BY_RECIPE)}
    below, look = {"captioner"}, ["captioner"]
    while look:
        fresh = {key.to_user_string() for key in graph.get(dg.AssetKey(look.pop())).child_keys} - below
        below |= fresh
        look += fresh
    assert changed == below & made
    unchanged = {"shards", "human_captions", "tokenizer", "caption_filter", "near_duplicates", "autoencoder", "latents"}
    assert unchanged | {"evaluation_set", "image_text_pairs"} <= {name.split("[")[0] for name in first} - changed


def test_scores_lie_by_the_models_that_gave_them(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[set[str]] = []

    def launch(*args: Any) -> dict[str, Any]:
        launched.append(set(args[3]))
        return stand_in(*args)

    monkeypatch.setattr(jobs, "launch", launch)
    home = make_home(tmp_path / "home", samples=12, scenes=4)
    scorer = read_ref(home, "caption_filter").digest
    for model in ("blip", "clip"):
        (tmp_path / model).mkdir()
        (tmp_path / model / "weights").write_text("one")
    blip = {"backend": "blip", "model": str(tmp_path / "blip")}
    clip = {"clip": f"local-dir:{tmp_path / 'clip'}"}

    def scored(**config: Any) -> Path:
        rebuild(instance, home, [capfilt.caption_scores], SNAPSHOT, caption_scores=config)
        return read_ref(home, "caption_scores", SNAPSHOT).path

    def score_each_way() -> list[Path]:
        return [scored(), scored(**clip), scored(**blip), scored(**blip, **clip)]

    first = score_each_way()
    assert first[0] == home.scores(scorer, SNAPSHOT)
    assert len(set(first)) == 4
    times = len(launched)
    assert score_each_way() == first
    assert len(launched) == times
    (tmp_path / "clip" / "weights").write_text("two")
    assert [old == new for old, new in zip(first, score_each_way(), strict=True)] == [True, False, True, False]
    (tmp_path / "blip" / "weights").write_text("two")
    (home.refs / "caption_filter" / "_.json").unlink()
    (home.refs / "tokenizer" / "_.json").unlink()
    assert scored(**blip) not in first
    assert launched[-1] == {"shards", "captions"}

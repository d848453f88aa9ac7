"""A small home with every kind of artifact, written by the project's own writers: what the catalog and report read.

No model is trained. Its numbers are drawn from a seed, so that a test knows what must come out:
the ``blend_95_5`` model draws most scenes right, the ``alt_only`` model few.
"""

import hashlib
import io
import json
import math
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import ImageFilter

from evaluation.config import LeaderboardConfig
from evaluation.leaderboard import leaderboard
from t2i_assets.corpus import schemas
from t2i_assets.corpus.artifacts import WHOLE, Artifact, Manifest, plan_digest, publish, write_ref
from t2i_assets.corpus.blending import DEFAULT_RECIPES, blend
from t2i_assets.corpus.caption_tics import caption_tics
from t2i_assets.corpus.digests import caption_id, digest, sample_key
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.shards import ShardWriter, TarWriter, read_samples
from t2i_assets.corpus.tables import as_table, read_rows, write_table
from t2i_assets.corpus.verdicts import VerdictRules, alt_captions, alt_labels, count_reasons, judge
from t2i_assets.crawl.ledger import write_ledger
from t2i_assets.synthweb.alt_texts import alt_text
from t2i_assets.synthweb.config import EMBEDDED_CATEGORIES
from t2i_assets.synthweb.diseases import AltDisease
from t2i_assets.synthweb.draw import draw
from t2i_assets.synthweb.language import descriptive, facts, short
from t2i_assets.synthweb.scenes import Scene, sample_scene

SNAPSHOT = "demo"
SITE = "http://127.0.0.1:8399"
METRICS = ("t2i_compbench", "clip_score", "fid")
COPY = f"{SITE}/copy.jpg"
LOST = {f"{SITE}/lost/{status}.jpg": status for status in ("http_4xx", "decode_failed", "too_small")}
DISEASES = {
    AltDisease.COMPLETE: 10,
    AltDisease.PARTIAL: 35,
    AltDisease.ONE_WORD: 20,
    AltDisease.MISLEADING: 20,
    AltDisease.FILE_NAME: 15,
}
RIGHT = {"blend_95_5": {"descriptive": 0.72, "original": 0.45}, "alt_only": {"descriptive": 0.28, "original": 0.38}}
"""How often the model of a recipe gets one category of a prompt right."""


def make_home(root: Path, samples: int = 60, scenes: int = 24, until: str | None = None) -> Home:
    """Fill ``root``; stop after the asset ``until``, as a half-materialized home would look."""
    home = _Builder(Home(root.resolve()), random.Random(7), until)
    for step in (_crawl, _shards, _human, _captioner, _captions, _blends, _models, _evaluation_set, _scores):
        if home.done:
            break
        step(home, scenes if step is _evaluation_set else samples)
    return home.home


class _Builder:
    """Publishes artifacts as assets do, and remembers them."""

    def __init__(self, home: Home, rng: random.Random, until: str | None) -> None:
        self.home, self.rng, self.until, self.done = home, rng, until, False
        self.made: dict[tuple[str, str], Artifact] = {}
        self.scenes: dict[str, Scene] = {}
        self.samples: list[tuple[dict[str, Any], bytes]] = []

    def publish(
        self,
        asset: str,
        path: Callable[[str], Path],
        write: Callable[[Path], Mapping[str, Any] | None],
        *,
        partition: str = WHOLE,
        inputs: Mapping[str, tuple[str, str]] | None = None,
        config: dict[str, Any] | None = None,
        seconds: float = 0.0,
        fetched: bool = False,
    ) -> Artifact | None:
        if self.done:
            return None
        identities = {name: self.made[key].identity for name, key in (inputs or {}).items()}
        name = plan_digest(asset, "1", {**(config or {}), "partition": partition}, identities)
        manifest = Manifest(
            asset=asset, partition=partition, digest=name, code_version="1", config=config or {}, inputs=identities,
            fetched=fetched,
        )  # fmt: skip
        artifact = publish(path(name), manifest, lambda out: dict(write(out) or {}))
        if seconds:
            manifest = artifact.manifest.model_copy(update={"seconds": seconds})
            (artifact.path / "manifest.json").write_text(manifest.model_dump_json(indent=1))
        write_ref(self.home, asset, partition, artifact)
        self.made[asset, partition] = artifact
        self.done = asset == self.until
        return artifact


def _crawl(home: _Builder, samples: int) -> None:
    rng, ledger = home.rng, home.home.ledger(SNAPSHOT)
    pages = [_ledger_row("page", f"{SITE}/gallery/{i}", _page_status(rng)) for i in range(max(12, samples // 3))]
    write_ledger(ledger / "pages.parquet", pages)
    fetched = [
        {
            "snapshot": SNAPSHOT,
            "source": "synthweb",
            "url": row["url"],
            "final_url": row["url"],
            "depth": 1,
            "body": b"<html>",
        }
        for row in pages
        if row["status"] == "ok"
    ]
    home.publish(
        "pages", lambda _: home.home.pages(SNAPSHOT), _table("00000.parquet", fetched, schemas.PAGES),
        partition=SNAPSHOT, fetched=True, seconds=4.2,
    )  # fmt: skip
    home.samples = [_web_sample(home, number) for number in range(samples)]
    urls = [row["image_url"] for row, _ in home.samples]
    wanted = [_pair(url, None) for url in [*urls, COPY, *LOST]]
    reasons = rng.choices(["no_text", "icon", "data_uri", "page_noai"], [5, 4, 1, 2], k=samples // 2)
    pairs = wanted + [_pair(f"{SITE}/rejected/{number}.jpg", reason) for number, reason in enumerate(reasons)]
    home.publish(
        "image_text_pairs", lambda _: home.home.pairs(SNAPSHOT),
        _table("00000.parquet", pairs, schemas.PAIRS),
        partition=SNAPSHOT, inputs={"pages": ("pages", SNAPSHOT)}, seconds=0.8,
    )  # fmt: skip


def _shards(home: _Builder, samples: int) -> None:
    def write(out: Path) -> dict[str, Any]:
        with ShardWriter(out, SNAPSHOT, 1000) as writer:
            for row, data in home.samples:
                writer.write(row, data, row["alt_text"])
        return {"samples": samples}

    home.publish(
        "shards", lambda _: home.home.shards(SNAPSHOT), write,
        partition=SNAPSHOT, inputs={"image_text_pairs": ("image_text_pairs", SNAPSHOT)}, fetched=True, seconds=21.5,
    )  # fmt: skip
    images = [_ledger_row("image", row["image_url"], "ok", row["key"]) for row, _ in home.samples]
    images += [_ledger_row("image", url, status) for url, status in LOST.items()]
    images += [_ledger_row("image", f"{SITE}/rejected/{number}.jpg", "no_text") for number in range(samples // 2)]
    images.append(_ledger_row("image", COPY, "ok", images[0]["key"]))
    write_ledger(home.home.ledger(SNAPSHOT) / "images.parquet", images)
    keys = list(home.scenes)
    clusters = [
        {
            "snapshot": SNAPSHOT,
            "key": key,
            "cluster": keys[0],
            "kind": "perceptual",
            "kept": key == keys[0],
            "distance": i,
            "reason": "a test's",
        }
        for i, key in enumerate(keys[:3])
    ]
    home.publish(
        "near_duplicates", lambda _: home.home.dedup(SNAPSHOT),
        _table("00000.parquet", clusters, schemas.DUPLICATES),
        partition=SNAPSHOT, inputs={"shards": ("shards", SNAPSHOT)}, seconds=0.4,
    )  # fmt: skip
    alike = [
        {**clusters[0], "kind": "semantic", "key": key, "cluster": keys[3], "kept": key == keys[3], "cosine": 0.99}
        for key in keys[3:5]
    ]
    home.publish(
        "semantic_duplicates", lambda _: home.home.semantic(SNAPSHOT),
        _table("00000.parquet", alike, schemas.DUPLICATES),
        partition=SNAPSHOT, inputs={"shards": ("shards", SNAPSHOT)}, seconds=0.3,
    )  # fmt: skip
    agreement = {"snapshot": SNAPSHOT, "reference": "0" * 32, "detail": "a test's"}
    agreements = [{**agreement, "key": keys[5], "kind": "exact"}, {**agreement, "key": keys[6], "kind": "text"}]
    home.publish(
        "contamination", lambda _: home.home.contamination(SNAPSHOT),
        _table("00000.parquet", agreements, schemas.CONTAMINATION),
        partition=SNAPSHOT, inputs={"shards": ("shards", SNAPSHOT)}, seconds=0.3,
    )  # fmt: skip


def _human(home: _Builder, samples: int) -> None:
    def write(out: Path) -> dict[str, Any]:
        captions = []
        with ShardWriter(out, "human") as writer:
            for i in range(max(6, samples // 6)):
                scene = sample_scene(home.rng)
                row, data = _sample(scene, short(scene), [], 100_000 + i)
                writer.write(row, data, short(scene))
                for style, text in (("short", short(scene, home.rng)), ("descriptive", descriptive(scene, home.rng))):
                    captions.append(_caption(row["key"], "human", text, decode=json.dumps({"style": style})))
        write_table(out / "captions.parquet", captions, schemas.CAPTIONS)
        return {"samples": max(6, samples // 6)}

    home.publish("human_captions", home.home.human, write, fetched=True, seconds=2.2)


def _captioner(home: _Builder, samples: int) -> None:
    inputs = {"human_captions": ("human_captions", WHOLE), f"shards/{SNAPSHOT}": ("shards", SNAPSHOT)}
    _model(home, "tokenizer", inputs, {}, {"merges": 241}, 1.6)
    inputs["tokenizer"] = ("tokenizer", WHOLE)
    _model(home, "captioner", inputs, {"loss": (3.2, 0.06), "caption_loss": (2.9, 0.05)}, {"exact": 0.93}, 151.0)
    _model(
        home, "caption_filter", inputs, {"itm_loss": (0.69, 0.08), "itc_loss": (3.9, 0.4)}, {"itm_accuracy": 0.97}, 98.0
    )


def _captions(home: _Builder, samples: int) -> None:
    if home.done:
        return
    rng, writer, scorer = home.rng, home.made["captioner", WHOLE], home.made["caption_filter", WHOLE]
    shards = home.made["shards", SNAPSHOT].path
    synthetic = []
    for row in read_samples(shards).to_pylist():
        scene = home.scenes[row["key"]]
        seen = scene if rng.random() < 0.93 else sample_scene(rng)
        for source, text in (("synthetic_short", short(seen)), ("synthetic_descriptive", descriptive(seen))):
            decode = json.dumps({"top_p": 0.9})
            synthetic.append(_caption(row["key"], source, text, writer.digest, decode, 3, -4.0 - 6 * rng.random()))

    def write_synthetic(out: Path) -> dict[str, Any]:
        write_table(out / "00000.parquet", synthetic, schemas.CAPTIONS)
        write_table(out / "metrics.parquet", [], schemas.METRICS)
        return {"captions": len(synthetic)}

    home.publish(
        "synthetic_captions", lambda _: home.home.captions(writer.digest, digest([0.9, 3]), SNAPSHOT), write_synthetic,
        partition=SNAPSHOT, inputs={"captioner": ("captioner", WHOLE), "shards": ("shards", SNAPSHOT)}, seconds=48.0,
    )  # fmt: skip
    texts = alt_captions(shards) + synthetic
    true = {key: _words(scene) for key, scene in home.scenes.items()}
    scores = []
    for row in texts:
        right = set(row["caption"].lower().rstrip(".").split()) & _ATTRIBUTES <= true[row["key"]]
        itm = rng.betavariate(9, 1) if right else rng.betavariate(1, 6)
        for kind, value in (("itm", itm), ("itc", 0.2 + 0.5 * itm)):
            scores.append(
                {
                    "caption_id": row["caption_id"],
                    "key": row["key"],
                    "scorer": scorer.digest,
                    "kind": kind,
                    "value": value,
                }
            )
    home.publish(
        "caption_scores", lambda _: home.home.scores(scorer.digest, SNAPSHOT),
        _table("00000.parquet", scores, schemas.SCORES),
        partition=SNAPSHOT, seconds=22.0,
        inputs={"caption_filter": ("caption_filter", WHOLE), "synthetic_captions": ("synthetic_captions", SNAPSHOT)},
    )  # fmt: skip
    rows = judge(texts, scores, alt_labels(shards), VerdictRules())

    def write_verdicts(out: Path) -> dict[str, Any]:
        write_table(out / "00000.parquet", rows, schemas.VERDICTS)
        return {"reasons": count_reasons(rows)}

    home.publish(
        "filtered_captions", lambda _: home.home.verdicts(SNAPSHOT), write_verdicts,
        partition=SNAPSHOT, inputs={"caption_scores": ("caption_scores", SNAPSHOT)}, seconds=0.3,
        config=VerdictRules().model_dump(mode="json"),
    )  # fmt: skip

    def write_tics(out: Path) -> None:
        paths = {asset: home.made[asset, SNAPSHOT].path for asset in ("synthetic_captions", "filtered_captions")}
        people = home.made["human_captions", WHOLE].path / "captions.parquet"
        tics = caption_tics(
            captions=[paths["synthetic_captions"] / "00000.parquet", people],
            samples=[shards / "00000.parquet"],
            verdicts=[paths["filtered_captions"] / "00000.parquet"],
        )
        write_table(out / "tics.parquet", tics, schemas.CAPTION_TICS)

    home.publish(
        "caption_report", lambda _: home.home.tics(SNAPSHOT), write_tics,
        partition=SNAPSHOT, inputs={"filtered_captions": ("filtered_captions", SNAPSHOT)}, seconds=0.2,
    )  # fmt: skip


def _blends(home: _Builder, samples: int) -> None:
    if home.done:
        return
    shards = home.made["shards", SNAPSHOT].path
    captions = alt_captions(shards) + read_rows(
        home.made["synthetic_captions", SNAPSHOT].path / "00000.parquet", schemas.CAPTIONS
    )
    verdicts = read_rows(home.made["filtered_captions", SNAPSHOT].path, schemas.VERDICTS)
    duplicates = read_rows(home.made["near_duplicates", SNAPSHOT].path, schemas.DUPLICATES)
    duplicates += read_rows(home.made["semantic_duplicates", SNAPSHOT].path, schemas.DUPLICATES)
    contamination = read_rows(home.made["contamination", SNAPSHOT].path, schemas.CONTAMINATION)
    for recipe in DEFAULT_RECIPES:
        rows, summary = blend(recipe, captions, verdicts, read_samples(shards).to_pylist(), duplicates, contamination)

        def write(out: Path, recipe: Any = recipe, rows: Any = rows, summary: Any = summary) -> dict[str, Any]:
            write_table(out / "00000.parquet", rows, schemas.BLENDS)
            (out / "recipe.json").write_text(recipe.model_dump_json())
            return dict(summary)

        home.publish(
            "caption_blend", lambda name, recipe=recipe: home.home.blend(recipe.name, name), write,
            partition=recipe.name,
            inputs={f"filtered_captions/{SNAPSHOT}": ("filtered_captions", SNAPSHOT)},
            config=recipe.model_dump(mode="json"), seconds=0.5,
        )  # fmt: skip


def _models(home: _Builder, samples: int) -> None:
    images = {f"shards/{SNAPSHOT}": ("shards", SNAPSHOT)}
    _model(home, "autoencoder", images, {"loss": (0.2, 0.002), "val/psnr": (14.0, 31.5)}, {"psnr": 31.5}, 139.0)
    for recipe in RIGHT:
        blended = {"caption_blend": ("caption_blend", recipe), "tokenizer": ("tokenizer", WHOLE)}
        _model(home, "clip_model", blended | images, {"loss": (4.1, 0.9)}, {"recall_at_1": 0.6}, 88.0, recipe, "clip")
        clip = {"clip_model": ("clip_model", recipe)}
        _model(home, "diffusion_prior", clip, {"loss": (1.0, 0.3)}, {"cosine": 0.8}, 44.0, recipe)
        _model(home, "autoregressive_prior", clip, {"loss": (5.0, 2.2)}, {"cosine": 0.77}, 45.0, recipe)
    for recipe in RIGHT:
        inputs = {
            "caption_blend": ("caption_blend", recipe),
            "clip_model": ("clip_model", "blend_95_5"),
            "autoencoder": ("autoencoder", WHOLE),
        }
        _model(home, "latent_diffusion", inputs, {"loss": (1.0, 0.34)}, {"loss": 0.34}, 279.0, recipe)


def _evaluation_set(home: _Builder, scenes: int) -> None:
    rng, prompts = random.Random(11), []

    def write(out: Path) -> dict[str, Any]:
        with ShardWriter(out / "reference", "reference") as writer:
            for i in range(scenes):
                scene = sample_scene(rng)
                row, data = _sample(scene, descriptive(scene), [], 200_000 + i)
                writer.write(row, data, descriptive(scene))
                home.scenes[f"scene-{i}"] = scene
                for style, text in (("original", short(scene)), ("descriptive", descriptive(scene))):
                    prompts.append(
                        {
                            "prompt_id": digest([style, text, i]),
                            "scene_id": f"scene-{i}",
                            "style": style,
                            "category": EMBEDDED_CATEGORIES[i % len(EMBEDDED_CATEGORIES)],
                            "prompt": text,
                            "facts": json.dumps(facts(scene, "short" if style == "original" else style)),
                            "reference_key": row["key"],
                        }
                    )
        write_table(out / "prompts.parquet", prompts, schemas.PROMPTS)
        return {"prompts": len(prompts)}

    home.publish("evaluation_set", lambda name: home.home.evals("evaluation_set", name), write, seconds=3.1)
    home.publish(
        "prompts", lambda name: home.home.evals("prompts", name), _table("prompts.parquet", prompts, schemas.PROMPTS),
        inputs={"evaluation_set": ("evaluation_set", WHOLE)}, seconds=0.1,
    )  # fmt: skip
    pool = {"evaluation_set": ("evaluation_set", WHOLE)}
    measured = {
        "detection_f1": 0.99,
        "shape": 0.97,
        "color": 1.0,
        "texture": 0.95,
        "background": 1.0,
        "count": 0.98,
        "relation": 0.99,
        "whole": 0.9,
    }
    _model(
        home,
        "judge",
        pool,
        {"loss": (6.0, 0.2)},
        {**measured, **{f"soft/{k}": v * 0.95 for k, v in measured.items()}},
        81.0,
    )
    _model(home, "evaluation_clip", pool, {"loss": (4.1, 0.5)}, {"recall_at_1": 0.8}, 90.0)


def _scores(home: _Builder, samples: int) -> None:
    if home.done:
        return
    prompts = read_rows(home.made["prompts", WHOLE].path / "prompts.parquet", schemas.PROMPTS)
    scores: list[dict[str, Any]] = []
    for recipe in RIGHT:
        home.publish(
            "generated_images", lambda name: home.home.evals("generated_images", name),
            lambda out, recipe=recipe: _generate(home, out, recipe, prompts),
            partition=recipe, inputs={"latent_diffusion": ("latent_diffusion", recipe)}, seconds=43.0,
        )  # fmt: skip
    for recipe in (*RIGHT, None):
        for metric, scorer, make in (
            ("t2i_compbench", "judge", _compositional),
            ("clip_score", "evaluation_clip", _clip_score),
            ("fid", "judge", _distance),
        ):
            rows = list(make(home, prompts, recipe, home.made[scorer, WHOLE].digest))
            scores += rows
            asset = metric if recipe else f"{metric}_bounds"
            inputs = {"evaluation_set": ("evaluation_set", WHOLE)}
            if recipe:
                inputs = {"prompts": ("prompts", WHOLE), "generated_images": ("generated_images", recipe)}
            home.publish(
                asset, lambda name, asset=asset: home.home.evals(asset, name),
                _table("scores.parquet", rows, schemas.EVALS),
                partition=recipe or WHOLE, inputs=inputs, config={"recipe": recipe}, seconds=9.0,
            )  # fmt: skip
    board = leaderboard([as_table(scores, schemas.EVALS)], LeaderboardConfig(resamples=300))
    of_models = {f"{metric}/{recipe}": (metric, recipe) for metric in METRICS for recipe in RIGHT}
    home.publish(
        "leaderboard", lambda name: home.home.evals("leaderboard", name),
        _table("leaderboard.parquet", board, schemas.LEADERBOARD), seconds=1.2,
        inputs=of_models | {f"{metric}_bounds": (f"{metric}_bounds", WHOLE) for metric in METRICS},
    )  # fmt: skip


def _table(name: str, rows: list[dict[str, Any]], schema: pa.Schema) -> Callable[[Path], None]:
    def write(out: Path) -> None:
        write_table(out / name, rows, schema)

    return write


def _model(
    home: _Builder,
    asset: str,
    inputs: Mapping[str, tuple[str, str]],
    curves: Mapping[str, tuple[float, float]],
    final: Mapping[str, float],
    seconds: float,
    partition: str = WHOLE,
    kind: str | None = None,
) -> None:
    def write(out: Path) -> dict[str, Any]:
        steps, rng = 600, random.Random(asset + partition)
        rows = [
            {
                "step": step,
                "name": name,
                "value": last + (first - last) * math.exp(-step / 120) + abs(first - last) * rng.gauss(0, 0.015),
                "seconds": seconds * step / steps,
            }
            for name, (first, last) in curves.items()
            for step in range(20, steps + 1, 20)
        ]
        write_table(out / "metrics.parquet", rows, schemas.METRICS)
        (out / "model.safetensors").write_bytes(b"\0" * 8)
        return {"steps": steps if curves else 0, **final}

    config = {"seed": 0, "optimizer": {"steps": 600, "lr": 0.001, "batch_size": 64}} if curves else {"seed": 0}
    home.publish(
        asset, lambda name: home.home.model(kind or asset, name), write,
        partition=partition, inputs=inputs, config=config, seconds=seconds,
    )  # fmt: skip


def _generate(home: _Builder, out: Path, recipe: str, prompts: list[dict[str, Any]]) -> dict[str, Any]:
    tar, rows = TarWriter(out / "00000.tar"), []
    model = home.made["latent_diffusion", recipe].digest
    for prompt in prompts:
        rng = random.Random(prompt["prompt_id"] + recipe)
        right = rng.random() < RIGHT[recipe][prompt["style"]]
        scene = home.scenes[prompt["scene_id"]] if right else sample_scene(rng)
        image = draw(scene, 32).filter(ImageFilter.GaussianBlur(0.6))
        data = io.BytesIO()
        image.save(data, "PNG")
        key = f"{prompt['prompt_id']}-42"
        offset = tar.add(f"{key}.png", data.getvalue())
        rows.append(
            {
                "key": key,
                "prompt_id": prompt["prompt_id"],
                "seed": 42,
                "model": model,
                "image_offset": offset,
                "image_bytes": len(data.getvalue()),
            }
        )
    tar.close()
    write_table(out / "00000.parquet", rows, schemas.GENERATED)
    return {"images": len(rows)}


def _compositional(
    home: _Builder, prompts: list[dict[str, Any]], recipe: str | None, scorer: str
) -> Iterable[dict[str, Any]]:
    for system, right in _systems(recipe, {"ceiling": 0.97, "floor": 0.14}):
        for prompt in prompts:
            rng = random.Random(f"{system}{recipe}{prompt['prompt_id']}")
            chance = right if isinstance(right, float) else right[prompt["style"]]
            good = rng.random() < chance
            reason = None if good else "no red star was found"
            yield _score(home, system, recipe, prompt, prompt["category"], scorer, float(good), reason)


def _clip_score(
    home: _Builder, prompts: list[dict[str, Any]], recipe: str | None, scorer: str
) -> Iterable[dict[str, Any]]:
    for system, right in _systems(recipe, {"ceiling": 0.95, "floor": 0.0}):
        for prompt in prompts:
            rng = random.Random(f"clip{system}{recipe}{prompt['prompt_id']}")
            chance = right if isinstance(right, float) else right[prompt["style"]]
            yield _score(home, system, recipe, prompt, "clip_score", scorer, 10 + 60 * chance + rng.gauss(0, 6))


def _distance(
    home: _Builder, prompts: list[dict[str, Any]], recipe: str | None, scorer: str
) -> Iterable[dict[str, Any]]:
    far = {"blend_95_5": 11.0, "alt_only": 24.0, "ceiling": 1.5, "floor": 160.0}
    for system, _ in _systems(recipe, {"ceiling": 0.0, "floor": 0.0}):
        for style in ("original", "descriptive"):
            base = {"prompt_id": None, "scene_id": None, "style": style, "category": "all"}
            value = far[recipe or system]
            yield {**_score(home, system, recipe, base, "fd_judge", scorer, value), "seed": None}
            yield {**_score(home, system, recipe, base, "fd_judge/n", scorer, len(prompts) / 2), "seed": None}
            rng = np.random.default_rng(5)
            for number in range(40):
                resample = value + float(rng.normal()) * value * 0.06
                yield {**_score(home, system, recipe, base, "fd_judge/bootstrap", scorer, resample), "seed": number}


def _systems(recipe: str | None, bounds: Mapping[str, float]) -> list[tuple[str, Any]]:
    return [("generated", RIGHT[recipe])] if recipe else list(bounds.items())


def _score(
    home: _Builder, system: str, recipe: str | None, prompt: Mapping[str, Any], metric: str, scorer: str, value: float,
    reason: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "system": system,
        "recipe": recipe,
        "model": home.made["latent_diffusion", recipe].digest if recipe else None,
        "prompt_id": prompt["prompt_id"],
        "scene_id": prompt["scene_id"],
        "style": prompt["style"],
        "category": prompt["category"],
        "seed": 42,
        "image_key": _picture(system, prompt),
        "metric": metric,
        "metric_version": "1",
        "scorer": scorer,
        "value": value,
        "reason": reason,
    }


def _picture(system: str, prompt: Mapping[str, Any]) -> str | None:
    """Return the key of the picture that was scored: the model's, or the scene's real one; none for a whole set."""
    return prompt.get("reference_key") and (
        f"{prompt['prompt_id']}-42" if system == "generated" else prompt["reference_key"]
    )


_ATTRIBUTES = {"red", "green", "blue", "yellow", "purple", "orange", "circle", "square", "triangle", "star"}


def _words(scene: Scene) -> set[str]:
    return {word for thing in scene.things for word in (thing.color, thing.shape)}


def _sample(scene: Scene, text: str, labels: list[str], number: int) -> tuple[dict[str, Any], bytes]:
    data = io.BytesIO()
    draw(scene, 64).save(data, "JPEG", quality=92)
    body = data.getvalue() + str(number).encode()
    key = sample_key(body)
    url = f"{SITE}/images/{key[:12]}.jpg"
    return {
        "key": key,
        "source": "synthweb",
        "image_ext": "jpg",
        "width": 64,
        "height": 64,
        "original_width": 320,
        "original_height": 320,
        "original_bytes": len(body),
        "original_format": "JPEG",
        "original_sha256": hashlib.sha256(body).hexdigest(),
        "phash": key[:16],
        "image_url": url,
        "page_url": f"{SITE}/gallery/1",
        "license_url": None,
        "consent": "allowed",
        "alt_text": text,
        "texts": [{"text": text, "field": "alt", "page_url": f"{SITE}/gallery/1", "labels": labels}],
    }, data.getvalue()


def _web_sample(home: _Builder, number: int) -> tuple[dict[str, Any], bytes]:
    scene = sample_scene(home.rng)
    disease = home.rng.choices(list(DISEASES), list(DISEASES.values()))[0]
    text = alt_text(scene, disease, home.rng) or "image"
    row, data = _sample(scene, text, ["file_name"] if disease is AltDisease.FILE_NAME else [], number)
    home.scenes[row["key"]] = scene
    return row, data


def _caption(
    key: str, source: str, text: str, captioner: str | None = None, decode: str | None = None, seed: int | None = None,
    log_probability: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "caption_id": caption_id(key, source, text),
        "key": key,
        "source": source,
        "caption": text,
        "captioner": captioner,
        "decode": decode,
        "seed": seed,
        "log_probability": log_probability,
    }


def _ledger_row(kind: str, url: str, status: str, key: str | None = None) -> dict[str, Any]:
    return {
        "snapshot": SNAPSHOT,
        "kind": kind,
        "source": "synthweb",
        "url": url,
        "status": status,
        "attempts": 1,
        "consent": "disallowed" if status == "robots_disallowed" else "allowed",
        "bytes": 4000,
        "key": key,
        "fetched_at": 1.7e9,
        "seconds": 0.02,
    }


def _page_status(rng: random.Random) -> str:
    return rng.choices(["ok", "http_4xx", "robots_disallowed", "http_5xx", "timeout"], [80, 8, 6, 3, 3])[0]


def _pair(url: str, rejected: str | None) -> dict[str, Any]:
    return {
        "snapshot": SNAPSHOT,
        "source": "synthweb",
        "page_url": f"{SITE}/gallery/1",
        "image_url": url,
        "image_field": "src",
        "text": None if rejected == "no_text" else "a red star",
        "text_field": "alt",
        "position": 0,
        "rejected": rejected,
    }

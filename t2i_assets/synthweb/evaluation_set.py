"""The evaluation set: what models are asked to draw, what a right picture shows, and pictures that train the judges.

Its scenes come from streams of their own, so that no scene of it is on the site. Categories follow T2I-CompBench
(Huang et al. 2023, section 3): attribute binding (color, shape, texture), spatial relations, numeracy, and complex
compositions of several attributes and relations; where asked for, relations in three dimensions as one thing covering
another, and the tasks of GenEval (Ghosh et al. 2023). Prompts of published benchmarks come from files, and stand
beside these in the asset ``prompts``: what trains judges and cleans blends depends on the embedded domain alone.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from t2i_assets.corpus.digests import caption_id, digest
from t2i_assets.corpus.schemas import CAPTIONS, PROMPTS
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.corpus.tables import write_table
from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.images import process_image
from t2i_assets.synthweb.alt_texts import dress
from t2i_assets.synthweb.config import EvaluationSetConfig, stream
from t2i_assets.synthweb.language import Statement, descriptive, say_all, say_short, short, write
from t2i_assets.synthweb.pictures import Picture, encode
from t2i_assets.synthweb.scenes import DEPTH_RELATIONS, Kind, Scene, sample_occlusion, sample_scene

RENDER_SIDE, RENDER_QUALITY = 128, 92
FACTS = pa.schema([pa.field("key", pa.string(), nullable=False), pa.field("facts", pa.string(), nullable=False)])

# Kinds of scene that a category is asked with.
KINDS_OF: dict[str, tuple[Kind, ...]] = {
    "color": ("single", "pair", "pair"),
    "shape": ("pair", "pair", "trio"),
    "texture": ("single", "pair", "pair"),
    "spatial": ("pair",),
    "numeracy": ("count",),
    "complex": ("pair", "trio"),
    "geneval_single_object": ("single",),
    "geneval_two_object": ("pair",),
    "geneval_counting": ("count",),
    "geneval_colors": ("single",),
    "geneval_position": ("pair",),
    "geneval_color_attr": ("pair",),
}


def write_evaluation_set(config: EvaluationSetConfig, directory: Path) -> dict[str, Any]:
    """Write prompts.parquet, reference/, pool/ and heldout/ below ``directory``; return how many there are of each."""
    prompts = _write_prompts(config, directory)
    for name, count in (("pool", config.pool_images), ("heldout", config.heldout_images)):
        _write_pool(config, name, count, directory / name)
    return {
        "scenes": len(config.categories) * config.scenes_per_category,
        "prompts": prompts,
        "pool_images": config.pool_images,
        "heldout_images": config.heldout_images,
    }


def scene_of(category: str, rng: random.Random) -> Scene:
    """Return a scene that the category is about.

    Colour scenes are solid, so that colours alone tell things apart; texture scenes hold no solid thing, and no two
    of one texture.
    """
    if category == "3d_spatial":
        return sample_occlusion(rng)
    scene = sample_scene(rng, rng.choice(KINDS_OF[category]))
    if category == "geneval_position":
        while scene.relation is None or scene.relation.kind == "next to":  # GenEval knows directions only
            scene = sample_scene(rng, "pair")
    if category == "color":
        return replace(scene, things=tuple(replace(thing, texture="solid") for thing in scene.things))
    if category == "texture":
        textures = rng.sample(("striped", "dotted"), len(scene.things))
        things = [replace(thing, texture=texture) for thing, texture in zip(scene.things, textures, strict=True)]
        return replace(scene, things=tuple(things))
    return scene


def original_statement(category: str, scene: Scene) -> Statement:
    """Return what a brief but right web author says of the scene: what the category is about, and little else."""
    brief, whole = say_short(scene), say_all(scene)
    match category:
        case "shape" | "geneval_single_object" | "geneval_two_object" | "geneval_counting":
            return Statement(tuple(replace(mention, color=None) for mention in brief.objects))
        case "texture":
            return Statement(tuple(replace(mention, color=None) for mention in whole.objects))
        case "spatial" | "3d_spatial":
            return replace(brief, relation=whole.relation)
        case "geneval_position":
            plain = tuple(replace(mention, color=None) for mention in brief.objects)
            return Statement(plain, whole.relation)
        case "complex":
            return replace(whole, background=None)
    return brief


def _write_prompts(config: EvaluationSetConfig, directory: Path) -> int:
    rows = []
    with ShardWriter(directory / "reference", "reference", 10_000) as writer:
        for category in config.categories:
            for number in range(config.scenes_per_category):
                rng = stream(config.seed, "evaluation", category, number)
                scene = scene_of(category, rng)
                key = _write_picture(writer, scene, config.image_size, f"reference/{category}/{number}")
                scene_id = f"{category}-{number:04d}"
                brief = original_statement(category, scene)
                texts = {
                    "original": (dress(write(brief, rng, articles=rng.random() < 0.5), rng), brief),
                    "descriptive": (descriptive(scene), say_all(scene)),
                }
                rows += [
                    {
                        "prompt_id": digest([style, prompt, scene_id]),
                        "scene_id": scene_id,
                        "style": style,
                        "category": category,
                        "prompt": prompt,
                        "facts": json.dumps(asked(category, statement)),
                        "reference_key": key,
                    }
                    for style, (prompt, statement) in texts.items()
                ]
    write_table(directory / "prompts.parquet", rows, PROMPTS)
    return len(rows)


def asked(category: str, statement: Statement) -> dict[str, Any]:
    """Return what the statement asks for as JSON values; in GenEval's counting one more object is one too many."""
    facts = statement.facts()
    if category != "geneval_counting":
        return facts
    return facts | {"excluded": [{"shape": m.shape, "count": m.count + 1} for m in statement.objects]}


def _write_pool(config: EvaluationSetConfig, name: str, count: int, directory: Path) -> None:
    """Write ``count`` pictures with exact captions in both styles, and with what they show and where."""
    captions, facts = [], []
    with ShardWriter(directory, name, 10_000) as writer:
        for number, scene in enumerate(_scenes(config.seed, name, count)):
            key = _write_picture(writer, scene, config.image_size, f"{name}/{number}")
            facts.append({"key": key, "facts": json.dumps(shown(scene))})
            for style, text in (("short", short(scene)), ("descriptive", descriptive(scene))):
                captions.append(
                    {
                        "caption_id": caption_id(key, "human", text),
                        "key": key,
                        "source": "human",
                        "caption": text,
                        "decode": json.dumps({"style": style}),
                    }
                )
    write_table(directory / "captions.parquet", captions, CAPTIONS)
    pq.write_table(pa.Table.from_pylist(facts, schema=FACTS), directory / "facts.parquet", compression="zstd")


def shown(scene: Scene) -> dict[str, Any]:
    """Return every object of the scene with its box (x0, y0, x1, y1 in 0..1), and the background.

    Of things that cover each other the nearer has the larger depth.
    """
    objects: list[dict[str, Any]] = [
        {"shape": thing.shape, "color": thing.color, "texture": thing.texture, "box": [round(v, 4) for v in thing.box]}
        for thing in scene.things
    ]
    if scene.relation is not None and scene.relation.kind in DEPTH_RELATIONS:
        for place, thing in enumerate(scene.painted):
            objects[scene.things.index(thing)]["depth"] = float(place)
    return {"objects": objects, "background": scene.background}


def _scenes(seed: int, name: str, count: int) -> Iterator[Scene]:
    for number in range(count):
        yield sample_scene(stream(seed, "evaluation", name, number))


def _write_picture(writer: ShardWriter, scene: Scene, size: int, name: str) -> str:
    """Write one picture as the crawl would have stored it; return its key."""
    file = encode(Picture(f"/{name}.jpg", scene, RENDER_SIDE, RENDER_SIDE, "JPEG", RENDER_QUALITY))
    image = process_image(file, ImageConfig(size=size))
    caption = descriptive(scene)
    sample = {
        **{field: value for field, value in vars(image).items() if field not in ("data", "animated")},
        "key": image.key,
        "source": "evaluation_set",
        "image_ext": "jpg",
        "image_url": f"scene:{name}",
        "consent": "drawn here",
        "alt_text": caption,
        "texts": [{"text": caption, "field": "drawn", "page_url": None, "labels": []}],
    }
    writer.write(sample, image.data, caption)
    return image.key

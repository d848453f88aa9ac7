"""A small corpus of drawn scenes on disk, as the captioner and the filter get it."""

import io
import json
import random
from pathlib import Path

from t2i_assets.corpus.digests import caption_id, sample_key
from t2i_assets.corpus.schemas import CAPTIONS
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.corpus.tables import write_table
from t2i_assets.synthweb.draw import draw
from t2i_assets.synthweb.language import descriptive, short
from t2i_assets.synthweb.scenes import Scene, sample_scene
from training.tokenizer import learn_merges, write_merges


def write_shards(directory: Path, count: int, per_shard: int, seed: int = 0, snapshot: str = "demo") -> list[Scene]:
    """Write ``count`` scenes with short captions as alt texts; return the scenes in order of writing."""
    rng = random.Random(seed)
    scenes = [sample_scene(rng) for _ in range(count)]
    with ShardWriter(directory, snapshot, per_shard) as writer:
        for scene in scenes:
            image = jpeg(scene)
            text = short(scene, rng)
            writer.write(sample(image, text), image, text)
    return scenes


def write_human(directory: Path, count: int, seed: int = 1) -> None:
    """Write ``count`` scenes with a short and a descriptive caption each."""
    rng = random.Random(seed)
    scenes = write_shards(directory, count, count, seed, "human")
    rows = []
    for scene in scenes:
        key = sample_key(jpeg(scene))
        for style, text in (("short", short(scene, rng)), ("descriptive", descriptive(scene, rng))):
            name = caption_id(key, "human", text)
            decode = json.dumps({"style": style})
            rows.append({"caption_id": name, "key": key, "source": "human", "caption": text, "decode": decode})
    write_table(directory / "captions.parquet", rows, CAPTIONS)


def write_tokenizer(directory: Path) -> None:
    """Write merges that make every word of the grammar one token."""
    rng = random.Random(2)
    directory.mkdir(parents=True, exist_ok=True)
    write_merges(directory, learn_merges([descriptive(sample_scene(rng), rng) for _ in range(500)], 160, 1))


def jpeg(scene: Scene) -> bytes:
    """Return the scene as a JPEG of 32 by 32 pixels."""
    file = io.BytesIO()
    draw(scene, 32).save(file, "JPEG", quality=92)
    return file.getvalue()


def sample(image: bytes, text: str) -> dict[str, object]:
    """Return the SAMPLES row of an image, less what the shard writer fills in."""
    return {
        "key": sample_key(image),
        "source": "drawn",
        "image_ext": "jpg",
        "width": 32,
        "height": 32,
        "original_width": 32,
        "original_height": 32,
        "original_bytes": len(image),
        "original_format": "JPEG",
        "original_sha256": "0" * 64,
        "phash": "0" * 16,
        "image_url": "http://127.0.0.1/image.jpg",
        "consent": "allowed",
        "alt_text": text,
        "texts": [{"text": text, "field": "alt", "page_url": "http://127.0.0.1/", "labels": ["file_name"]}],
    }

"""A corpus of single things with a blend that says their colour: quick to learn for CLIP and the priors."""

import random
from pathlib import Path

from t2i_assets.corpus.digests import caption_id, sample_key
from t2i_assets.corpus.schemas import BLENDS
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.corpus.tables import write_table
from t2i_assets.synthweb.scenes import sample_scene
from tests.unit.drawn_corpus import jpeg, sample
from training.tokenizer import learn_merges, write_merges


def write_colored_corpus(directory: Path, count: int) -> None:
    """Write ``shards/``, ``blend/`` and ``tokenizer/`` of ``count`` pictures."""
    rng = random.Random(0)
    rows = []
    with ShardWriter(directory / "shards", "demo", samples_per_shard=30) as writer:
        for _ in range(count):
            scene = sample_scene(rng, "single")
            image, color = jpeg(scene), scene.things[0].color
            key = sample_key(image)
            writer.write(sample(image, color), image, color)
            for source, caption, weight in (("human", f"a {color} picture", 0.95), ("alt", color, 0.05)):
                identity = caption_id(key, source, caption)
                row = {"key": key, "snapshot": "demo", "caption_id": identity, "source": source, "caption": caption}
                rows.append({**row, "weight": weight})
    write_table(directory / "blend" / "00000.parquet", rows, BLENDS)
    (directory / "tokenizer").mkdir()
    write_merges(directory / "tokenizer", learn_merges([row["caption"] for row in rows], 60, 1))

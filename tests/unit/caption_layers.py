"""Shards, captions and verdicts of a few coloured balls, as the caption upsampler learns from them."""

import random
from pathlib import Path

from t2i_assets.corpus.digests import caption_id, sample_key
from t2i_assets.corpus.schemas import CAPTIONS, VERDICTS
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.corpus.tables import write_table
from t2i_assets.synthweb.scenes import sample_scene
from tests.unit.drawn_corpus import jpeg, sample
from training.tokenizer import learn_merges, write_merges

COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")


def descriptive(color: str) -> str:
    return f"a shiny {color} ball on the floor"


def write_layers(root: Path, count: int = 48) -> None:
    """Write ``shards/``, ``captions/``, ``verdicts/`` and ``tokenizer/``; a third of the alt texts are rejected."""
    rng = random.Random(0)
    captions, verdicts = [], []
    with ShardWriter(root / "shards", "demo", count) as writer:
        for number in range(count):
            color = COLORS[number % len(COLORS)]
            image = jpeg(sample_scene(rng))
            key, alt = sample_key(image), f"Photo: {color}!" if number % 3 else "IMG_1.jpg"
            writer.write(sample(image, alt), image, alt)
            short = f"a {color} ball" if number < 36 else "a pink cube"
            texts = {"synthetic_descriptive": descriptive(color), "synthetic_short": short, "alt": alt}
            for source, text in texts.items():
                name, kept = caption_id(key, source, text), text != "IMG_1.jpg"
                reason = "kept" if kept else "file_name"
                verdicts.append({"caption_id": name, "key": key, "source": source, "kept": kept, "reason": reason})
                if source != "alt":
                    captions.append({"caption_id": name, "key": key, "source": source, "caption": text})
    write_table(root / "captions" / "00000.parquet", captions, CAPTIONS)
    write_table(root / "verdicts" / "00000.parquet", verdicts, VERDICTS)
    (root / "tokenizer").mkdir()
    write_merges(root / "tokenizer", learn_merges([row["caption"] for row in captions], 60, 1))

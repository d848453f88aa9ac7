"""Pictures of drawn scenes with what they show, as the pool of the judges is."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from t2i_assets.corpus.digests import sample_key
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.synthweb.draw import draw
from t2i_assets.synthweb.language import descriptive
from t2i_assets.synthweb.scenes import Scene


def write_pictures(directory: Path, scenes: list[Scene]) -> list[str]:
    """Write shards and facts.parquet of the scenes; return the keys."""
    rows = []
    with ShardWriter(directory, "test") as shards:
        for scene in scenes:
            data = io.BytesIO()
            draw(scene, 64).save(data, "JPEG", quality=92)
            key = sample_key(data.getvalue())
            sample = {
                "key": key, "source": "test", "image_ext": "jpg", "width": 64, "height": 64, "original_width": 64,
                "original_height": 64, "original_bytes": len(data.getvalue()), "original_format": "JPEG",
                "original_sha256": "", "phash": "", "image_url": f"test:{key}", "consent": "own",
                "alt_text": descriptive(scene), "texts": [],
            }  # fmt: skip
            shards.write(sample, data.getvalue(), descriptive(scene))
            things = [{"shape": t.shape, "color": t.color, "texture": t.texture, "box": t.box} for t in scene.things]
            rows.append({"key": key, "facts": json.dumps({"objects": things, "background": scene.background})})
    pq.write_table(pa.Table.from_pylist(rows), directory / "facts.parquet")
    return [row["key"] for row in rows]

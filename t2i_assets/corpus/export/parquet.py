"""Parquet files whose ``image`` column Hugging Face datasets decode: struct<bytes, path> and their feature metadata."""

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from t2i_assets.corpus.export.rows import COLUMNS, Drawn
from t2i_assets.corpus.schemas import SAMPLES

_GROUP = 100
"""Samples of a row group, which is what waits in memory."""

_FIELDS = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("caption", pa.string()),
        *((name, SAMPLES.field(name).type) for name in COLUMNS),
        ("caption_source", pa.string()),
        ("epoch", pa.int32()),
    ]
)


def write_parquet(samples: Iterable[Drawn], out: Path, per_file: int = 10_000) -> int:
    """Write ``train-00000.parquet`` … of ``per_file`` samples each; return how many samples were written."""
    schema = _FIELDS.with_metadata({"huggingface": json.dumps({"info": {"features": _features()}})})
    rest, count, files = iter(samples), 0, 0
    group = list(islice(rest, min(_GROUP, per_file)))
    while group or not files:
        with pq.ParquetWriter(out / f"train-{files:05d}.parquet", schema, compression="zstd") as writer:
            written = 0
            while group:
                writer.write_table(pa.Table.from_pylist([_row(sample) for sample in group], schema=schema))
                written += len(group)
                group = list(islice(rest, min(_GROUP, per_file - written))) if written < per_file else []
        count, files = count + written, files + 1
        group = list(islice(rest, min(_GROUP, per_file)))
    return count


def _row(sample: Drawn) -> dict[str, object]:
    image = {"bytes": sample.image, "path": f"{sample.name}.{sample.ext}"}
    return {"image": image, "caption": sample.caption, **sample.about}


def _features() -> dict[str, dict[str, str]]:
    """Return the columns as ``datasets.Features`` writes them."""
    features = {field.name: {"dtype": str(field.type), "_type": "Value"} for field in _FIELDS}
    return {**features, "image": {"_type": "Image"}}

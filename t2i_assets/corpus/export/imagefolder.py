"""Image files with a ``metadata.jsonl`` beside them, as Hugging Face's ``imagefolder`` expects."""

import json
from collections.abc import Iterable
from pathlib import Path

from t2i_assets.corpus.export.rows import Drawn


def write_imagefolder(samples: Iterable[Drawn], out: Path) -> int:
    """Write images by the first two digits of their key, and ``metadata.jsonl``; return how many were written."""
    count = 0
    with (out / "metadata.jsonl").open("w", encoding="utf-8") as lines:
        for sample in samples:
            path = out / "images" / sample.name[:2] / f"{sample.name}.{sample.ext}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(sample.image)
            row = {"file_name": path.relative_to(out).as_posix(), "text": sample.caption, **sample.about}
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count

"""Tars of ``{name}.jpg``, ``.txt`` and ``.json``, as open_clip, webdataset and Hugging Face datasets read them."""

import json
from collections.abc import Iterable
from pathlib import Path

from t2i_assets.corpus.export.rows import Drawn
from t2i_assets.corpus.shards import TarWriter


def write_webdataset(samples: Iterable[Drawn], out: Path, per_file: int = 1000) -> int:
    """Write ``00000.tar`` … of ``per_file`` samples each; return how many samples were written."""
    tar: TarWriter | None = None
    count = 0
    try:
        for sample in samples:
            if count % per_file == 0:
                if tar is not None:
                    tar.close()
                tar = TarWriter(out / f"{count // per_file:05d}.tar")
            assert tar is not None
            about = {**sample.about, "caption": sample.caption}
            tar.add(f"{sample.name}.{sample.ext}", sample.image)
            tar.add(f"{sample.name}.txt", sample.caption.encode())
            tar.add(f"{sample.name}.json", json.dumps(about, sort_keys=True, ensure_ascii=False).encode())
            count += 1
    except BaseException:
        if tar is not None:
            tar.discard()
        raise
    if tar is not None:
        tar.close()
    return count

"""One export: a directory that appears whole or not at all, with a card that says what it is."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from t2i_assets.corpus.artifacts import Artifact, read_ref
from t2i_assets.corpus.export.card import Counts, write_card
from t2i_assets.corpus.export.imagefolder import write_imagefolder
from t2i_assets.corpus.export.parquet import write_parquet
from t2i_assets.corpus.export.rows import BlendSamples, Drawn, ExportError
from t2i_assets.corpus.export.webdataset import write_webdataset
from t2i_assets.corpus.home import Home

FORMATS: dict[str, Callable[[Iterable[Drawn], Path], int]] = {
    "webdataset": write_webdataset,
    "imagefolder": write_imagefolder,
    "parquet": write_parquet,
}


def export_blend(
    home: Home,
    name: str,
    form: str,
    out: Path,
    *,
    seed: int = 0,
    epochs: int = 1,
    max_samples: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Counts:
    """Write the blend ``name`` to ``out`` and return what went in and what was left out, by reason.

    ``progress`` gets (rows written, rows in all). Raises ExportError where ``out`` holds something or a sample's shard
    is gone, MissingArtifactError where the blend was never materialized.
    """
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ExportError(f"{out} is not empty: name a directory that is empty or not there yet")
    blend: Artifact = read_ref(home, "caption_blend", name)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.parent / f".{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        with BlendSamples(home, blend, partial / ".captions.sqlite") as samples:
            taken = len(samples) if max_samples is None else min(max_samples, len(samples))
            counts = Counts(taken, epochs, dict(blend.manifest.summary.get("left_out", {})))
            if taken < len(samples):
                counts.left_out["max_samples"] = len(samples) - taken
            FORMATS[form](_counted(samples.draw(seed, epochs, taken), counts, taken * epochs, progress), partial)
            write_card(partial, form, blend, samples.shards, counts, seed)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return counts


def _counted(
    samples: Iterable[Drawn], counts: Counts, total: int, progress: Callable[[int, int], None]
) -> Iterator[Drawn]:
    for done, sample in enumerate(samples, 1):
        counts.add(sample)
        progress(done, total)
        yield sample

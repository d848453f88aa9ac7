"""Job: CLIP embeddings of every image of the shards and of every caption that a prior can draw for them."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import torch
import torch.nn.functional as F
from open_clip import CLIP
from torch import Tensor

from t2i_assets.corpus.schemas import IMAGE_EMBEDDINGS, SAMPLES, TEXT_EMBEDDINGS
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_rows, write_table
from training.config import EmbedConfig
from training.data import read_blend, shard_batches
from training.device import device_for
from training.embeddings import IMAGES, TEXTS, write_encoder
from training.job import Job, JobInputs, run
from training.models.clip import encode_texts, image_size, load_clip, preprocess
from training.report import Reporter


class EmbedInputs(JobInputs):
    clip: Path
    blend: Path
    shards: list[Path]


def main(job: Job[EmbedConfig, EmbedInputs], reporter: Reporter) -> None:
    """Embed images, a table per shard, and captions; a shard whose table is there is left alone."""
    clip, tokenizer = load_clip(job.inputs.clip)
    clip.to(device_for(job.config.device))
    write_encoder(job.output, job.inputs.clip, clip)
    blend = read_blend(job.inputs.blend, "priors")
    tables = [table for directory in job.inputs.shards for table in sorted(directory.glob(SHARD_GLOB))]
    keys = list(dict.fromkeys(key for table in tables for key in _keys(table)))
    captions = [(key, caption) for key in keys for caption in blend.get(key, [])]
    texts = sorted({caption.caption for _, caption in captions})
    total, done = len(keys) + len(texts), 0

    for table in tables:
        output = job.output / IMAGES / table.parent.name / table.name
        if not output.exists():
            _write_images(clip, table, output, job.config.batch_size)
        done += len(_keys(table))
        reporter.log(min(done, len(keys)), total)

    tokens = tokenizer(texts) if texts else torch.zeros(0, clip.context_length, dtype=torch.long)
    rows = embed_texts(clip, tokens, job.config.batch_size, lambda done: reporter.log(len(keys) + done, total))
    number = {text: n for n, text in enumerate(texts)}
    text_table = pa.table(
        {
            "caption_id": [caption.caption_id for _, caption in captions],
            "key": [key for key, _ in captions],
            "caption": [caption.caption for _, caption in captions],
            "weight": [caption.weight for _, caption in captions],
            "embedding": as_lists(rows[[number[caption.caption] for _, caption in captions]]),
        }
    )
    write_table(job.output / TEXTS, text_table, TEXT_EMBEDDINGS)
    reporter.finish(images=len(keys), captions=len(captions), texts=len(texts), dimensions=rows.shape[1])


def _keys(table: Path) -> list[str]:
    return [row["key"] for row in read_rows(table, SAMPLES, ["key"])]


def _write_images(clip: CLIP, table: Path, output: Path, batch_size: int) -> None:
    """Write the embeddings of one shard's images."""
    keys: list[str] = []
    rows = []
    for part, images in shard_batches(table, image_size(clip), batch_size):
        keys += part
        rows.append(embed_images(clip, images))
    embeddings = torch.cat(rows) if rows else torch.zeros(0, width(clip))
    write_table(output, pa.table({"key": keys, "embedding": as_lists(embeddings)}), IMAGE_EMBEDDINGS)


@torch.no_grad()
def embed_images(clip: CLIP, images: Tensor) -> Tensor:
    """Return unit-norm image embeddings [N, E] of uint8 images [N, 3, S, S]."""
    device = clip.logit_scale.device
    return F.normalize(clip.encode_image(preprocess(clip, images.to(device))).float(), dim=-1).cpu()


@torch.no_grad()
def embed_texts(clip: CLIP, tokens: Tensor, batch_size: int, progress: Callable[[int], None]) -> Tensor:
    """Return unit-norm text embeddings [N, E] of tokens [N, L]."""
    rows = []
    for start in range(0, len(tokens), batch_size):
        part = tokens[start : start + batch_size].to(clip.logit_scale.device)
        rows.append(encode_texts(clip, part).float().cpu())
        progress(min(start + batch_size, len(tokens)))
    return torch.cat(rows) if rows else torch.zeros(0, width(clip))


def width(clip: CLIP) -> int:
    """Return the dimension of the shared space."""
    with torch.no_grad():
        return clip.encode_text(
            torch.zeros(1, clip.context_length, dtype=torch.long, device=clip.logit_scale.device)
        ).shape[1]


def as_lists(rows: Tensor) -> pa.ListArray:
    """Return [N, E] as an Arrow column of N lists."""
    offsets = pa.array(range(0, rows.numel() + 1, rows.shape[1]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(rows.flatten().numpy(), pa.float32()))


if __name__ == "__main__":
    run(main, EmbedConfig, EmbedInputs)

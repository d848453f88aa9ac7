"""Job: CLIP embeddings of every image of the shards and of every caption that a prior can draw for them."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import torch
import torch.nn.functional as F
from open_clip import CLIP
from torch import Tensor

from t2i_assets.corpus.schemas import IMAGE_EMBEDDINGS, TEXT_EMBEDDINGS
from t2i_assets.corpus.tables import write_table
from training.config import EmbedConfig
from training.data import load_images, read_blend
from training.job import Job, JobInputs, run
from training.models.clip import encode_texts, image_size, load_clip, preprocess
from training.report import Reporter


class EmbedInputs(JobInputs):
    clip: Path
    blend: Path
    shards: list[Path]


def main(job: Job[EmbedConfig, EmbedInputs], reporter: Reporter) -> None:
    """Embed images and captions."""
    clip, tokenizer = load_clip(job.inputs.clip)
    blend = read_blend(job.inputs.blend, "priors")
    keys, images = load_images(job.inputs.shards, image_size(clip))
    captions = [(key, caption) for key in keys for caption in blend.get(key, [])]
    texts = sorted({caption.caption for _, caption in captions})
    total = len(images) + len(texts)

    def progress(done: int) -> None:
        reporter.log(done, total)

    image_rows = embed_images(clip, images, job.config.batch_size, progress)
    tokens = tokenizer(texts) if texts else torch.zeros(0, clip.context_length, dtype=torch.long)
    text_rows = embed_texts(clip, tokens, job.config.batch_size, lambda done: progress(len(images) + done))

    number = {text: n for n, text in enumerate(texts)}
    per_caption = text_rows[[number[caption.caption] for _, caption in captions]]
    image_table = pa.table({"key": keys, "embedding": as_lists(image_rows)})
    text_table = pa.table(
        {
            "caption_id": [caption.caption_id for _, caption in captions],
            "key": [key for key, _ in captions],
            "caption": [caption.caption for _, caption in captions],
            "weight": [caption.weight for _, caption in captions],
            "embedding": as_lists(per_caption),
        }
    )
    write_table(job.output / "images.parquet", image_table, IMAGE_EMBEDDINGS)
    write_table(job.output / "texts.parquet", text_table, TEXT_EMBEDDINGS)
    reporter.finish(images=len(keys), captions=len(captions), texts=len(texts), dimensions=image_rows.shape[1])


@torch.no_grad()
def embed_images(clip: CLIP, images: Tensor, batch_size: int, progress: Callable[[int], None]) -> Tensor:
    """Return unit-norm image embeddings [N, E] of uint8 images [N, 3, H, W]."""
    rows = []
    for start in range(0, len(images), batch_size):
        batch = preprocess(clip, images[start : start + batch_size])
        rows.append(F.normalize(clip.encode_image(batch).float(), dim=-1))
        progress(min(start + batch_size, len(images)))
    return torch.cat(rows) if rows else torch.zeros(0, clip.text_projection.shape[1])


@torch.no_grad()
def embed_texts(clip: CLIP, tokens: Tensor, batch_size: int, progress: Callable[[int], None]) -> Tensor:
    """Return unit-norm text embeddings [N, E] of tokens [N, L]."""
    rows = []
    for start in range(0, len(tokens), batch_size):
        rows.append(encode_texts(clip, tokens[start : start + batch_size]).float())
        progress(min(start + batch_size, len(tokens)))
    return torch.cat(rows) if rows else torch.zeros(0, clip.text_projection.shape[1])


def as_lists(rows: Tensor) -> pa.ListArray:
    """Return [N, E] as an Arrow column of N lists."""
    offsets = pa.array(range(0, rows.numel() + 1, rows.shape[1]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(rows.flatten().numpy(), pa.float32()))


if __name__ == "__main__":
    run(main, EmbedConfig, EmbedInputs)

"""Images with their texts, as the captioner and its filter learn from them: a sample is one (image, text) pair."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from open_clip import SimpleTokenizer
from torch import Tensor

from t2i_assets.corpus.schemas import CAPTIONS
from t2i_assets.corpus.tables import read_rows
from t2i_assets.corpus.verdicts import alt_captions
from training.batches import Batch
from training.data import is_held_out, load_images

Style = Literal["short", "descriptive"]


@dataclass(frozen=True)
class Pair:
    """Image number ``image`` and a text about it."""

    image: int
    text: str


@dataclass(frozen=True)
class Pairs:
    """``images`` uint8 (N, 3, S, S) with their sample ``keys``, and texts about them."""

    keys: list[str]
    images: Tensor
    pairs: list[Pair]

    def split(self, held_out: float) -> tuple["Pairs", "Pairs"]:
        """Return (training, held out) pairs; whether an image is held out depends on its key alone."""
        out = [is_held_out(key, held_out) for key in self.keys]
        train = [pair for pair in self.pairs if not out[pair.image]]
        held = [pair for pair in self.pairs if out[pair.image]]
        return Pairs(self.keys, self.images, train), Pairs(self.keys, self.images, held)


class PairData:
    """Pairs by index, for ``training.loop.train``.

    A batch holds ``images`` (uint8), ``tokens`` (N, context) and ``positives`` (N, N) bool: whether text j is one of
    the texts of image i. With ``mirror``, every other time a pair is drawn its image is mirrored and the words left
    and right of its text change places, so the caption stays true.
    """

    def __init__(self, pairs: Pairs, tokenizer: SimpleTokenizer, mirror: bool = False) -> None:
        self.mirror = mirror
        texts = sorted({text for pair in pairs.pairs for text in (pair.text, mirrored(pair.text))})
        number = {text: index for index, text in enumerate(texts)}
        self.source = pairs
        self.text_of = np.array([number[pair.text] for pair in pairs.pairs], dtype=np.int64)
        self.mirrored_text_of = np.array([number[mirrored(pair.text)] for pair in pairs.pairs], dtype=np.int64)
        self.image_of = np.array([pair.image for pair in pairs.pairs], dtype=np.int64)
        self.texts_of_image: dict[tuple[int, bool], set[int]] = {}
        for index, image in enumerate(self.image_of.tolist()):
            self.texts_of_image.setdefault((image, False), set()).add(int(self.text_of[index]))
            self.texts_of_image.setdefault((image, True), set()).add(int(self.mirrored_text_of[index]))
        self.tokens = tokenizer(texts) if texts else torch.zeros(0, 2, dtype=torch.long)

    def __len__(self) -> int:
        return len(self.source.pairs)

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch:
        turned = self.turned(indices, epochs)
        images = self.image_of[indices]
        texts = self.texts_of(indices, turned)
        pixels = self.source.images[torch.from_numpy(images)]
        pixels = torch.where(torch.from_numpy(turned)[:, None, None, None], pixels.flip(3), pixels)
        shown = zip(images.tolist(), turned.tolist(), strict=True)
        positives = [[text in self.texts_of_image[image] for text in texts.tolist()] for image in shown]
        return {
            "keys": [self.source.keys[image] for image in images],
            "images": pixels,
            "tokens": self.tokens[torch.from_numpy(texts)],
            "positives": torch.tensor(positives),
        }

    def turned(self, indices: np.ndarray, epochs: np.ndarray) -> np.ndarray:
        """Return which pairs are shown mirrored, bool [len(indices)]."""
        return (indices + epochs) % 2 == 1 if self.mirror else np.zeros(len(indices), dtype=bool)

    def texts_of(self, indices: np.ndarray, turned: np.ndarray) -> np.ndarray:
        """Return the number of each pair's text, mirrored where ``turned``; equal texts have equal numbers."""
        return np.where(turned, self.mirrored_text_of[indices], self.text_of[indices])


def mirrored(text: str) -> str:
    """Return what is true of the mirrored image: left and right change places."""
    return re.sub(r"\b(left|right)\b", lambda word: "right" if word[0] == "left" else "left", text)


def crawl_pairs(shards: Sequence[Path], size: int) -> Pairs:
    """Return every sample of the shard directories with its alt text."""
    keys, images = load_images(shards, size)
    text_of = {row["key"]: row["caption"] for directory in shards for row in alt_captions(directory)}
    return Pairs(keys, images, [Pair(index, text_of[key]) for index, key in enumerate(keys)])


def human_pairs(human: Path, size: int, style: Style | None = None) -> Pairs:
    """Return the images of the human set with their captions of ``style``, or with all of them.

    Raises ValueError where there is no such caption.
    """
    keys, images = load_images([human], size)
    index = {key: number for number, key in enumerate(keys)}
    rows = read_rows(human / "captions.parquet", CAPTIONS, ["key", "caption", "decode"])
    pairs = [
        Pair(index[row["key"]], row["caption"])
        for row in rows
        if row["key"] in index and (style is None or json.loads(row["decode"])["style"] == style)
    ]
    if not pairs:
        raise ValueError(f"{human / 'captions.parquet'} has no {style or 'human'} caption of an image in {human}")
    return Pairs(keys, images, pairs)


def joined(first: Pairs, second: Pairs, repeat_first: int = 1) -> Pairs:
    """Return the pairs of both, those of ``first`` ``repeat_first`` times."""
    offset = len(first.keys)
    moved = [Pair(pair.image + offset, pair.text) for pair in second.pairs]
    images = torch.cat([first.images, second.images])
    return Pairs(first.keys + second.keys, images, first.pairs * repeat_first + moved)

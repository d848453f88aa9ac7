"""Batches that teach matching: images, a text of each, and variants of that text that are true or false of it."""

import random
from collections.abc import Sequence

import numpy as np
import torch
from open_clip import SimpleTokenizer
from torch import Tensor

from training.batches import Batch
from training.pairs import PairData, Pairs, mirrored
from training.text_variants import TextVariants, near_pairs, neighbours


class MatchingData:
    """Pairs by index, for ``training.loop.train``.

    A batch is that of ``PairData`` and, for N pairs,

    - ``implied`` (N, N) bool: text j, for all that the words of the captions say, may be a shorter version of a caption
      of image i, so it is no negative of it;
    - ``image_ids``, ``text_ids`` (N,) int: equal for equal images and for equal texts, from batch to batch;
    - with ``variants``: ``true_texts`` (N, context), a shortened text each; ``false_texts`` (2N, context), the text
      and then the shortened one, changed so that they are nearly always false; ``falsified`` (2N,) bool, where that
      was possible and the context holds a change; ``false_words`` (2N, context) bool, the tokens that were changed;
    - with ``strangers``, texts about other pictures: ``strange_texts`` (M, context), drawn for a share of the images,
      whose places in the batch are ``strange_images`` (M,). What the captions of its image imply is not drawn.
    """

    def __init__(
        self,
        pairs: Pairs,
        tokenizer: SimpleTokenizer,
        variants: TextVariants | None = None,
        mirror: bool = False,
        seed: int = 0,
        strangers: Sequence[str] = (),
        stranger_share: float = 0.0,
    ) -> None:
        self.pairs = PairData(pairs, tokenizer, mirror)
        self.tokenizer = tokenizer
        self.variants = variants
        self.seed = seed
        self.stranger_share = stranger_share
        self._strangers = [(text, neighbours(text)) for text in dict.fromkeys(strangers)]
        self._tokens: dict[str, Tensor] = {}
        texts: dict[tuple[int, bool], list[str]] = {}
        for pair in pairs.pairs:
            texts.setdefault((pair.image, False), []).append(pair.text)
            texts.setdefault((pair.image, True), []).append(mirrored(pair.text))
        self._texts_of = texts
        self._near_pairs = {shown: near_pairs(captions) for shown, captions in texts.items()}
        self._neighbours = [neighbours(pair.text) for pair in pairs.pairs]
        self._mirrored_neighbours = [neighbours(mirrored(pair.text)) for pair in pairs.pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch:
        batch = self.pairs.batch(indices, epochs)
        turned = self.pairs.turned(indices, epochs)
        images = self.pairs.image_of[indices]
        shown = list(zip(images.tolist(), turned.tolist(), strict=True))
        said = [
            (self._mirrored_neighbours if turn else self._neighbours)[index]
            for index, turn in zip(indices.tolist(), turned.tolist(), strict=True)
        ]
        batch["implied"] = torch.tensor([[words <= self._near_pairs[image] for words in said] for image in shown])
        batch["image_ids"] = torch.from_numpy(2 * images + turned)
        batch["text_ids"] = torch.from_numpy(self.pairs.texts_of(indices, turned))
        if self.variants is not None:
            batch |= self._variants(self.variants, indices, epochs, shown)
        if self._strangers and self.stranger_share:
            batch |= self._strange_texts(indices, epochs, shown)
        return batch

    def _variants(
        self, variants: TextVariants, indices: np.ndarray, epochs: np.ndarray, shown: list[tuple[int, bool]]
    ) -> Batch:
        true: tuple[list[str], list[str]] = ([], [])
        changed: tuple[list[str], list[str]] = ([], [])
        falsified: list[list[bool]] = []
        for index, epoch, image in zip(indices.tolist(), epochs.tolist(), shown, strict=True):
            rng = random.Random(f"{self.seed}/{epoch}/{index}")
            text = self.pairs.source.pairs[index].text
            text = mirrored(text) if image[1] else text
            short = variants.shortened(text, rng)
            truths = self._texts_of[image]
            false = variants.changed(text, truths, rng), variants.changed(short, truths, rng, exchange=False)
            falsified.append([other is not None for other in false])
            for place, (one, other) in enumerate(zip((text, short), false, strict=True)):
                framed = variants.framed(one, other or one, rng)
                true[place].append(framed[0])
                changed[place].append(framed[1])
        before, after = self._tokenized(true[0] + true[1]), self._tokenized(changed[0] + changed[1])
        return {
            "true_texts": before[len(shown) :],
            "false_texts": after,
            "falsified": torch.tensor(falsified).T.flatten() & (after != before).any(dim=1),
            "false_words": torch.stack([differing(*rows) for rows in zip(before, after, strict=True)]),
        }

    def _strange_texts(self, indices: np.ndarray, epochs: np.ndarray, shown: list[tuple[int, bool]]) -> Batch:
        texts, places = [], []
        for place, (index, epoch) in enumerate(zip(indices.tolist(), epochs.tolist(), strict=True)):
            rng = random.Random(f"{self.seed}/stranger/{epoch}/{index}")
            text, words = rng.choice(self._strangers)
            if rng.random() < self.stranger_share and not words <= self._near_pairs[shown[place]]:
                texts.append(text)
                places.append(place)
        return {"strange_texts": self._tokenized(texts), "strange_images": torch.tensor(places)} if texts else {}

    def _tokenized(self, texts: list[str]) -> Tensor:
        new = [text for text in dict.fromkeys(texts) if text not in self._tokens]
        if new:
            self._tokens.update(zip(new, self.tokenizer(new), strict=True))
        return torch.stack([self._tokens[text] for text in texts])


def differing(before: Tensor, after: Tensor) -> Tensor:
    """Return which tokens of ``after`` (L,) are not those of ``before`` (L,), bool (L,).

    Where a text grew longer or shorter, that is what lies between the common beginning and the common end.
    """
    old, new = (text[: int(text.argmax()) + 1] for text in (before, after))  # the end of text has the highest number
    found = torch.zeros_like(after, dtype=torch.bool)
    if len(old) == len(new):
        found[: len(new)] = old != new
        return found
    shorter = min(len(old), len(new))
    beginning = int((old[:shorter] == new[:shorter]).int().cumprod(dim=0).sum())
    end = int((old.flip(0)[: shorter - beginning] == new.flip(0)[: shorter - beginning]).int().cumprod(dim=0).sum())
    found[beginning : len(new) - end] = True
    return found

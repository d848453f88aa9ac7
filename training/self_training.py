"""Self-training: the captioner's own captions of the crawl's pictures teach it further, where it is sure of them.

It is sure of a picture where it says the same, word for word, of several views of it: the picture itself and slightly
moved, turned, scaled and tinted ones. Human captions stay in the mixture. A few hundred human captions are learned by
heart long before pictures are understood; what is gained here is pictures.

Source: Xie et al., "Self-training with Noisy Student improves ImageNet classification" (2020), algorithm 1, with
agreement between views in the place of a threshold on confidence; BLIP's captions of the web are the same idea.
"""

import torch

from training.augment import augment
from training.config import DecodeConfig
from training.data import to_signed
from training.distributed import world
from training.models.coca import Captioner
from training.models.decode import write_captions
from training.pairs import Pair, Pairs

LIKELIEST = DecodeConfig(method="greedy")


def sure_captions(captioner: Captioner, pictures: Pairs, views: int, seed: int, batch_size: int = 256) -> Pairs:
    """Return the pictures of which every one of ``views`` views is captioned alike, each with that caption.

    ``pictures`` are read without their texts; the first view is the picture as it is, the others depend on ``seed``.
    """
    captioner.model.eval()
    generator = torch.Generator().manual_seed(seed)
    written = [_captions(captioner, pictures, generator if view else None, batch_size) for view in range(views)]
    written = world().said_by_first(written)  # so that all processes go on with the same pictures
    sure = [number for number, texts in enumerate(zip(*written, strict=True)) if len(set(texts)) == 1]
    keys = [pictures.keys[number] for number in sure]
    pairs = [Pair(place, written[0][number]) for place, number in enumerate(sure)]
    return Pairs(keys, pictures.images[sure], pairs)


def _captions(captioner: Captioner, pictures: Pairs, views: torch.Generator | None, batch_size: int) -> list[str]:
    texts: list[str] = []
    device = next(captioner.model.parameters()).device
    for start in range(0, len(pictures.keys), batch_size):
        images = pictures.images[start : start + batch_size]
        view = (to_signed(images) if views is None else augment(images, views)).to(device)
        names = pictures.keys[start : start + batch_size]
        texts += [
            caption.text for caption in write_captions(captioner.model, captioner.tokenizer, view, names, 0, LIKELIEST)
        ]
    return texts

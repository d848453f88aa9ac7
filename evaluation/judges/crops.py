"""Colours of objects by a judge that answers questions: each object is cut out of its picture and asked about.

GenEval's published code asks CLIP about the masked cut-out, among ten colours. A judge that sees colours itself is
asked nothing.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.config import CompBenchConfig
from evaluation.detection import Box, Detection, Picture
from evaluation.facts import Facts, with_article
from evaluation.geneval import COLORS, of_name, threshold_of
from evaluation.judges.protocol import Images, Judge


def with_colors(
    judge: Judge, images: Images, asked: Sequence[tuple[int, str, Facts, Picture]], config: CompBenchConfig
) -> list[Picture]:
    """Return the pictures of (index of the image, category, facts, picture) with the colours that are asked for."""
    pictures = [picture for *_, picture in asked]
    if judge.answerer is None or judge.detector is None or "color" in judge.detector.vocabulary:
        return pictures
    wanted = [
        (place, thing, wanted.shape, wanted.color)
        for place, (_, category, facts, picture) in enumerate(asked)
        for wanted in facts.objects
        if wanted.color is not None
        for thing in of_name(wanted, picture, threshold_of(category, config), config)[: wanted.count]
    ]
    if not wanted:
        return pictures
    crops = np.stack([cut_out(images[asked[place][0]], thing.box) for place, thing, *_ in wanted])
    colors = [(*COLORS, *({color} - set(COLORS))) for *_, color in wanted]
    questions = [
        (crop, f"{with_article(f'{color} {noun}')}?")
        for crop, (_, _, noun, _) in enumerate(wanted)
        for color in colors[crop]
    ]
    answers = iter(judge.answerer.answer(crops, questions).tolist())
    seen: dict[tuple[int, int], Detection] = {}
    for (place, thing, *_), of_crop in zip(wanted, colors, strict=True):
        seen[place, id(thing)] = replace(thing, color={color: next(answers) for color in of_crop})
    return [
        replace(picture, objects=tuple(seen.get((place, id(thing)), thing) for thing in picture.objects))
        for place, picture in enumerate(pictures)
    ]


def cut_out(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Return what is in the box, scaled to the size of the image, uint8 [3, S, S]."""
    _, height, width = image.shape
    left, top = min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1)
    right, bottom = max(int(np.ceil(box[2] * width)), left + 1), max(int(np.ceil(box[3] * height)), top + 1)
    part = Image.fromarray(image[:, top:bottom, left:right].transpose(1, 2, 0))
    return np.asarray(part.resize((width, height), Image.Resampling.BICUBIC)).transpose(2, 0, 1)

"""CLIP's cosine of pictures and what their prompts say is done: the published score of interactions."""

from functools import cached_property
from pathlib import Path

from open_clip import CLIP, SimpleTokenizer

from evaluation.clip_score import embed_images, embed_texts, image_size_of
from evaluation.config import CompBenchConfig, System
from evaluation.facts import Facts
from evaluation.reading.parser import Parser
from evaluation.reading.prompt import without_adjectives
from evaluation.systems import EvaluationInputs, Exhibit, Pairing, Row, exhibits
from training.device import device_for
from training.models.clip import load_clip

Cosines = dict[tuple[str, int | None], float]
"""By prompt_id and seed."""


def states_interaction(category: str, facts: Facts) -> bool:
    """Return whether a prompt's score needs the cosine."""
    return category == "non_spatial" or (facts.parts is not None and "action" in facts.parts)


class Interactions:
    """The CLIP of a job; it and its pictures are read when the first picture needs them."""

    def __init__(self, clip: Path, config: CompBenchConfig, inputs: EvaluationInputs, parser: Parser) -> None:
        self._clip = clip
        self._config = config
        self._inputs = inputs
        self._parser = parser

    def cosines(self, system: System, pairings: list[Pairing]) -> Cosines:
        """Return the cosine of each pairing's picture and prompt.

        A complex prompt is compared without its adjectives, as published: they are the attributes' part.
        """
        wanted = {(pairing.prompt["prompt_id"], pairing.seed) for pairing in pairings}
        if not wanted:
            return {}
        shown = self._shown[system]
        part = shown.only([p for p in shown.pairings if (p.prompt["prompt_id"], p.seed) in wanted])
        model, tokenizer = self._model
        texts = [self._text(pairing.prompt) for pairing in part.pairings]
        images = embed_images(model, part.images, self._config.batch_size)[[p.image for p in part.pairings]]
        values = (images * embed_texts(model, tokenizer, texts, self._config.batch_size)).sum(1).tolist()
        return {(p.prompt["prompt_id"], p.seed): value for p, value in zip(part.pairings, values, strict=True)}

    @cached_property
    def _model(self) -> tuple[CLIP, SimpleTokenizer]:
        model, tokenizer = load_clip(self._clip)
        return model.to(device_for(self._config.device)), tokenizer

    @cached_property
    def _shown(self) -> dict[System, Exhibit]:
        size = image_size_of(self._model[0])
        return {exhibit.system: exhibit for exhibit in exhibits(self._config, self._inputs, size)}

    def _text(self, prompt: Row) -> str:
        text: str = prompt["prompt"]
        return without_adjectives(self._parser.parse(text)) if prompt["category"] == "complex" else text

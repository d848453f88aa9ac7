"""BLIP-VQA as T2I-CompBench asks it: P(yes) / (P(yes) + P(no)) of the answer's first token.

Huang et al. 2023, section 4.1. Questions open with [ENC] and the answer with [DEC], as the published code has it
(``BlipForQuestionAnswering.generate`` opens questions with [CLS], see huggingface/transformers#22732).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evaluation.judges.config import pretrained_place
from evaluation.judges.protocol import Images

LONGEST = 35
"""Tokens of a question, at most."""


class BlipAnswerer:
    """``model`` is a BlipForQuestionAnswering, ``processor`` the BlipProcessor that belongs to it.

    Raises ValueError where the vocabulary has no "yes", no "no" or no [ENC].
    """

    def __init__(self, model: Any, processor: Any, batch_size: int) -> None:
        self.model = model.eval()
        self.processor = processor
        self.batch_size = batch_size
        words = processor.tokenizer.get_vocab()
        if "yes" not in words or "no" not in words:
            raise ValueError("the answerer's vocabulary has no 'yes' or no 'no': name a BLIP that answers questions")
        self._yes, self._no = words["yes"], words["no"]
        self._opening = _opening_token(words, model.config.text_config)

    def unknown(self, question: str) -> str | None:
        """Return None: a question may have any words."""
        return None

    @torch.no_grad()
    def answer(self, images: Images, questions: Sequence[tuple[int, str]]) -> NDArray[np.float64]:
        """Return one probability for each (index of the image, question); an image is encoded once a batch."""
        tokens = [self._tokens(text) for _, text in questions]
        yes = np.zeros(len(questions))
        for places in self._batches([len(question) for question in tokens]):
            asked = torch.tensor([tokens[place] for place in places], device=self.model.device)
            yes[places] = self._answer(images, [questions[place][0] for place in places], asked)
        return yes

    def _tokens(self, question: str) -> list[int]:
        tokens: list[int] = self.processor.tokenizer(question, truncation=True, max_length=LONGEST)["input_ids"]
        return [self._opening, *tokens[1:]]

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        """Return places in batches of equal length: a padded question is answered otherwise than alone."""
        batches = []
        for length in sorted(set(lengths)):
            places = [place for place, of_place in enumerate(lengths) if of_place == length]
            batches += [places[start : start + self.batch_size] for start in range(0, len(places), self.batch_size)]
        return batches

    def _answer(self, images: Images, image_of: list[int], tokens: Tensor) -> NDArray[np.float64]:
        device = self.model.device
        shown = sorted(set(image_of))
        pixels = self.processor.image_processor(
            images=[images[image].transpose(1, 2, 0) for image in shown], return_tensors="pt"
        )["pixel_values"]
        patches = self.model.vision_model(pixel_values=pixels.to(device)).last_hidden_state
        seen = patches[[shown.index(image) for image in image_of]]
        question = self.model.text_encoder(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=device),
        ).last_hidden_state
        start = torch.full((len(tokens), 1), self.model.decoder_start_token_id, device=device)
        logits = self.model.text_decoder(
            input_ids=start, encoder_hidden_states=question, encoder_attention_mask=torch.ones_like(tokens)
        ).logits[:, 0]
        yes: NDArray[np.float64] = torch.sigmoid((logits[:, self._yes] - logits[:, self._no]).double()).cpu().numpy()
        return yes


def _opening_token(words: Mapping[str, int], config: Any) -> int:
    """Return [ENC]: checkpoints on the hub have its embedding after that of [DEC], and tokenizers that know neither."""
    if "[ENC]" in words:
        return words["[ENC]"]
    after: int = config.bos_token_id + 1
    if "[DEC]" in words or after >= config.vocab_size or after in words.values():
        raise ValueError("the answerer has no token [ENC] to open questions with: name a BLIP that answers questions")
    return after


def load_blip_answerer(name: str, batch_size: int, device: torch.device) -> BlipAnswerer:
    """Load a checkpoint from a local directory or by its name on the Hugging Face Hub, ``name@revision``.

    Raises ValueError where the name holds another kind of model.
    """
    from transformers import AutoConfig, BlipForQuestionAnswering, BlipProcessor  # seconds of import

    place = pretrained_place(name)
    kinds = AutoConfig.from_pretrained(**place).architectures or []
    if "BlipForQuestionAnswering" not in kinds:
        raise ValueError(
            f"judge.answerer {name!r} is {', '.join(kinds) or 'of no named kind'}; it must be a "
            "BlipForQuestionAnswering, such as Salesforce/blip-vqa-base"
        )
    model = BlipForQuestionAnswering.from_pretrained(**place).to(device)
    return BlipAnswerer(model, BlipProcessor.from_pretrained(**place), batch_size)

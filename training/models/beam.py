"""Beam search: the likeliest texts, by keeping the likeliest beginnings at every step.

A text that ended is worth its log-probability divided by its length, the end included, to the power of the length
penalty (Wu et al. 2016, section 7, in the form that transformers uses). Equal scores go to the earlier beam, then to
the smaller token, then to the text that ended first, so the result is the same every time.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from training.models.decoder import Decoder, Ending, Written
from training.models.token_sampling import largest


@dataclass
class _Best:
    """The best finished text of each image so far."""

    worth: list[float]
    texts: list[Written] = field(default_factory=list)

    def offer(self, image: int, worth: float, tokens: list[int], log_probability: float) -> None:
        if worth > self.worth[image]:
            self.worth[image] = worth
            self.texts[image] = Written(tuple(tokens), log_probability)


def beam_search(decoder: Decoder, logits: Tensor, ending: Ending, beams: int, length_penalty: float) -> list[Written]:
    """Return the best text for each row of ``logits`` (N, V), its first token's.

    Every step ranks all continuations of the ``beams`` beginnings of an image. Those that end count as finished if
    they are among the ``beams`` best; the ``beams`` best of the others go on. An image is done, and leaves the
    decoder, as soon as no beginning can become better than what is finished.
    """
    images, vocabulary = logits.shape
    device = logits.device
    best = _Best([float("-inf")] * images, [Written((), 0.0)] * images)
    ends = torch.tensor(ending.ends, device=device)
    image = torch.arange(images, device=device)
    score = torch.full((images, beams), float("-inf"), device=device)
    score[:, 0] = 0
    history = torch.zeros((images, beams, 0), dtype=torch.long, device=device)
    decoder.select(image.repeat_interleave(beams), beams)
    logits = logits.repeat_interleave(beams, dim=0)
    for position in range(ending.max_tokens):
        likely = ending.forbid(logits.float().log_softmax(dim=1), position)
        total = (score[:, :, None] + likely.view(len(image), beams, vocabulary)).flatten(1)
        value, place = largest(total, beams * (1 + len(ending.ends)))
        parent, token = place // vocabulary, place % vocabulary
        ended = torch.isin(token, ends)
        length = (position + 1) ** length_penalty
        for row, rank in (ended[:, :beams] & value[:, :beams].isfinite()).nonzero().tolist():
            log_probability = float(value[row, rank])
            tokens = history[row, parent[row, rank]].tolist()
            best.offer(int(image[row]), log_probability / length, tokens, log_probability)
        goes_on = ended.int().argsort(dim=1, stable=True)[:, :beams]
        score, parent, token = (part.gather(1, goes_on) for part in (value, parent, token))
        score = score.masked_fill(ended.gather(1, goes_on), float("-inf"))
        history = history.gather(1, parent[:, :, None].expand_as(history))
        history = torch.cat([history, token[:, :, None]], dim=2)
        if position + 1 == ending.max_tokens:
            break
        most = (ending.max_tokens if length_penalty > 0 else position + 2) ** length_penalty
        worth = torch.tensor([best.worth[n] for n in image.tolist()], device=device)
        open_rows = (score[:, 0] / most > worth).nonzero()[:, 0]
        if not len(open_rows):
            image = image[:0]
            break
        rows = torch.arange(len(image), device=device)[:, None] * beams + parent
        image, score, history, token, rows = (part[open_rows] for part in (image, score, history, token, rows))
        decoder.select(rows.flatten(), beams)
        logits = decoder.step(token.flatten())
    for row, number in enumerate(image.tolist()):  # cut off: of their beginnings the best one is the first
        log_probability = float(score[row, 0])
        best.offer(number, log_probability / length, history[row, 0].tolist(), log_probability)
    return best.texts

"""What the filter is trained on: contrast, matching with hard negatives, wrong words and, where wanted, captioning.

Source: Li et al., "BLIP" (2022), section 3.2, and, for negatives that differ in a word, Yuksekgonul et al. (2023),
section 4. The loss of the word head is not from there: as in ELECTRA (Clark et al. 2020, section 2), each word of a
changed text has a target instead of the text having one bit; here it is the image that gives the change away.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from training.models.blip_filter import MATCH, NO_MATCH, BlipFilter, Grounding, trimmed
from training.models.momentum_contrast import MomentumContrast

CHUNKS = 3
UNKNOWN = -1  # whether a word of another image's text is wrong


def filter_loss(
    model: BlipFilter,
    images: Tensor,
    batch: Mapping[str, Any],
    generator: torch.Generator,
    momentum: MomentumContrast | None = None,
    lm_weight: float = 0.0,
    word_weight: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return ITC + ITM + ``lm_weight`` · LM + ``word_weight`` · the loss of the word head, and figures.

    ``batch`` is what ``training.matching_data`` says; ``images`` (N, 3, S, S) in [-1, 1] take the place of its own.
    Texts that are known to be true of an image share its ITC target, and those or what they imply are never drawn as
    its ITM negatives. The others are, with probability softmax(similarity) + 1e-4: per pair one hard text for the
    image and one hard image for the text. Variants of the text, where there are any, are further matches and negatives;
    strange texts are further negatives.
    """
    tokens, positives = trimmed(batch["tokens"], model.config.end_token), batch["positives"]
    grounding = model.encode_image(images)
    text = model.encode_text(tokens)
    similarity = model.scale() * grounding.embedding.float() @ text.float().T
    excused = batch["implied"] | positives
    if momentum is None:
        itc = (_contrast(similarity, positives, excused) + _contrast(similarity.T, positives.T, excused.T)) / 2
    else:
        itc = momentum(model, images, tokens, grounding.embedding.float(), text.float(), batch)

    with torch.no_grad():
        hard_text = draw_negative(similarity, excused, generator)
        hard_image = draw_negative(similarity.T, excused.T, generator)
    itm, words, figures = _matching_loss(model, grounding, batch, hard_text, hard_image)
    loss = itc + itm
    figures["itc_loss"] = itc.detach()
    if word_weight:
        loss = loss + word_weight * words
    if lm_weight:
        lm = language_loss(model, grounding, tokens)
        loss = loss + lm_weight * lm
        figures["lm_loss"] = lm.detach()
    return loss, figures


def language_loss(
    model: BlipFilter,
    grounding: Grounding,
    tokens: Tensor,
    word_dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the cross-entropy of every next token of text i given image i, label smoothing 0.1 (BLIP, section 3.2).

    A share ``word_dropout`` of the words that the decoder is given, not of those it must say, is exchanged for random
    ones, so that it looks at the picture (Bowman et al. 2016, section 3.1).
    """
    tokens = trimmed(tokens, model.config.end_token)
    given = tokens
    if word_dropout:
        dropped = torch.rand(tokens.shape, generator=generator, device=tokens.device) < word_dropout
        dropped[:, 0] = False
        others = torch.randint(1, model.config.start_token, tokens.shape, generator=generator, device=tokens.device)
        given = torch.where(dropped, others, tokens)
    return F.cross_entropy(
        model.next_tokens(given, grounding)[:, :-1].float().flatten(0, 1),
        tokens[:, 1:].masked_fill(~model.real(tokens)[:, 1:], -100).flatten(),
        label_smoothing=0.1,
    )


def _matching_loss(
    model: BlipFilter, grounding: Grounding, batch: Mapping[str, Any], hard_text: Tensor, hard_image: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return the cross-entropy of the ITM head and of the word head, and the shares of what is told right.

    Matches and negatives weigh the same, however many there are: at 0.5 a text is as likely to be the one as the other.
    So do right and wrong words, of the variants and of the texts that they were made of; without variants the word
    head's loss is 0, and where no text could be changed it is that of the right words. Texts go through the model by
    length, in ``CHUNKS``, so that few of them are padded much.
    """
    tokens, own = batch["tokens"], torch.arange(len(hard_text), device=hard_text.device)
    right = torch.zeros_like(tokens, dtype=torch.long)
    unknown = torch.full_like(right, UNKNOWN)
    parts = [
        (tokens, own, MATCH, right),
        (tokens[hard_text], own, NO_MATCH, unknown),
        (tokens, hard_image, NO_MATCH, unknown),
    ]
    if "true_texts" in batch:
        told = batch["falsified"]
        wrong = batch["false_words"][told].long()
        parts += [
            (batch["true_texts"], own, MATCH, right),
            (batch["false_texts"][told], own.repeat(2)[told], NO_MATCH, wrong),
        ]
    if "strange_texts" in batch:
        strange = batch["strange_texts"]
        parts.append((strange, batch["strange_images"], NO_MATCH, torch.full_like(strange, UNKNOWN)))
    texts, images, words = (torch.cat([part[place] for part in parts]) for place in (0, 1, 3))
    labels = torch.cat([torch.full_like(part[1], part[2]) for part in parts])
    words = words.masked_fill(~model.real(texts), UNKNOWN)
    order = (texts == model.config.end_token).int().argmax(dim=1).argsort()
    logits, word_logits, word_labels = [], [], []
    for chunk in order.chunk(CHUNKS):
        text = trimmed(texts[chunk], model.config.end_token)
        match, word = model.match_words(text, grounding, images[chunk])
        logits.append(match.float())
        word_logits.append(word.float().flatten())
        word_labels.append(words[chunk, : text.shape[1]].flatten())
    itm, shares = _balanced(torch.cat(logits), labels[order], ("itm_rejection", "itm_recall"))
    figures = {"itm_loss": itm.detach(), **shares}
    if "true_texts" not in batch:
        return itm, itm.new_zeros(()), figures
    known, word_logit = torch.cat(word_labels), torch.cat(word_logits)
    is_wrong = torch.stack([torch.zeros_like(word_logit), word_logit], dim=1)[known != UNKNOWN]
    loss, shares = _balanced(is_wrong, known[known != UNKNOWN], ("words_spared", "words_found"))
    return itm, loss, {**figures, "word_loss": loss.detach(), **shares}


def _balanced(logits: Tensor, labels: Tensor, names: tuple[str, str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the mean of the cross-entropies of class 0 and of class 1, and by name the share of each that is told
    right; a class of which there is nothing has neither.
    """
    each, right = F.cross_entropy(logits, labels, reduction="none"), (logits.argmax(dim=1) == labels).float()
    classes = {name: labels == number for number, name in enumerate(names) if (labels == number).any()}
    loss = torch.stack([each[rows].mean() for rows in classes.values()]).sum() / len(classes)
    return loss, {name: right[rows].mean() for name, rows in classes.items()}


def _contrast(similarity: Tensor, positives: Tensor, excused: Tensor) -> Tensor:
    """Return the cross-entropy of each row against its positives; what is excused and no positive is left out."""
    target = positives.float() / positives.sum(dim=1, keepdim=True)
    return F.cross_entropy(similarity.masked_fill(excused & ~positives, -1e4), target)


def draw_negative(similarity: Tensor, positives: Tensor, generator: torch.Generator) -> Tensor:
    """Return for each row one column that is no positive; any other column where all are positives."""
    weights = similarity.float().softmax(dim=1) + 1e-4
    weights = weights.masked_fill(positives, 0)
    alone = weights.sum(dim=1, keepdim=True) == 0
    weights = torch.where(alone, 1 - torch.eye(len(weights), device=weights.device), weights)
    return torch.multinomial(weights, 1, generator=generator)[:, 0]

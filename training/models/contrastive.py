"""What a contrastive image-text model is trained by, and what tells how good it is: recall and zero-shot accuracy."""

import re
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MAX_LOGIT_SCALE = 100.0
NEVER = -1e4  # a logit of no probability; not -inf, whose product with a target of 0 is NaN


def clip_loss(
    images: Tensor, texts: Tensor, logit_scale: Tensor, captions: Tensor, false_negatives: str = "drop"
) -> Tensor:
    """Return the symmetric cross-entropy of CLIP (Radford et al. 2021, figure 3).

    Another sample with the same caption is not a negative: ``false_negatives`` says whether such pairs are kept as
    negatives, dropped from the loss or matched as positives of equal weight (as UniCL, Yang et al. 2022).

    Args:
        images: unit-norm image embeddings, [B, E].
        texts: unit-norm text embeddings, [B, E].
        logit_scale: inverse temperature, scalar.
        captions: number of each sample's caption, equal for equal captions, [B].
    """
    logits = logit_scale * images @ texts.T
    own, same = _pairs(captions)
    if false_negatives == "drop":
        logits = logits.masked_fill(same & ~own, NEVER)
    target = same if false_negatives == "match" else own
    target = target / target.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def siglip_loss(
    images: Tensor,
    texts: Tensor,
    logit_scale: Tensor,
    logit_bias: Tensor,
    captions: Tensor,
    false_negatives: str = "drop",
) -> Tensor:
    """Return the sigmoid loss of SigLIP (Zhai et al. 2023, equation 1): each pair alone matches or does not.

    Arguments as ``clip_loss``; ``logit_bias``, a scalar, starts far below zero, as nearly all pairs do not match.
    """
    logits = logit_scale * images @ texts.T + logit_bias
    own, same = _pairs(captions)
    matches = same if false_negatives == "match" else own
    losses = -F.logsigmoid(torch.where(matches, logits, -logits))
    if false_negatives == "drop":
        losses = losses.masked_fill(same & ~own, 0)
    return losses.sum() / len(logits)


def retrieval_recall(images: Tensor, texts: Tensor, right: Tensor, k: int) -> tuple[float, float]:
    """Return recall@k of image to text and of text to image: the means of ``retrieval_hits``."""
    to_text, to_image = retrieval_hits(images, texts, right, k)
    return to_text.float().mean().item(), to_image.float().mean().item()


def retrieval_hits(images: Tensor, texts: Tensor, right: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return whether a right one is among the k nearest: texts of each image [N] and images of each text [M].

    An image may have several captions and a caption several images, as in COCO (Karpathy and Fei-Fei 2015).

    Args:
        images: unit-norm image embeddings, [N, E].
        texts: unit-norm text embeddings, [M, E].
        right: whether a text is right for an image, [N, M].
    """
    similarity = images @ texts.T

    def hits(scores: Tensor, right: Tensor) -> Tensor:
        best = scores.topk(min(k, scores.shape[1]), dim=1).indices
        return right.gather(1, best).any(dim=1)

    return hits(similarity, right), hits(similarity.T, right.T)


def equal_captions(captions: Tensor) -> Tensor:
    """Return which samples have equal captions, [N, N], of the number of each sample's caption, [N]."""
    return captions[:, None] == captions[None, :]


def class_embeddings(embed: Callable[[list[str]], Tensor], classes: Sequence[str], templates: Sequence[str]) -> Tensor:
    """Return one unit-norm embedding per class, [C, E]: the mean of its prompts' (Radford et al. 2021, section 3.1.4).

    Args:
        embed: unit-norm embeddings [N, E] of N texts.
        classes: names.
        templates: texts with ``{}`` in the place of the name.
    """
    prompts = [template.format(name) for name in classes for template in templates]
    return F.normalize(embed(prompts).unflatten(0, (len(classes), len(templates))).mean(dim=1), dim=-1)


def zero_shot_hits(images: Tensor, classes: Tensor, labels: Tensor) -> Tensor:
    """Return whether the nearest class is an image's own, [N].

    Args:
        images: unit-norm image embeddings, [N, E].
        classes: unit-norm class embeddings, [C, E].
        labels: number of each image's class, [N].
    """
    return (images @ classes.T).argmax(dim=1) == labels


def only_class(text: str, classes: Sequence[str]) -> int | None:
    """Return the number of the class whose name the text holds as whole words; None where it holds none or several."""
    found = [n for n, name in enumerate(classes) if re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE)]
    return found[0] if len(found) == 1 else None


def _pairs(captions: Tensor) -> tuple[Tensor, Tensor]:
    """Return which pairs are of one sample, and which of equal captions, both [B, B]."""
    return torch.eye(len(captions), dtype=torch.bool, device=captions.device), equal_captions(captions)

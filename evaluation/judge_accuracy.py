"""How right a judge is, measured against the truth of held-out pictures."""

from collections import Counter

from evaluation.detection import ATTRIBUTES, Detection, Picture, iou
from evaluation.places import seen_relation

MATCH_IOU = 0.5


def measure(pictures: list[Picture], truth: list[Picture]) -> dict[str, float]:
    """Return accuracies in 0..1 of ``pictures`` against ``truth``.

    ``detection_f1``: objects found, at IoU 0.5. ``shape``, ``color``, ``texture``: share of found objects that are
    named right. ``background`` and ``count``: share of pictures. ``relation``: share of pictures of two objects
    in which both are found and one stands from the other in the true direction. ``whole``: share of pictures
    whose objects and background are all found and named right.
    """
    hits = found = wanted = whole = background = count = relations = directed = 0
    named: Counter[str] = Counter()
    for picture, true in zip(pictures, truth, strict=True):
        pairs = match(picture, true)
        hits, found, wanted = hits + len(pairs), found + len(picture.objects), wanted + len(true.objects)
        right = {name: sum(a.most_likely(name) == b.most_likely(name) for a, b in pairs) for name in ATTRIBUTES}
        named.update(right)
        background += (same_background := _background(picture) == _background(true))
        count += (same_count := len(picture.objects) == len(true.objects))
        whole += same_background and same_count and all(n == len(true.objects) for n in right.values())
        if len(true.objects) == 2:
            relations += 1
            directed += len(pairs) == 2 and _same_direction(*pairs)
    total = max(len(truth), 1)
    accuracies = {name: named[name] / max(hits, 1) for name in ATTRIBUTES}
    return {"detection_f1": 2 * hits / max(found + wanted, 1)} | accuracies | {
        "background": background / total,
        "count": count / total,
        "relation": directed / max(relations, 1),
        "whole": whole / total,
    }  # fmt: skip


def match(picture: Picture, true: Picture) -> list[tuple[Detection, Detection]]:
    """Pair found with true objects, the best overlap first; each is used once."""
    candidates = [
        (iou(thing.box, other.box), i, j)
        for i, thing in enumerate(picture.objects)
        for j, other in enumerate(true.objects)
    ]
    pairs: list[tuple[int, int]] = []
    for overlap, i, j in sorted(candidates, reverse=True):
        if overlap >= MATCH_IOU and all(i != a and j != b for a, b in pairs):
            pairs.append((i, j))
    return [(picture.objects[i], true.objects[j]) for i, j in pairs]


def _same_direction(first: tuple[Detection, Detection], second: tuple[Detection, Detection]) -> bool:
    (a, true_a), (b, true_b) = first, second
    return seen_relation(a.box, b.box) == seen_relation(true_a.box, true_b.box)


def _background(picture: Picture) -> str:
    return max(picture.background, key=picture.background.__getitem__)

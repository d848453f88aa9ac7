"""Under which labels a judge may know a noun, and which of the objects seen it therefore means.

Labels are compared whole: a hot dog is no dog. What a detector calls otherwise than people do stands in a table, which
the configuration adds to. The published code's own ways are switched in ``faults``.
"""

from collections.abc import Sequence

from evaluation.config import CompBenchConfig
from evaluation.detection import Detection

PERSONS = frozenset(("girl", "boy", "man", "woman"))
COUNTED_AS = {"ship": "boat", "telivision": "tv", "goldfish": "fish", "painting": "picture"}
"""Nouns that the published code counts under another name, as it spells them."""
OTHER_NAMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(sorted(PERSONS), ("person",)),
    "airplane": ("aeroplane",), "bag": ("handbag",), "bicycle": ("bike",), "bird": ("wild bird",), "boat": ("ship",),
    "car": ("sports car",), "couch": ("sofa",), "goldfish": ("fish",), "hamburger": ("burger",),
    "motorcycle": ("motorbike",), "painting": ("picture", "picture/frame"), "picture": ("painting", "picture/frame"),
    "phone": ("cell phone", "mobile phone", "telephone"), "plant": ("potted plant",), "ship": ("boat",),
    "sofa": ("couch",), "table": ("dining table",), "television": ("tv",), "tv": ("television",),
    "computer keyboard": ("keyboard",), "computer mouse": ("mouse",), "tv remote": ("remote",),
}  # fmt: skip
"""Labels that mean the noun too; the last three are GenEval's own names of COCO's classes."""


def labels_of(noun: str, config: CompBenchConfig, counting: bool = False) -> tuple[str, ...]:
    """Return the labels that mean the noun, itself first where it is one of them."""
    if config.faults.names == "official":
        return ("person" if noun in PERSONS else COUNTED_AS.get(noun, noun) if counting else noun,)
    return known_names(noun, config)


def known_names(noun: str, config: CompBenchConfig) -> tuple[str, ...]:
    """Return the labels that mean the noun whatever the faults of the published code: GenEval has none of them."""
    return noun, *OTHER_NAMES.get(noun, ()), *config.aliases.get(noun, ())


def named(labels: Sequence[str], things: Sequence[Detection], substrings: bool = False) -> list[Detection]:
    """Return the objects whose likeliest name is one of ``labels``, or with ``substrings`` holds one of them."""
    if substrings:
        return [thing for thing in things if any(label in thing.most_likely("shape") for label in labels)]
    return [thing for thing in things if thing.most_likely("shape") in labels]


def counted(nouns: Sequence[str], things: Sequence[Detection], config: CompBenchConfig) -> list[int]:
    """Return how many of the objects each noun means.

    Officially a noun that no object is called by renames those whose name holds it, for the nouns that follow too.
    """
    names, counts = [thing.most_likely("shape") for thing in things], []
    for noun in nouns:
        labels = labels_of(noun, config, counting=True)
        if config.faults.substrings == "official" and not set(labels) & set(names):
            names = [labels[0] if any(label in name for label in labels) else name for name in names]
        counts.append(sum(name in labels for name in names))
    return counts


def name_score(thing: Detection) -> float:
    """Return the detection score of the object under its likeliest name."""
    return thing.probability({"shape": thing.most_likely("shape")})

"""One grammar for everything that is said about a scene.

A text starts as a ``Statement``: what it says, and nothing that it leaves out. ``write`` turns a statement into
English, ``read`` turns English back into a statement, so that a text and its facts cannot disagree.
"""

import random
import re
from dataclasses import dataclass, replace
from typing import Any

from t2i_assets.synthweb.scenes import (
    BACKGROUNDS,
    COLORS,
    SHAPES,
    TEXTURES,
    Relation,
    RelationKind,
    Scene,
    Thing,
)

NUMBER_WORDS = {1: "a", 2: "two", 3: "three", 4: "four"}
RELATION_WORDS: dict[RelationKind, tuple[str, ...]] = {
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "next to": ("next to", "beside"),
    "in front of": ("in front of",),
    "behind": ("behind",),
}
INVERSE: dict[RelationKind, RelationKind] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "next to": "next to",
    "in front of": "behind",
    "behind": "in front of",
}
BACKGROUND_WORDS: tuple[str, ...] = ("on a {} background", "against a {} background")
PLAIN = 0.75  # chance that a writer uses the first wording of a list


@dataclass(frozen=True)
class Mention:
    """One kind of object that a text names; what it does not say is None."""

    shape: str
    color: str | None = None
    texture: str | None = None
    count: int = 1


@dataclass(frozen=True)
class Statement:
    """What a text says."""

    objects: tuple[Mention, ...]
    relation: Relation | None = None
    background: str | None = None

    def facts(self) -> dict[str, Any]:
        """Return the statement as JSON values: objects, relation, background; null where nothing is said."""
        relation = self.relation
        return {
            "objects": [
                {"shape": m.shape, "color": m.color, "texture": m.texture, "count": m.count} for m in self.objects
            ],
            "relation": None
            if relation is None
            else {"kind": relation.kind, "subject": relation.subject, "object": relation.object},
            "background": self.background,
        }


def descriptive(scene: Scene, rng: random.Random | None = None) -> str:
    """Return a caption that says everything; with ``rng`` the wording varies as between people."""
    return write(say_all(scene), rng)


def short(scene: Scene, rng: random.Random | None = None) -> str:
    """Return a caption of the main subject alone: colours, shapes and counts."""
    return write(say_short(scene), rng)


def facts(scene: Scene, style: str = "descriptive") -> dict[str, Any]:
    """Return what the ``descriptive`` or the ``short`` caption of the scene says, as JSON values."""
    return (say_all(scene) if style == "descriptive" else say_short(scene)).facts()


def say_all(scene: Scene) -> Statement:
    """Return the whole truth about the scene, as far as the language reaches."""
    if scene.kind == "count":
        first = scene.things[0]
        return Statement((Mention(first.shape, first.color, first.texture, len(scene.things)),), None, scene.background)
    mentions = tuple(Mention(thing.shape, thing.color, thing.texture) for thing in scene.things)
    return Statement(mentions, scene.relation, scene.background)


def say_short(scene: Scene) -> Statement:
    """Return the main subject: no texture, no relation, no background."""
    whole = say_all(scene)
    return Statement(tuple(replace(mention, texture=None) for mention in whole.objects))


def holds(statement: Statement, scene: Scene) -> bool:
    """Return whether all that the statement says is true of the scene.

    A mention must fit exactly as many things as it counts; of a pair, A left of B also makes B right of A.
    """
    for mention in statement.objects:
        if sum(_fits(mention, thing) for thing in scene.things) != mention.count:
            return False
    if statement.background not in (None, scene.background):
        return False
    said, true = statement.relation, scene.relation
    if said is None:
        return True
    if true is None:
        return False
    subject = next(i for i, thing in enumerate(scene.things) if _fits(statement.objects[said.subject], thing))
    kind = true.kind if subject == true.subject else INVERSE[true.kind]
    return said.kind == kind


def _fits(mention: Mention, thing: Thing) -> bool:
    return (
        mention.shape == thing.shape
        and mention.color in (None, thing.color)
        and mention.texture in (None, thing.texture)
    )


def write(statement: Statement, rng: random.Random | None = None, articles: bool = True) -> str:
    """Return the statement in English, lower case, without a full stop; without articles as web authors write."""
    phrases = [_noun_phrase(mention, articles) for mention in statement.objects]
    relation = statement.relation
    if relation is not None:
        words = _pick(RELATION_WORDS[relation.kind], rng)
        text = f"{phrases[relation.subject]} {words} {phrases[relation.object]}"
    elif len(phrases) > 1:
        text = f"{', '.join(phrases[:-1])} and {phrases[-1]}"
    else:
        text = phrases[0]
    if statement.background is not None:
        text += " " + _pick(BACKGROUND_WORDS, rng).format(statement.background)
    return text


def read(text: str) -> Statement | None:
    """Return what an English text says; None where it is not a sentence of this grammar.

    Where the text has a relation, its subject is object 0 of the statement.
    """
    match = _SENTENCE.fullmatch(text.strip().rstrip(".").lower())
    if match is None:
        return None
    body, background = match["body"], match["background"]
    for kind in RELATION_WORDS:
        for words in sorted(RELATION_WORDS[kind], key=len, reverse=True):
            left, found, right = body.partition(f" {words} ")
            mentions = (_read_noun_phrase(left), _read_noun_phrase(right)) if found else ()
            if mentions and mentions[0] is not None and mentions[1] is not None:
                return Statement((mentions[0], mentions[1]), Relation(kind, 0, 1), background)
    listed = [_read_noun_phrase(phrase) for phrase in re.split(r", | and ", body)]
    whole = [mention for mention in listed if mention is not None]
    return Statement(tuple(whole), None, background) if len(whole) == len(listed) else None


def _pick(words: tuple[str, ...], rng: random.Random | None) -> str:
    return words[0] if len(words) == 1 or rng is None or rng.random() < PLAIN else rng.choice(words[1:])


def _noun_phrase(mention: Mention, articles: bool) -> str:
    words = [word for word in (mention.texture, mention.color) if word is not None]
    noun = mention.shape if mention.count == 1 else f"{mention.shape}s"
    words.append(noun)
    if mention.count > 1:
        words.insert(0, NUMBER_WORDS[mention.count])
    elif articles:
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    return " ".join(words)


_NOUN_PHRASE = re.compile(
    rf"(?:(?P<count>an?|two|three|four) )?(?:(?P<texture>{'|'.join(TEXTURES)}) )?(?:(?P<color>{'|'.join(COLORS)}) )?"
    rf"(?P<shape>{'|'.join(SHAPES)})s?"
)
_SENTENCE = re.compile(rf"(?P<body>.+?)(?: (?:on|against) (?:a )?(?P<background>{'|'.join(BACKGROUNDS)}) background)?")
_NUMBERS = {None: 1, "an": 1} | {word: number for number, word in NUMBER_WORDS.items()}


def _read_noun_phrase(text: str) -> Mention | None:
    match = _NOUN_PHRASE.fullmatch(text)
    if match is None:
        return None
    return Mention(match["shape"], match["color"], match["texture"], _NUMBERS[match["count"]])

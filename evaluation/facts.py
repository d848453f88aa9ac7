"""What a prompt says: objects, their relation and the background, read from the ``facts`` column or from its text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}


@dataclass(frozen=True)
class Wanted:
    """One object of a prompt; what the prompt leaves open is None."""

    shape: str
    color: str | None = None
    texture: str | None = None
    count: int = 1

    def attributes(self) -> dict[str, str]:
        """Return what is stated, by attribute."""
        stated = {"shape": self.shape, "color": self.color, "texture": self.texture}
        return {attribute: value for attribute, value in stated.items() if value is not None}

    def __str__(self) -> str:
        words = [word for word in (self.texture, self.color, self.shape) if word]
        if self.count > 1:
            return " ".join([NUMBERS.get(self.count, str(self.count)), *words]) + "s"
        return with_article(" ".join(words))


@dataclass(frozen=True)
class Relation:
    """Where ``subject`` stands as seen from ``object``; both are indices into the facts' objects."""

    kind: str
    subject: int
    object: int


@dataclass(frozen=True)
class Facts:
    """Everything that a prompt states; nothing that it does not.

    ``chunks`` are the noun chunks to ask about, as written, where a text was read; ``excluded`` must not be there in
    such number (GenEval); ``parts`` are the scores a complex prompt is made of, where it says so, and ``unread`` is why
    one of them is left out.
    """

    objects: tuple[Wanted, ...]
    relation: Relation | None = None
    background: str | None = None
    chunks: tuple[str, ...] | None = None
    excluded: tuple[Wanted, ...] = ()
    parts: tuple[str, ...] | None = None
    unread: str | None = None

    def questions(self) -> list[str]:
        """Return what a judge that answers questions is asked: every noun chunk with a question mark."""
        chunks = [str(wanted) for wanted in self.objects] if self.chunks is None else list(self.chunks)
        if self.background is not None:
            chunks.append(background_chunk(self.background))
        return [f"{chunk}?" for chunk in chunks]


def parse_facts(text: str) -> Facts:
    """Read the JSON of the ``facts`` column of PROMPTS.

    Raises ValueError where it does not say which objects are wanted.
    """
    value = json.loads(text)
    if not value.get("objects"):
        raise ValueError(f"facts without objects: {text}")
    relation = value.get("relation")
    return Facts(
        objects=tuple(_wanted(thing) for thing in value["objects"]),
        relation=Relation(relation["kind"], relation["subject"], relation["object"]) if relation else None,
        background=value.get("background"),
        excluded=tuple(_wanted(thing) for thing in value.get("excluded") or ()),
    )


def _wanted(thing: Mapping[str, Any]) -> Wanted:
    return Wanted(thing["shape"], thing.get("color"), thing.get("texture"), int(thing.get("count") or 1))


def background_chunk(value: str) -> str:
    """Return the noun chunk of a background, "a white background"."""
    return f"{with_article(value)} background"


def with_article(words: str) -> str:
    """Put "a" or "an" before ``words``."""
    return f"an {words}" if words[:1] in "aeiou" else f"a {words}"

"""What a prompt says: objects, their relation and the background, as read from the ``facts`` column."""

import json
from dataclasses import dataclass

NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


@dataclass(frozen=True)
class Wanted:
    """One noun chunk of a prompt; what the prompt leaves open is None."""

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
    """Everything that a prompt states; nothing that it does not."""

    objects: tuple[Wanted, ...]
    relation: Relation | None = None
    background: str | None = None


def parse_facts(text: str) -> Facts:
    """Read the JSON of the ``facts`` column of PROMPTS.

    Raises ValueError where it does not say which objects are wanted.
    """
    value = json.loads(text)
    if not value.get("objects"):
        raise ValueError(f"facts without objects: {text}")
    objects = tuple(
        Wanted(thing["shape"], thing.get("color"), thing.get("texture"), int(thing.get("count") or 1))
        for thing in value["objects"]
    )
    relation = value.get("relation")
    return Facts(
        objects=objects,
        relation=Relation(relation["kind"], relation["subject"], relation["object"]) if relation else None,
        background=value.get("background"),
    )


def with_article(words: str) -> str:
    """Put "a" or "an" before ``words``."""
    return f"an {words}" if words[:1] in "aeiou" else f"a {words}"

"""Texts in files of their own: beside an image, or beside it in a tar."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from t2i_assets.crawl.html.page import Text

MOST_BYTES = 10_000_000
"""A larger file of texts about one image is not read."""


class UnreadableTextError(ValueError):
    """A file of texts is too large, no JSON, or its fields hold no texts."""


def texts_of_txt(body: bytes, field: str) -> list[Text]:
    """Return the whole file as one text; what is not UTF-8 becomes U+FFFD."""
    return [Text(body.decode("utf-8-sig", "replace"), field)]


def texts_of_json(body: bytes, fields: Sequence[str]) -> tuple[list[Text], dict[str, Any]]:
    """Return the texts of a JSON object's ``fields``, each a text or a list of texts, and the object.

    Raises UnreadableTextError where it is no JSON object or a field holds something else.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableTextError(f"no JSON: {error}") from error
    if not isinstance(document, dict):
        raise UnreadableTextError("the JSON is no object")
    return [Text(text, field) for field in fields for text in as_texts(document.get(field))], document


def as_texts(value: Any) -> list[str]:
    """Return a text or a list of texts as a list; nothing is none. Raises UnreadableTextError on anything else."""
    if value is None:
        return []
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str | None) for text in texts):
        raise UnreadableTextError(f"{type(value).__name__} where a text or a list of texts should stand")
    return [text for text in texts if text is not None]


def distinct(texts: Iterable[Text]) -> tuple[Text, ...]:
    """Return the texts without repetitions, each with the first field that it stood in; empty ones are left out."""
    found: dict[str, Text] = {}
    for one in texts:
        if one.text.strip():
            found.setdefault(one.text.strip(), one)
    return tuple(found.values())

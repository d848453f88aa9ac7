"""For a prompt that a model failed, the caption nearest to it among those that the model learned from."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from t2i_assets.report.evidence import Evidence, Row

CAPTIONS_READ = 20_000
"""Captions of a model's blend, in order of their key, among which the nearest to a prompt is looked for."""


@dataclass(frozen=True)
class Learned:
    """The caption that the model learned from with most words of a prompt, and how many of the prompt's it has."""

    caption: str
    source: str
    shared: int
    words: int


def nearest_captions(evidence: Evidence, prompts: Collection[tuple[str, str, str]]) -> dict[tuple[str, str], Learned]:
    """Return the caption with most of its words for each (model, prompt_id, prompt); of equal ones the shortest."""
    captions = _captions(evidence, sorted({model for model, _, _ in prompts}))
    nearest = {}
    for model, prompt_id, prompt in prompts:
        words = _words(prompt)
        if captions[model] and words:
            has, caption = max(captions[model], key=lambda pair: (len(pair[0] & words), -len(pair[0])))
            nearest[model, prompt_id] = Learned(caption["caption"], caption["source"], len(has & words), len(words))
    return nearest


def _captions(evidence: Evidence, models: list[str]) -> dict[str, list[tuple[frozenset[str], Row]]]:
    """Return the words and the row of each caption that a model learned from, by model."""
    rows = evidence.rows(
        """
        SELECT DISTINCT ON (model, caption) model, caption, source FROM (
            FROM model_captions WHERE list_contains(?, model)
            QUALIFY row_number() OVER (PARTITION BY model ORDER BY key, caption_id) <= ?
        ) ORDER BY model, caption, source
        """,
        models,
        CAPTIONS_READ,
    )
    found: dict[str, list[tuple[frozenset[str], Row]]] = defaultdict(list)
    for row in rows:
        found[row["model"]].append((_words(row["caption"]), row))
    return found


def _words(text: str) -> frozenset[str]:
    return frozenset(text.lower().replace(",", " ").replace(".", " ").split())

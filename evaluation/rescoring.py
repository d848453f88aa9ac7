"""Scores that need not be made again: what an earlier run gave is taken over where nothing that it rests on changed.

A score is known where an earlier row agrees in the model, the prompt and all that it was held against, the seed, the
pixels that the scorer looked at, the metric with its version, and the scorer. A changed sampler, prompt, reference,
rule or judge therefore scores again what it touches, and nothing else.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from evaluation.config import EvaluationConfig
from evaluation.rules import Score
from evaluation.systems import Exhibit, Pairing
from t2i_assets.corpus.digests import digest

IDENTITY = ("model", "prompt_id", "seed", "asked", "picture", "metric")

Scores = dict[str, Score]
"""Scores of one pairing, by metric."""


@dataclass(frozen=True)
class Identity:
    """The version of a metric, its settings included, and the digest or name of who scores."""

    version: str
    scorer: str


class EarlierScores:
    """Scores of these identities, from tables of EVALS rows.

    Tables from before pictures had digests are passed over.
    """

    def __init__(self, tables: Sequence[Path], identities: Collection[Identity]) -> None:
        self._known: dict[tuple[Any, ...], Score] = {}
        if not identities:
            return
        wanted = [("metric_version", "in", sorted({identity.version for identity in identities}))]
        columns = [*IDENTITY, "metric_version", "scorer", "value", "reason"]
        for path in tables:
            if not set(IDENTITY) <= set(pq.read_schema(path).names):
                continue
            for row in pq.read_table(path, columns=columns, filters=wanted).to_pylist():
                identity = Identity(row["metric_version"], row["scorer"])
                if row["picture"] is not None and identity in identities:
                    self._known[identity, *(row[name] for name in IDENTITY)] = Score(row["value"], row["reason"])

    def find(
        self, identity: Identity, model: str | None, pairing: Pairing, picture: str, metrics: Sequence[str]
    ) -> Scores | None:
        """Return the pairing's scores; None where one of the metrics is not known."""
        asked = (identity, model, pairing.prompt["prompt_id"], pairing.seed, pairing.asked, picture)
        found = {metric: self._known.get((*asked, metric)) for metric in metrics}
        known = {metric: score for metric, score in found.items() if score is not None}
        return known if len(known) == len(found) else None


def score_what_changed(
    exhibit: Exhibit,
    model: str | None,
    earlier: EarlierScores,
    identity: Callable[[Pairing], Identity],
    metrics: Callable[[Pairing], Sequence[str]],
    measure: Callable[[Exhibit], Sequence[Scores]],
) -> tuple[list[Scores], int]:
    """Return the scores of each pairing, and how many of them were measured now.

    ``metrics`` names what a pairing is scored by, ``identity`` how and by whom; ``measure`` scores the pairings that no
    earlier run did.
    """
    of_model = model if exhibit.system == "generated" else None
    found = [earlier.find(identity(p), of_model, p, exhibit.digests[p.image], metrics(p)) for p in exhibit.pairings]
    missing = [pairing for pairing, scores in zip(exhibit.pairings, found, strict=True) if scores is None]
    fresh = iter(measure(exhibit.only(missing)) if missing else ())
    return [next(fresh) if scores is None else scores for scores in found], len(missing)


def version_with_settings(version: str, config: EvaluationConfig) -> str:
    """Return the version of a metric, followed by a digest of all its own settings: a changed default is a change too.

    What every scoring job is told (pictures, batch size, threads) changes no score and is left out.
    """
    fields = type(config).model_fields
    own: Mapping[str, Any] = config.model_dump(mode="json", include=set(fields) - set(EvaluationConfig.model_fields))
    return f"{version}+{digest(own)}" if own else version

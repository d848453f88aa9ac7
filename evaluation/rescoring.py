"""Scores that need not be made again: what an earlier run gave is taken over where nothing that it rests on changed.

A score is known where an earlier row agrees in the model, the prompt and all that it was held against, the seed, the
pixels that the scorer looked at, the metric with its version, and the scorer. A changed sampler, prompt, reference,
rule or judge therefore scores again what it touches, and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
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


class EarlierScores:
    """Scores by one version of a metric and one scorer, from tables of EVALS rows.

    Tables from before pictures had digests are passed over.
    """

    def __init__(self, tables: Sequence[Path], version: str, scorer: str) -> None:
        self._known: dict[tuple[Any, ...], Score] = {}
        wanted = [("metric_version", "==", version), ("scorer", "==", scorer)]
        for path in tables:
            if not set(IDENTITY) <= set(pq.read_schema(path).names):
                continue
            for row in pq.read_table(path, columns=[*IDENTITY, "value", "reason"], filters=wanted).to_pylist():
                if row["picture"] is not None:
                    self._known[tuple(row[name] for name in IDENTITY)] = Score(row["value"], row["reason"])

    def find(self, model: str | None, pairing: Pairing, picture: str, metrics: Sequence[str]) -> Scores | None:
        """Return the pairing's scores; None where one of the metrics is not known."""
        asked = (model, pairing.prompt["prompt_id"], pairing.seed, pairing.asked, picture)
        found = {metric: self._known.get((*asked, metric)) for metric in metrics}
        known = {metric: score for metric, score in found.items() if score is not None}
        return known if len(known) == len(found) else None


def score_what_changed(
    exhibit: Exhibit,
    model: str | None,
    earlier: EarlierScores,
    metrics: Callable[[Pairing], Sequence[str]],
    measure: Callable[[Exhibit], Sequence[Scores]],
) -> tuple[list[Scores], int]:
    """Return the scores of each pairing, and how many of them were measured now.

    ``metrics`` names what a pairing is scored by; ``measure`` scores the pairings that no earlier run did.
    """
    of_model = model if exhibit.system == "generated" else None
    found = [earlier.find(of_model, p, exhibit.digests[p.image], metrics(p)) for p in exhibit.pairings]
    missing = [pairing for pairing, scores in zip(exhibit.pairings, found, strict=True) if scores is None]
    fresh = iter(measure(exhibit.only(missing)) if missing else ())
    return [next(fresh) if scores is None else scores for scores in found], len(missing)


def version_with_settings(version: str, config: EvaluationConfig) -> str:
    """Return the version of a metric, followed by a digest of those of its own settings that are not the defaults.

    What every scoring job is told (pictures, batch size, threads) changes no score and is left out.
    """
    fields = type(config).model_fields
    own: Mapping[str, Any] = config.model_dump(mode="json", include=set(fields) - set(EvaluationConfig.model_fields))
    default = type(config)().model_dump(mode="json")
    changed = {name: value for name, value in own.items() if value != default[name]}
    return f"{version}+{digest(changed)}" if changed else version

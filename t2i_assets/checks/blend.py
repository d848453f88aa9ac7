"""Check of the blend: what is drawn in an epoch is what the recipe says."""

import math
from collections import Counter, defaultdict

import dagster as dg

from t2i_assets.assets.blend import caption_blend
from t2i_assets.corpus.blend import draw
from t2i_assets.corpus.schemas import BLENDS
from t2i_assets.corpus.tables import read_rows
from t2i_assets.materialize import made
from t2i_assets.resources import Pipeline

Z = 4.0
"""Standard deviations that a realised share may lie from its expectation: exceeded once in 16,000 checks."""


@dg.asset_check(asset=caption_blend, blocking=True)
def realised_ratio(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
    """The share of each source drawn in one epoch lies within its binomial bound."""
    blend = made(pipeline, "caption_blend", context.partition_key)
    captions: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in read_rows(blend.path, BLENDS, ["key", "source", "weight"]):
        captions[row["key"]].append((row["source"], row["weight"]))
    drawn: Counter[str] = Counter()
    expected: dict[str, float] = defaultdict(float)
    variance: dict[str, float] = defaultdict(float)
    for key, choices in captions.items():
        drawn[choices[draw(0, 0, key, [weight for _, weight in choices])][0]] += 1
        shares: dict[str, float] = defaultdict(float)
        for source, weight in choices:
            shares[source] += weight
        for source, share in shares.items():
            expected[source] += share
            variance[source] += share * (1 - share)
    outside = [
        source for source in expected if abs(drawn[source] - expected[source]) > Z * math.sqrt(variance[source]) + 1e-6
    ]
    total = max(1, len(captions))
    return dg.AssetCheckResult(
        passed=bool(captions) and not outside,
        metadata={
            "samples": len(captions),
            **{f"{source}: realised": drawn[source] / total for source in expected},
            **{f"{source}: expected": expected[source] / total for source in expected},
            **{f"{source}: bound": Z * math.sqrt(variance[source]) / total for source in expected},
        },
    )

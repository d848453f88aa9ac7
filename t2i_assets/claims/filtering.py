"""Does the filter take out what is wrong, and little else? Measured on the crawl's alt texts against the truth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2i_assets.claims.claim import Claim, Finding
from t2i_assets.claims.config import ClaimsConfig
from t2i_assets.claims.statistics import Array, Effect, Statistic, area_under_curve, estimate, mean_of, ratio_of
from t2i_assets.corpus.verdicts import KEPT, VerdictRules, judge

BLIP = "Li et al. 2022 (BLIP), section 4.3"
WANTED_AREA = 0.95
BY_SCORE = ("itm_below_threshold", "itc_below_threshold", "clip_below_threshold", KEPT)
"""Reasons of texts that the hygiene rules leave to the filter."""

Row = Mapping[str, Any]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """Texts of each seed, [S, C]: whether each is right, kept, and left to the filter, and its ITM probability."""

    right: Flags
    kept: Flags
    asked: Flags
    itm: Array

    @property
    def size(self) -> tuple[int, int]:
        return self.itm.shape[0], self.itm.shape[1]

    def only(self, texts: NDArray[np.bool_]) -> "Judged":
        """Return the texts of a mask [C]."""
        return Judged(self.right[:, texts], self.kept[:, texts], self.asked[:, texts], self.itm[:, texts])


def against_truth(
    captions_of_seed: Sequence[Sequence[Row]],
    scores_of_seed: Sequence[Sequence[Row]],
    is_right: Callable[[Row], bool],
    labels: Mapping[str, Sequence[str]],
    rules: VerdictRules,
) -> Judged:
    """Return the verdicts of each seed's filter; captions of all seeds are of the same pictures, in the same order."""
    right, kept, asked, itm = [], [], [], []
    for captions, scores in zip(captions_of_seed, scores_of_seed, strict=True):
        value = {row["caption_id"]: row["value"] for row in scores if row["kind"] == "itm"}
        verdicts = judge(captions, scores, labels, rules)
        right.append([is_right(caption) for caption in captions])
        kept.append([verdict["kept"] for verdict in verdicts])
        asked.append([verdict["reason"] in BY_SCORE for verdict in verdicts])
        itm.append([value[caption["caption_id"]] for caption in captions])
    return Judged(np.array(right), np.array(kept), np.array(asked), np.array(itm, float))


def finding(alt: Judged, synthetic: Judged, threshold: float, config: ClaimsConfig) -> Finding:
    """Return what the filters of all seeds did to alt texts and to synthetic captions."""
    left = alt.only(alt.asked[0])
    seeds = alt.size[0]
    area = estimate(area_under_curve(left.itm, left.right), *left.size, config)
    before, after = _wrong_before(alt), _wrong_after(alt)
    fewer = estimate(lambda s, c: before(s, c) - after(s, c), *alt.size, config)
    texts = f"{alt.size[1]:,} alt texts"
    return Finding(
        name="filter",
        title="The filter against the truth",
        setup="Each seed's filter learns to match from human captions. A text is kept where it passes the rules of "
        f"hygiene and has an ITM probability of {threshold} or more; it is right where all that it says is true of its "
        "picture. The truth of the embedded site is no input of any model.",
        claims=[
            Claim(
                name="filter_area_under_curve",
                statement="The ITM head tells right from wrong alt texts",
                source=f"{BLIP}; the bar of {WANTED_AREA} is ours",
                compared="right against wrong alt texts that no hygiene rule rejects",
                measure="area under the ROC curve of the ITM probability",
                effect=area,
                seeds=seeds,
                clusters=f"{left.size[1]:,} alt texts",
                bound=WANTED_AREA,
            ),
            Claim(
                name="capfilt_removes_wrong_texts",
                statement="CapFilt lowers the share of wrong texts",
                source=BLIP,
                compared="alt texts before and after hygiene rules and filter",
                measure="share of wrong texts before − after",
                effect=fewer,
                seeds=seeds,
                clusters=texts,
            ),
        ],
        columns=("texts", "n", "wrong before", "wrong after", "precision", "recall", "kept"),
        rows=[
            _row("alt texts, hygiene rules and filter", alt, config),
            _row("alt texts left to the filter", left, config),
            _row("descriptive captions of held-out pictures", synthetic, config),
        ],
        notes=(
            "Precision: of what is rejected, the share that is wrong. Recall: of what is wrong, the share that is "
            "rejected.",
        ),
    )


def _row(name: str, judged: Judged, config: ClaimsConfig) -> dict[str, Any]:
    wrong, out = (~judged.right).astype(float), (~judged.kept).astype(float)

    def told(statistic: Statistic) -> Effect:
        return estimate(statistic, *judged.size, config)

    return {
        "texts": name,
        "n": judged.size[1],
        "wrong before": told(_wrong_before(judged)),
        "wrong after": told(_wrong_after(judged)),
        "precision": told(ratio_of(out * wrong, out)),
        "recall": told(ratio_of(out * wrong, wrong)),
        "kept": told(mean_of(judged.kept.astype(float))),
    }


def _wrong_before(judged: Judged) -> Statistic:
    return mean_of((~judged.right).astype(float))


def _wrong_after(judged: Judged) -> Statistic:
    return ratio_of((judged.kept & ~judged.right).astype(float), judged.kept.astype(float))

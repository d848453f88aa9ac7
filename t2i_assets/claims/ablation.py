"""BLIP's ablations in miniature: captioner and filter on and off, nucleus and beam, weights shared or not."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2i_assets.claims.claim import Claim, Finding
from t2i_assets.claims.config import ABLATION, ClaimsConfig
from t2i_assets.claims.statistics import Array, Effect, estimate, mean_of

TABLE_1, TABLE_2, TABLE_4 = (f"Li et al. 2022 (BLIP), table {n}" for n in (1, 2, 4))
DIRECTIONS = ("image_to_text", "text_to_image")
CAPTION_STYLES = ("descriptive", "short")
REJECTED = {
    "nucleus": "nucleus",
    "beam": "beam",
    "separate": "separate weights, nucleus",
    "shared": "shared weights, nucleus",
}
NAMES = {"none": "neither", "filter": "filter", "captioner": "captioner", "both": "captioner and filter"}

Row = Mapping[str, Any]


def recalls(tables: Sequence[Sequence[Row]], metric: str, style: str) -> Array:
    """Return whether each held-out picture was found, [S, C], from the EVALS rows of each seed's CLIP."""
    rows = [
        {row["scene_id"]: row["value"] for row in table if row["metric"] == metric and row["style"] == style}
        for table in tables
    ]
    return np.array([[row[key] for key in sorted(rows[0])] for row in rows])


def retrieval(tables: Mapping[str, Sequence[Sequence[Row]]], config: ClaimsConfig) -> Finding:
    """Return the 2×2; ``tables`` holds for each arm the EVALS rows of ``clip_retrieval``, one table a seed."""
    found = {
        arm: {
            style: np.mean([recalls(tables[arm], f"{way}_recall_at_1", style) for way in DIRECTIONS], axis=0)
            for style in CAPTION_STYLES
        }
        for arm in ABLATION
    }
    mean = {arm: np.mean([of_style[style] for style in CAPTION_STYLES], axis=0) for arm, of_style in found.items()}
    seeds, pictures = mean["none"].shape

    def told(values: Array) -> Effect:
        return estimate(mean_of(values), seeds, pictures, config)

    def claim(name: str, statement: str, arm: str, base: str) -> Claim:
        return Claim(
            name=name,
            statement=statement,
            source=TABLE_1,
            compared=f"CLIP retrained on texts of {NAMES[arm]} against {NAMES[base]}",
            measure="recall at 1, mean of both directions and both styles of captions",
            effect=told(mean[arm] - mean[base]),
            seeds=seeds,
            clusters=f"{pictures} held-out pictures",
        )

    return Finding(
        name="ablation",
        title="Captioner on and off, filter on and off",
        setup="CLIP is trained from scratch on original texts alone, or on original and synthetic captions half and "
        "half (a quarter short, a quarter descriptive), as they are or filtered; then it looks for held-out pictures "
        "by their exact captions, and back.",
        claims=[
            claim("filter_alone_helps", "The filter alone helps retrieval", "filter", "none"),
            claim("captioner_alone_helps", "The captioner alone helps retrieval", "captioner", "none"),
            claim("capfilt_helps", "Captioner and filter together help retrieval", "both", "none"),
            claim("filter_helps_captioner", "The filter helps beside the captioner", "both", "captioner"),
        ],
        columns=("captions of", "descriptive", "short"),
        rows=[
            {"captions of": NAMES[arm], **{style: told(found[arm][style]) for style in CAPTION_STYLES}}
            for arm in ABLATION
        ],
        notes=(
            "Filter: all rules of verdicts, hygiene of alt texts and then the ITM threshold; BLIP's is ITM alone.",
            "Samples without a caption left are not trained on: the filter alone also makes the training set smaller.",
        ),
    )


def rejections(rejected: Mapping[str, Array], wrong: Mapping[str, Array], config: ClaimsConfig) -> Finding:
    """Return what filters reject: whether each seed's rejects each caption, [S, C], by the names of ``REJECTED``."""
    nucleus, beam, separate, shared = (rejected[name] for name in ("nucleus", "beam", "separate", "shared"))

    def told(values: Array) -> Effect:
        return estimate(mean_of(values), values.shape[0], values.shape[1], config)

    rows = [
        {"captions": words, "rejected": told(rejected[name]), "wrong": told(wrong[name])}
        for name, words in REJECTED.items()
    ]
    return Finding(
        name="rejections",
        title="What the filter rejects of synthetic captions",
        setup="Descriptive captions of held-out pictures, rejected below the default ITM threshold. Nucleus (p = 0.9) "
        "and beam (3 beams) are of the pipeline's captioner and filter; for the weights, one BLIP is taught to caption "
        "and then finetuned as captioner and as filter apart, or as both at once.",
        claims=[
            Claim(
                name="nucleus_is_rejected_more",
                statement="Nucleus samples are noisier than beam search: the filter rejects more of them",
                source=f"{TABLE_2}: 25 % against 19 %",
                compared="captions by nucleus sampling against beam search",
                measure="share rejected, nucleus − beam",
                effect=told(nucleus - beam),
                seeds=nucleus.shape[0],
                clusters=f"{nucleus.shape[1]} held-out pictures",
            ),
            Claim(
                name="shared_weights_agree",
                statement="A filter that shares weights with the captioner rejects fewer of its captions",
                source=f"{TABLE_4}: 8 % against 25 %",
                compared="captioner and filter finetuned apart against jointly",
                measure="share rejected, separate − shared",
                effect=told(separate - shared),
                seeds=separate.shape[0],
                clusters=f"{separate.shape[1]} held-out pictures",
            ),
        ],
        columns=("captions", "rejected", "wrong"),
        rows=rows,
    )

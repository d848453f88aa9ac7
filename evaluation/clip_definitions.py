"""The published CLIP scores of a picture and its prompt, each from a stored cosine.

Three definitions circulate under one name; whoever compares figures must say which:

* DALL·E 3 (Betker et al. 2023, section 3.1): 100·cos, no clamp, no prefix, ViT-B/32.
* Hessel et al. (2021, section 3): 2.5·max(cos, 0), texts prefixed by "A photo depicts ". With references RefCLIPScore.
* torchmetrics: 100·cos, averaged and then clamped at 0, no prefix, by default ViT-L/14. It cuts the end token of texts
  longer than the model reads; we keep it, so that such texts differ.

The cosine without the prefix gives the first and the third, the one with it the second.
"""

from collections.abc import Sequence
from statistics import fmean

from evaluation.caption_metrics.clip import clip_s, ref_clip_s

COSINE, PREFIXED_COSINE = "clip_cosine", "clip_cosine_photo"
COSINES = (COSINE, PREFIXED_COSINE)
REFERENCE_COSINE = "reference_cosine"
"""The prompt's best cosine with another caption of its scene, both prefixed: the second half of RefCLIPScore."""
CLIP_SCORE, CLIP_S, REF_CLIP_S = "clip_score", "clip_s", "ref_clip_s"


def clip_score(cosine: float) -> float:
    """Return DALL·E 3's CLIP score, -100 to 100, from the cosine of picture and bare prompt."""
    return 100 * cosine


def torchmetrics_clip_score(cosines: Sequence[float]) -> float:
    """Return torchmetrics' CLIP score of a set, 0 to 100, from the cosines of its pictures and bare prompts."""
    return max(clip_score(fmean(cosines)), 0.0)


def clip_scores(cosines: dict[str, float]) -> dict[str, float]:
    """Return the scores of one picture from its cosines by metric: what has no reference has no RefCLIPScore.

    For a picture of a prompt RefCLIPScore (Hessel et al. 2021, equation 2) takes the prompt as the candidate caption
    and the other captions of the scene as references. It orders pictures of one prompt as CLIP-S does, and weighs
    prompts by how well they say what the scene's other captions say.
    """
    scores = {CLIP_SCORE: clip_score(cosines[COSINE]), CLIP_S: clip_s(cosines[PREFIXED_COSINE])}
    if REFERENCE_COSINE in cosines:
        scores[REF_CLIP_S] = ref_clip_s(cosines[PREFIXED_COSINE], [cosines[REFERENCE_COSINE]])
    return scores

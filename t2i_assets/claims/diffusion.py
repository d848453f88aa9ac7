"""What drawing stands on: guidance, the objective of training, and where an image embedding comes from."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from t2i_assets.claims.claim import Claim, Finding
from t2i_assets.claims.drawings import BESIDE, GUIDED
from t2i_assets.claims.scored import Scores, columns, seed_notes

DALLE2 = "Ramesh et al. 2022 (DALL·E 2)"
GUIDANCE = "Ho & Salimans 2022"
OBJECTIVE_NAMES = {"epsilon": "epsilon (the noise)", "v": "v", "flow": "velocity of flow matching"}
CONDITION_NAMES = {
    "caption": "the caption alone",
    "text_embedding": "CLIP's text embedding",
    "diffusion_prior": "the diffusion prior",
    "autoregressive_prior": "the autoregressive prior",
    "text_embedding_beside": "caption and text embedding",
    "diffusion_prior_beside": "caption and diffusion prior",
    "autoregressive_prior_beside": "caption and autoregressive prior",
}


def guidance_finding(scores: Scores[float]) -> Finding:
    """Return what guidance gives and costs; arms are guidance scales."""
    least, *_, most = sorted(scores.arms)
    middle = min(scores.arms, key=lambda scale: abs(scale - 2))

    def told(arm: float, base: float) -> str:
        return f"guidance {arm:g} against {base:g}"

    return Finding(
        name="guidance",
        title="Guidance: how far to follow the caption",
        setup=f"The same models, trained to predict {GUIDED}, draw the same prompts from the same noise at several "
        "scales; 1 is no guidance.",
        claims=[
            scores.claim(
                "guidance_follows_captions",
                "Guidance makes pictures follow their captions",
                f"{GUIDANCE}; Nichol et al. 2022 (GLIDE)",
                *(middle, least, told(middle, least), "descriptive", "clip_score"),
            ),
            scores.claim(
                "guidance_composes",
                "Guidance binds attributes and relations better",
                GUIDANCE,
                *(middle, least, told(middle, least), "descriptive", "compositional"),
            ),
            scores.claim(
                "strong_guidance_costs_realism",
                "Strong guidance takes pictures away from real ones",
                f"{GUIDANCE}, table 1",
                *(middle, most, told(middle, most), "descriptive", "fd_judge"),
            ),
        ],
        columns=("guidance scale", *columns()),
        rows=[{"guidance scale": f"{scale:g}", "scale": scale, **scores.shown(scale)} for scale in sorted(scores.arms)],
        notes=seed_notes(scores.seeds),
    )


def objectives_finding(scores: Scores[str]) -> Finding:
    """Return which objective learns most in the same steps; arms are objectives."""
    return Finding(
        name="objectives",
        title="What a diffusion model should predict",
        setup="Latent diffusion models on the 95/5 blend that differ in the objective alone: same samples, noise, "
        "steps and learning rate, no weights by signal-to-noise ratio. Epsilon and v draw by DDIM on the cosine "
        "schedule, flow matching by Euler steps on straight paths; as many steps, the same guidance.",
        claims=[
            scores.claim(
                "v_beats_epsilon",
                "v learns to follow captions sooner than epsilon",
                "Salimans & Ho 2022, section 4; Ho et al. 2022 (Imagen Video)",
                *("v", "epsilon", "v against epsilon", "descriptive", "clip_score"),
            ),
            scores.claim(
                "v_looks_more_real_than_epsilon",
                "v draws nearer to real pictures than epsilon",
                "Salimans & Ho 2022, section 4",
                *("v", "epsilon", "v against epsilon", "descriptive", "fd_judge"),
            ),
            scores.claim(
                "flow_beats_v",
                "Flow matching learns to follow captions sooner than v",
                "Esser et al. 2024 (Stable Diffusion 3), table 1",
                *("flow", "v", "flow matching against v", "descriptive", "clip_score"),
            ),
        ],
        columns=("prediction", *columns()),
        rows=[{"prediction": OBJECTIVE_NAMES[arm], **scores.shown(arm)} for arm in scores.arms],
        notes=seed_notes(scores.seeds),
    )


def priors_finding(scores: Scores[str], figures: Mapping[str, Sequence[Mapping[str, Any]]]) -> Finding:
    """Return what a prior is for; arms are conditions of the unCLIP variant.

    ``figures`` are what training each kind of prior came to, at each seed.
    """

    def claim(name: str, statement: str, arm: str, base: str, score: str, source: str) -> Claim:
        compared = f"{CONDITION_NAMES[arm]} against {CONDITION_NAMES[base]}"
        return scores.claim(name, statement, f"{DALLE2}, {source}", arm, base, compared, "descriptive", score)

    prior, other = "diffusion_prior", "autoregressive_prior"
    return Finding(
        name="priors",
        title="What a prior is for",
        setup="One diffusion model of the unCLIP variant (the CLIP image embedding added to the time embedding and as "
        "ten extra tokens of context) draws the same prompts from the same noise: from the caption alone, from CLIP's "
        "text embedding in the place of an image's, and from the image embedding that each prior "
        "draws; then from each embedding with the caption beside it.",
        claims=[
            claim(
                "diffusion_prior_follows",
                "Pictures from the diffusion prior follow their captions better than from the autoregressive one",
                *(prior, other, "clip_score", "section 5.2, table 1"),
            ),
            claim(
                "diffusion_prior_looks_real",
                "They also lie nearer to real pictures",
                *(prior, other, "fd_judge", "table 2: FID 10.39 against 10.63"),
            ),
            claim(
                "prior_beats_text_embedding",
                "A prior draws nearer to real pictures than the text embedding in its place",
                *(prior, "text_embedding", "fd_judge", "section 5.1, figure 8"),
            ),
            claim(
                "prior_helps_captions",
                "Beside the caption, a prior brings pictures nearer to real ones than the caption alone",
                *(f"{prior}{BESIDE}", "caption", "fd_judge", "section 5.1, figure 8"),
            ),
            claim(
                "prior_helps_to_follow",
                "Beside the caption, a prior makes pictures follow it better than the caption alone does",
                *(f"{prior}{BESIDE}", "caption", "clip_score", "section 5.1, figure 8"),
            ),
        ],
        columns=("drawn from", "cosine to true image embedding", *columns()),
        rows=[
            {
                "drawn from": CONDITION_NAMES[arm],
                "cosine to true image embedding": _cosine(arm, figures),
                **scores.shown(arm),
            }
            for arm in scores.arms
        ],
        notes=(
            "Both priors are trained by about as many operations: a step of the autoregressive one takes more, since "
            "its sequence is longer, so it takes fewer steps.",
            *seed_notes(scores.seeds),
        ),
    )


def _cosine(arm: str, figures: Mapping[str, Sequence[Mapping[str, Any]]]) -> str | None:
    """Return the mean cosine, over seeds, of what an arm draws from and the embeddings of held-out images."""
    arm = arm.removesuffix(BESIDE)
    if arm == "text_embedding":
        told = [of_seed["val/cosine_of_text_embedding"] for of_kind in figures.values() for of_seed in of_kind]
    else:
        told = [of_seed["val/cosine"] for of_seed in figures.get(arm, [])]
    return f"{np.mean(told):.3f}" if told else None

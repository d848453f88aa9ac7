"""DALL·E 3's blend sweep: how much of the captions should be synthetic, and in which style."""

from t2i_assets.claims.claim import Claim, Finding
from t2i_assets.claims.config import Style
from t2i_assets.claims.scored import Scores, columns, seed_notes

DALLE3 = "Betker et al. 2023 (DALL·E 3)"

Arm = tuple[Style, float]
"""Style and share of synthetic captions; original texts alone are (style, 0)."""


def finding(sweep: Scores[Arm]) -> Finding:
    """Return the sweep's claims and its table."""
    best: Arm = ("descriptive", 0.95)
    none = next((arm for arm in sweep.arms if not arm[1]), ("descriptive", 0.0))
    pure: Arm = ("descriptive", 1.0)

    def claim(name: str, statement: str, arm: Arm, base: Arm, style: str, score: str, source: str) -> Claim | None:
        if not {arm, base} <= set(sweep.arms):
            return None
        return sweep.claim(name, statement, source, arm, base, f"{told(arm)} against {told(base)}", style, score)

    section_3 = f"{DALLE3}, section 3"
    claims = [
        claim(
            "descriptive_captions_help",
            "Models trained on descriptive synthetic captions follow descriptive prompts better",
            best, none, "descriptive", "clip_score", section_3,
        ),
        claim(
            "descriptive_captions_compose",
            "They bind attributes and relations better",
            best, none, "descriptive", "compositional", f"{DALLE3}, table 1 (T2I-CompBench)",
        ),
        claim(
            "descriptive_captions_look_real",
            "Their pictures lie nearer to real ones",
            best, none, "descriptive", "fd_judge", "Li et al. 2024 (Recap-DataComp-1B)",
        ),
        claim(
            "more_synthetic_is_better",
            "More synthetic captions are better all the way to 95 %",
            best, ("descriptive", 0.65), "descriptive", "clip_score", section_3,
        ),
        claim(
            "descriptive_beats_short",
            "Descriptive captions teach more than short ones",
            best, ("short", 0.95), "descriptive", "clip_score", section_3,
        ),
        claim(
            "synthetic_helps_original_prompts",
            "Synthetic captions help on prompts as the web writes them, too",
            best, none, "original", "clip_score", section_3,
        ),
        claim(
            "five_percent_guard_against_tics",
            "5 % of original captions keep the model able to read original prompts",
            best, pure, "original", "clip_score", section_3,
        ),
        claim(
            "five_percent_keep_pictures_real",
            "5 % of original captions keep pictures for original prompts near to real ones",
            best, pure, "original", "fd_judge", section_3,
        ),
    ]  # fmt: skip
    return Finding(
        name="sweep",
        title="How much of the captions should be synthetic",
        setup="Latent diffusion models that differ in captions alone: same images, seeds, steps, autoencoder and text "
        "encoder (a CLIP trained on the 95/5 blend).",
        claims=[claim for claim in claims if claim is not None],
        columns=("captions", *columns()),
        rows=[{"captions": told(arm), "style": arm[0], "share": arm[1], **sweep.shown(arm)} for arm in sweep.arms],
        notes=(
            "The text encoder has met synthetic and original captions; models of original captions alone use the same.",
            "Original texts are not filtered here: right ones are too few for half of a blend.",
            *seed_notes(sweep.seeds),
        ),
    )


def told(arm: Arm) -> str:
    """Return an arm in words."""
    style, share = arm
    return f"{share:.0%} {style}" if share else "original texts alone"

"""CLIPScore of a caption, without and with references, from cosines that some CLIP gave.

Source: Hessel et al., "CLIPScore: A Reference-free Evaluation Metric for Image Captioning" (2021), section 3. Their
texts are prefixed by ``PREFIX`` before they are embedded. A CLIP that filtered the captions is no independent judge.
"""

from collections.abc import Sequence

PREFIX = "A photo depicts "
WEIGHT = 2.5


def clip_s(cosine: float) -> float:
    """Return CLIP-S, 0 to 2.5, from the cosine of picture and caption."""
    return WEIGHT * max(cosine, 0.0)


def ref_clip_s(cosine: float, reference_cosines: Sequence[float]) -> float:
    """Return RefCLIP-S: the harmonic mean of CLIP-S and the caption's best cosine with a reference, at least 0.

    Raises ValueError where there is no reference.
    """
    if not reference_cosines:
        raise ValueError("RefCLIP-S needs the cosine of a reference")
    picture, text = clip_s(cosine), max(*reference_cosines, 0.0)
    return 2 * picture * text / (picture + text) if picture and text else 0.0

"""Whatever a file holds, as sRGB."""

import io

import numpy as np
from PIL import Image, ImageCms


def is_srgb(profile: bytes | None) -> bool:
    """Tell whether a colour profile is missing or says that it is sRGB."""
    return not profile or b"sRGB" in profile or b"s\0R\0G\0B" in profile


def to_srgb(image: Image.Image) -> Image.Image:
    """Return the image as RGB: 16 bits scaled to 8, colour profile applied, alpha laid over white."""
    if image.mode.startswith("I"):
        grey = np.asarray(image, np.float64)
        wide = image.mode != "I" or grey.max() > 255
        return Image.fromarray((grey / 257 if wide else grey).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    profile = image.info.get("icc_profile")
    if is_srgb(profile):
        profile = None
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
    if profile is None or image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    if profile is not None:
        image = _apply_profile(image, profile)
    if alpha is not None:
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=alpha)
        return paper
    return image


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert to sRGB by the embedded profile; one that does not fit the image is no profile, as in browsers."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        done = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        done = None
    return (image if done is None else done).convert("RGB")

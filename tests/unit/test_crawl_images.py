"""Images of every kind are stored upright, in sRGB, and damaged ones are refused."""

import contextlib
import io
import zlib

import cv2
import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.images import ImageError, process_image
from t2i_assets.crawl.images.phash import perceptual_hash
from t2i_assets.crawl.images.resize import Picture, stored_pixels
from tests.unit.crawl_site import picture

CONFIG = ImageConfig(size=64, min_bytes=0, min_side=8, max_aspect=20)
PLAIN = ImageConfig(size=64, min_bytes=0, min_side=8, max_aspect=20, resize="no")


def encode(image: Image.Image, format: str, **save: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **save)
    return file.getvalue()


def stored(body: bytes, config: ImageConfig = PLAIN) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(process_image(body, config).data))).astype(int)


def quarters() -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right; wider than high."""
    image = Image.new("RGB", (160, 80), "white")
    for box, colour in (((0, 0, 80, 40), "red"), ((80, 0, 160, 40), "lime"), ((0, 40, 80, 80), "blue")):
        image.paste(colour, box)
    return image


def close(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 12) -> bool:
    return bool(np.abs(pixels - np.array(colour)).max() <= tolerance)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_gives_the_same_picture(format: str) -> None:
    image = process_image(encode(quarters(), format), PLAIN)
    pixels = np.asarray(Image.open(io.BytesIO(image.data))).astype(int)
    assert image.original_format == format
    assert pixels.shape == (80, 160, 3)
    assert close(pixels[20, 40], (255, 0, 0))
    assert close(pixels[20, 120], (0, 255, 0))
    assert close(pixels[60, 40], (0, 0, 255))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_undone(orientation: int, format: str) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    camera = quarters().transpose(undo[orientation]) if orientation > 1 else quarters()
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = process_image(encode(camera, format, exif=exif), PLAIN)
    pixels = np.asarray(Image.open(io.BytesIO(image.data))).astype(int)
    assert (image.original_width, image.original_height) == (160, 80)
    assert close(pixels[20, 40], (255, 0, 0))
    assert close(pixels[20, 120], (0, 255, 0))


def test_transparent_parts_become_white() -> None:
    clear = Image.new("RGBA", (80, 80), (255, 0, 0, 0))
    clear.paste((0, 0, 255, 255), (0, 0, 40, 80))
    for body in (encode(clear, "PNG"), encode(clear, "WEBP", lossless=True), encode(clear.quantize(), "PNG")):
        pixels = stored(body)
        assert close(pixels[40, 60], (255, 255, 255))
        assert close(pixels[40, 20], (0, 0, 255))
    grey = Image.new("LA", (80, 80), (0, 0))
    assert close(stored(encode(grey, "PNG"))[40, 40], (255, 255, 255))


def test_other_pixel_kinds_are_read() -> None:
    assert close(stored(encode(Image.new("CMYK", (80, 80), (0, 255, 255, 0)), "JPEG"))[40, 40], (255, 0, 0), 30)
    assert close(stored(encode(Image.new("L", (80, 80), 77), "JPEG"))[40, 40], (77, 77, 77))
    assert close(stored(encode(Image.new("1", (80, 80), 1), "PNG"))[40, 40], (255, 255, 255))
    sixteen = Image.fromarray(np.full((80, 80), 128 * 257, np.uint16))
    assert close(stored(encode(sixteen, "PNG"))[40, 40], (128, 128, 128))
    assert close(stored(encode(quarters().quantize(), "PNG"))[20, 40], (255, 0, 0))


def test_a_colour_profile_is_applied() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    plain = encode(quarters(), "JPEG", quality=95)
    assert np.abs(stored(encode(quarters(), "JPEG", quality=95, icc_profile=srgb.tobytes())) - stored(plain)).max() <= 4
    misfit = encode(quarters(), "PNG", icc_profile=lab.tobytes())
    assert close(stored(misfit)[20, 40], (255, 0, 0))  # a profile that does not fit is none
    broken = encode(quarters(), "JPEG", icc_profile=b"no profile at all")
    assert close(stored(broken)[20, 40], (255, 0, 0))


def test_of_an_animation_the_first_frame_is_taken_and_marked() -> None:
    frames = [Image.new("RGB", (80, 80), colour) for colour in ("red", "lime")]
    for format in ("GIF", "WEBP"):
        image = process_image(encode(frames[0], format, save_all=True, append_images=frames[1:], duration=50), PLAIN)
        assert image.animated
        assert close(np.asarray(Image.open(io.BytesIO(image.data))).astype(int)[40, 40], (255, 0, 0))
    assert not process_image(encode(frames[0], "GIF"), PLAIN).animated


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_images_are_refused(format: str, share: float) -> None:
    body = picture(3, (300, 200), format)
    with pytest.raises(ImageError) as error:
        process_image(body[: int(len(body) * share)], CONFIG)
    assert error.value.status == "decode_failed"


@settings(deadline=None, max_examples=80)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]), st.integers(0, 10**6), st.integers(1, 255))
def test_damage_is_decoded_or_refused_but_never_crashes(format: str, position: int, bits: int) -> None:
    body = bytearray(picture(1, (48, 40), format))
    body[position % len(body)] ^= bits
    with contextlib.suppress(ImageError):
        process_image(bytes(body), CONFIG)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (50_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    data = zlib.compress(bytes(10**6))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    with pytest.raises(ImageError) as error:
        process_image(bomb, CONFIG)
    assert error.value.status == "bomb"


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        ("center_crop", (300, 200), (64, 64)),
        ("center_crop", (40, 90), (64, 64)),
        ("keep_ratio", (300, 200), (96, 64)),
        ("keep_ratio", (200, 300), (64, 96)),
        ("keep_ratio", (50, 40), (50, 40)),
        ("no", (300, 200), (300, 200)),
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_resize_modes(mode: str, size: tuple[int, int], expected: tuple[int, int], format: str) -> None:
    config = CONFIG.model_copy(update={"resize": mode})
    image = process_image(picture(1, size, format), config)
    assert (image.width, image.height) == expected == Image.open(io.BytesIO(image.data)).size


def test_scaling_in_the_dct_domain_gives_the_picture_that_full_decoding_gives() -> None:
    body = picture(5, (1200, 900), "JPEG", quality=95)
    full = stored_pixels(Picture(np.asarray(Image.open(io.BytesIO(body))), 1200, 900), CONFIG).astype(float)
    fast = stored(body, CONFIG)
    assert np.sqrt(np.mean((full - fast) ** 2)) < 2.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("size", "side"), [((997, 811), 256), ((811, 997), 256), ((1283, 641), 96), ((515, 514), 64)])
def test_scaling_in_the_dct_domain_moves_nothing(size: tuple[int, int], side: int, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    rng = np.random.default_rng(orientation)
    octaves = [Image.fromarray(rng.integers(0, 256, (n, n), np.uint8)).resize(size, 3) for n in (5, 11, side // 5)]
    camera = Image.fromarray(np.mean([np.asarray(one) for one in octaves], axis=0).astype(np.uint8)).convert("RGB")
    body = encode(camera, "JPEG", quality=95, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(body)))
    config = CONFIG.model_copy(update={"size": side})
    slow = stored_pixels(Picture(np.asarray(upright), *upright.size), config)
    fast = stored(body, config).astype(np.uint8)
    shift, _ = cv2.phaseCorrelate(*(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY).astype(np.float32) for one in (slow, fast)))
    assert np.hypot(*shift) < 0.1
    assert np.sqrt(np.mean((slow.astype(float) - fast) ** 2)) < 2


def test_the_perceptual_hash_is_the_published_one() -> None:
    for seed in range(5):
        grey = np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)
        low = scipy.fft.dct(scipy.fft.dct(grey.astype(float), axis=0), axis=1)[:8, :8]
        expected = int("".join("1" if bit else "0" for bit in (low > np.median(low)).ravel()), 2)
        assert perceptual_hash(Picture(np.repeat(grey[:, :, None], 3, 2), 32, 32)) == f"{expected:016x}"


def test_resized_and_reencoded_copies_have_near_hashes_and_others_far_ones() -> None:
    def phash(seed: int, size: tuple[int, int], format: str, **save: object) -> int:
        return int(process_image(picture(seed, size, format, **save), CONFIG).phash, 16)

    originals = [phash(seed, (400, 300), "PNG") for seed in range(12)]
    copies = [phash(seed, (200, 150), "JPEG", quality=60) for seed in range(12)]
    assert max((a ^ b).bit_count() for a, b in zip(originals, copies, strict=True)) <= 6
    assert min((a ^ b).bit_count() for i, a in enumerate(originals) for b in originals[:i]) >= 10

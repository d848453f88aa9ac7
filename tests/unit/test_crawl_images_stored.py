"""What is stored of an image is what was asked for, exactly and every time; what would do harm is refused early."""

import io
import json
import struct
import time
import zlib

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.images import ImageError, StoredImage, process_image
from t2i_assets.crawl.images.phash import perceptual_hash
from t2i_assets.crawl.images.resize import Picture
from tests.unit.crawl_site import picture

EXACT = ImageConfig(size=64, min_bytes=0, min_side=8, max_aspect=20, resize="no", format="png")


def config(**changes: object) -> ImageConfig:
    return EXACT.model_copy(update=changes)


def encode(image: Image.Image, format: str, **save: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **save)
    return file.getvalue()


def pixels(image: StoredImage) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image.data)).convert("RGB")).astype(int)


def refusal(body: bytes, **changes: object) -> ImageError:
    with pytest.raises(ImageError) as error:
        process_image(body, config(**changes))
    return error.value


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


@pytest.mark.parametrize("format", ["jpg", "webp", "png"])
@pytest.mark.parametrize("resize", ["center_crop", "keep_ratio", "no"])
@pytest.mark.parametrize("resampling", ["area", "lanczos"])
def test_every_form_of_storing_gives_a_file_of_that_form_and_the_same_bytes_again(
    format: str, resize: str, resampling: str
) -> None:
    body = picture(2, (300, 200), "JPEG", quality=90)
    first, second = (process_image(body, config(format=format, resize=resize, resampling=resampling)) for _ in range(2))
    image = Image.open(io.BytesIO(first.data))
    assert first == second
    assert first.image_ext == format
    assert image.format == {"jpg": "JPEG", "webp": "WEBP", "png": "PNG"}[format]
    assert image.size == (first.width, first.height)
    assert image.size == {"center_crop": (64, 64), "keep_ratio": (96, 64), "no": (300, 200)}[resize]


def test_quality_is_heeded_and_webp_at_100_and_png_lose_nothing() -> None:
    body = picture(4, (120, 90), "PNG")
    original = np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(int)
    for format in ("jpg", "webp"):
        sizes = [len(process_image(body, config(format=format, quality=quality)).data) for quality in (30, 60, 95)]
        assert sizes == sorted(set(sizes))
    for format in ("webp", "png"):
        assert (pixels(process_image(body, config(format=format, quality=100))) == original).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_undone_as_pillow_undoes_it(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    camera = np.random.default_rng(orientation).integers(0, 256, (31, 47, 3), np.uint8)
    body = encode(Image.fromarray(camera), "PNG", exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(body))))
    image = process_image(body, EXACT)
    assert (pixels(image) == expected).all()
    assert (image.original_height, image.original_width) == expected.shape[:2]
    jpeg = encode(Image.open(io.BytesIO(picture(3, (96, 64), "PNG"))).convert("RGB"), "JPEG", quality=95, exif=exif)
    turned = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(jpeg)))).astype(int)
    assert np.abs(pixels(process_image(jpeg, EXACT)) - turned).max() <= 3


def wide_gamut_profile() -> bytes:
    """An ICC profile (version 2, matrix and gamma) with the primaries of Adobe RGB (1998)."""

    def fixed(*numbers: float) -> bytes:
        return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)

    white, gamma = (0.9642, 1.0, 0.8249), b"curv" + bytes(4) + struct.pack(">IH", 1, round(2.2 * 256)) + bytes(2)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"wide\0" + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + fixed(*white),
        b"rXYZ": b"XYZ " + bytes(4) + fixed(0.6097, 0.3111, 0.0195),
        b"gXYZ": b"XYZ " + bytes(4) + fixed(0.2053, 0.6257, 0.0609),
        b"bXYZ": b"XYZ " + bytes(4) + fixed(0.1492, 0.0632, 0.7446),
        b"rTRC": gamma, b"gTRC": gamma, b"bTRC": gamma,
    }  # fmt: skip
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(data), b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(*white)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_wide_gamut_is_brought_to_srgb_as_the_colour_engine_does(format: str) -> None:
    profile = wide_gamut_profile()
    save = {"PNG": {}, "JPEG": {"quality": 95}, "WEBP": {"lossless": True}}[format]
    body = encode(
        Image.open(io.BytesIO(picture(6, (96, 64), "PNG"))).convert("RGB"), format, icc_profile=profile, **save
    )
    read = Image.open(io.BytesIO(body)).convert("RGB")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    expected = ImageCms.profileToProfile(read, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert expected is not None
    assert np.abs(np.asarray(expected).astype(int) - np.asarray(read)).max() > 8
    assert np.abs(pixels(process_image(body, EXACT)) - np.asarray(expected)).max() <= 2


@pytest.mark.parametrize(("format", "ext"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")])
def test_kept_bytes_are_the_bytes_but_are_checked_all_the_same(format: str, ext: str) -> None:
    body = picture(5, (300, 200), format)
    image = process_image(body, config(), keep_bytes=True)
    assert image.data == body
    assert (image.image_ext, image.width, image.height) == (ext, 300, 200)
    for broken, settings in ((body[: len(body) // 2], EXACT), (body, config(min_side=201))):
        with pytest.raises(ImageError):
            process_image(broken, settings, keep_bytes=True)


def test_formats_that_no_shard_holds_are_encoded_even_where_bytes_are_kept() -> None:
    assert process_image(picture(5, (300, 200), "GIF"), config(), keep_bytes=True).image_ext == "png"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_tells_how_it_was_taken_and_neither_where_nor_by_whom(format: str) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x013B], exif[0x8298] = "Maker", "Model 5\0\0", "Ann Author", "(c) Ann Author"
    details = exif.get_ifd(0x8769)
    details.update({0x829A: 0.004, 0x829D: 2.8, 0x8827: 400, 0x920A: 35.0, 0x9003: "2024:05:06 07:08:09"})
    details.update({0xA434: "35mm F2.8", 0xA431: "SERIAL-1", 0xA430: "Olga Owner"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0)})
    told = process_image(encode(Image.new("RGB", (80, 60), "teal"), format, exif=exif), EXACT).exif
    assert told is not None
    assert json.loads(told) == {
        "make": "Maker", "model": "Model 5", "lens": "35mm F2.8", "exposure_s": 0.004, "f_number": 2.8, "iso": 400,
        "focal_length_mm": 35, "date": "2024-05-06",
    }  # fmt: skip


def test_without_exif_or_with_a_damaged_one_there_is_none() -> None:
    plain = picture(1, (80, 60), "JPEG")
    block = b"Exif\0\0II*\0\xff\xff\xff\xff"
    damaged = plain[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + plain[2:]
    assert process_image(plain, EXACT).exif is None
    assert process_image(damaged, EXACT).exif is None


def test_the_hash_is_that_of_imagehash() -> None:
    for seed in range(8):
        grey = np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)
        expected = str(imagehash.phash(Image.fromarray(grey)))
        assert perceptual_hash(Picture(np.repeat(grey[:, :, None], 3, 2), 32, 32)) == expected


def test_a_jpeg_of_a_thousand_scans_is_refused_at_once() -> None:
    body = encode(Image.new("RGB", (4000, 4000), "gray"), "JPEG", progressive=True)
    last = body.rfind(b"\xff\xda")
    bomb = body[:last] + body[last:-2] * 1000 + b"\xff\xd9"
    started = time.process_time()
    assert refusal(bomb).status == "bomb"
    assert time.process_time() - started < 0.2
    assert process_image(body, config(min_side=8)).original_format == "JPEG"


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_a_png_whose_text_or_profile_unfolds_to_gigabytes_is_refused_within_bounds(kind: bytes) -> None:
    plain = picture(1, (80, 60), "PNG")
    folded = zlib.compress(bytes(300_000_000), 9)
    head = b"Comment\0" + (b"\1\0\0\0" if kind == b"iTXt" else b"\0")
    bomb = plain[:33] + png_chunk(kind, head + folded) + plain[33:]
    started = time.process_time()
    assert refusal(bomb).status in ("bomb", "decode_failed")
    assert time.process_time() - started < 2


def test_files_without_their_end_are_refused_though_their_first_frame_is_there() -> None:
    png = picture(1, (80, 60), "PNG")
    frames = [Image.new("RGB", (80, 60), colour) for colour in ("red", "lime", "blue")]
    gif = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    webp = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=50)
    for cut in (png[:-12], gif[:-1], gif[: len(gif) * 2 // 3], webp[:-8], picture(1, (80, 60), "JPEG")[:-2]):
        assert refusal(cut).status == "decode_failed"
    assert process_image(gif + b"trailing", EXACT).animated


def test_an_animated_png_gives_its_first_frame_and_says_so() -> None:
    frames = [Image.new("RGB", (80, 60), colour) for colour in ("red", "lime")]
    image = process_image(encode(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=50), EXACT)
    assert image.animated
    assert (pixels(image) == [255, 0, 0]).all()


@pytest.mark.parametrize(
    ("size", "changes", "status"),
    [
        ((300, 200), {"min_side": 201}, "too_small"),
        ((300, 200), {"min_bytes": 10**6}, "too_small"),
        ((300, 200), {"max_aspect": 1.4}, "bad_aspect"),
        ((300, 200), {"max_pixels": 59_999}, "bomb"),
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_each_filter_refuses_with_its_own_status(
    size: tuple[int, int], changes: dict[str, object], status: str, format: str
) -> None:
    assert refusal(picture(1, size, format), **changes).status == status


@pytest.mark.parametrize("size", [(480, 320), (700, 933), (1280, 720), (2000, 1500), (3000, 2100)])
def test_shrinking_in_the_dct_domain_differs_less_than_storing_as_jpeg_does(size: tuple[int, int]) -> None:
    body = picture(7, size, "JPEG", quality=92)
    square = {"size": 256, "resize": "center_crop"}
    fast = pixels(process_image(body, config(**square)))
    full = pixels(process_image(encode(Image.open(io.BytesIO(body)), "PNG"), config(**square)))
    jpeg = pixels(process_image(encode(Image.open(io.BytesIO(body)), "PNG"), config(format="jpg", **square)))
    assert np.mean((fast - full) ** 2) < max(2.0, 1.5 * np.mean((jpeg - full) ** 2))

"""What is fuzzed: each takes bytes and fails where a parser raises what it must not, or says what cannot be."""

import contextlib
import pickle
from collections.abc import Callable
from pathlib import Path

from multidict import CIMultiDict
from yarl import URL

from t2i_assets.crawl.config import ImageConfig, TextConfig
from t2i_assets.crawl.consent.robots import judge
from t2i_assets.crawl.consent.robotstxt import parse_robots
from t2i_assets.crawl.consent.tdmrep import parse_tdm_file
from t2i_assets.crawl.consent.verdict import meta_verdict, response_verdict
from t2i_assets.crawl.html.images import parse_srcset
from t2i_assets.crawl.html.page import parse_page
from t2i_assets.crawl.http.guard import BadUrlError, normalise_url
from t2i_assets.crawl.images import ImageError, process_image
from t2i_assets.crawl.texts import clean, label
from tests.unit.crawl_site import picture

US, HERE = "t2i-assets", "https://site.test/dir/page"
IMAGES = ImageConfig(size=32, min_bytes=0, min_side=8, max_pixels=1_000_000)
TEXTS = TextConfig()


def html(data: bytes) -> None:
    page = parse_page(data, None, HERE)
    assert pickle.loads(pickle.dumps(page)) == page
    for image in page.images:
        assert image.problem or normalise_url(image.url) == image.url
    parse_srcset(data.decode("utf-8", "replace"))


def robots(data: bytes) -> None:
    rules, _, path = data.partition(b"\0")
    with contextlib.suppress(BadUrlError):
        url = normalise_url("/" + path.decode("utf-8", "replace"), URL(HERE))
        verdict = judge(parse_robots(rules, US), url)
        assert verdict.allowed == (verdict.rule == "allowed")
        parse_tdm_file(rules).verdict(url)


def headers(data: bytes) -> None:
    said = [("X-Robots-Tag", line) for line in data.decode("utf-8", "replace").split("\n")]
    response_verdict(CIMultiDict(said), US)
    assert not response_verdict(CIMultiDict([*said, ("X-Robots-Tag", "noai")]), US).allowed
    meta_verdict([("robots", value) for _, value in said], US)


def addresses(data: bytes) -> None:
    with contextlib.suppress(BadUrlError):
        url = normalise_url(data.decode("utf-8", "replace"), URL(HERE))
        assert normalise_url(url) == url
        assert URL(url, encoded=True).user is None


def texts(data: bytes) -> None:
    cleaned = clean(data.decode("utf-8", "replace"))
    assert cleaned == " ".join(cleaned.split())
    label(cleaned, TEXTS)


def images(data: bytes) -> None:
    with contextlib.suppress(ImageError):
        process_image(data, IMAGES)


TARGETS: dict[str, Callable[[bytes], None]] = {
    one.__name__: one for one in (html, robots, headers, addresses, texts, images)
}


def write_seeds(name: str, directory: Path) -> None:
    """Write what the fuzzer begins with."""
    seeds = {
        "html": [b"<base href=/x><img srcset='a.jpg 1x, b 2x' alt=a><a href=c.jpg><figure><figcaption>f</figcaption>"],
        "robots": [b"User-agent: *\nDisallow: /*.jpg$\nAllow: /\0a.jpg", b'[{"location":"/","tdm-reservation":1}]\0'],
        "headers": [b"otherbot: noindex, unavailable_after: 25 Jun 2010 15:00:00 PST, noai\nnone"],
        "addresses": [b"http://user@[::1]:80/%7e?x#y", b"//0x7f.1/../a"],
        "texts": ["a caf\u00e9 &amp;quot; photo.jpg 50% off".encode()],
        "images": [picture(1, (40, 30), format) for format in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")],
    }  # fmt: skip
    directory.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds[name]):
        (directory / f"seed{number}").write_bytes(seed)

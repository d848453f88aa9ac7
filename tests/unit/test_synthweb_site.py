"""The embedded web site, asked over real HTTP."""

import gzip
import http.client
import io
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from email.message import Message

import numpy as np
import pytest
from PIL import Image, ImageOps

from t2i_assets.corpus.digests import sample_key
from t2i_assets.crawl.consent.robotstxt import parse_robots
from t2i_assets.synthweb.answers import Responder, png_bomb
from t2i_assets.synthweb.config import SMOKE_SITE, SiteConfig
from t2i_assets.synthweb.diseases import (
    ALT_TEXTS,
    IMAGE_ANSWERS,
    MARKUP,
    PAGE_TRAITS,
    PAGES,
    AltDisease,
    ImageAnswer,
    Markup,
    PageDisease,
    PageTrait,
    allot,
)
from t2i_assets.synthweb.draw import draw
from t2i_assets.synthweb.language import holds, read
from t2i_assets.synthweb.pages import NOT_UTF8, page_html
from t2i_assets.synthweb.server import running
from t2i_assets.synthweb.site import Page, Placement, Site, build_site
from t2i_assets.synthweb.truth import truth_rows, write_truth

CONFIG = SMOKE_SITE.model_copy(update={"drip_seconds": 1.0, "slow_seconds": 0.4, "retry_after": 2})
PRIVATE = re.compile(r"http://(169\.254\.|10\.|192\.168\.)")


@pytest.fixture(scope="module")
def site() -> Site:
    return build_site(CONFIG)


@pytest.fixture(scope="module")
def base():
    with running(CONFIG) as url:
        yield url


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def get(url: str, **headers: str) -> tuple[int, Message, bytes]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with _opener.open(request, timeout=60) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def placements(site: Site) -> list[Placement]:
    return [place for page in site.pages for place in page.placements]


def pictured(site: Site, answer: ImageAnswer) -> Placement:
    return next(place for place in placements(site) if place.picture.answer is answer)


def sick_page(site: Site, disease: PageDisease) -> Page:
    return next(page for page in site.pages if page.disease is disease)


def decoded(body: bytes) -> np.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(body)))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"), float)


def shows(body: bytes, place: Placement) -> bool:
    """Whether the picture's middle square is the scene, up to compression."""
    pixels = decoded(body)
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    drawn = np.asarray(draw(place.picture.scene, side), float)
    return (height, width) == (place.picture.height, place.picture.width) and bool(
        np.abs(pixels[top : top + side, left : left + side] - drawn).mean() < 14
    )


def test_equal_configurations_give_equal_sites_and_other_seeds_other_ones(site):
    assert build_site(CONFIG) == site
    other = build_site(CONFIG.model_copy(update={"seed": CONFIG.seed + 1}))
    assert not set(other.pictures) & set(site.pictures) - {human.picture.path for human in site.human}


def test_two_servers_serve_equal_bytes(site, base):
    again = Responder(build_site(CONFIG))
    for page in [page for page in site.pages if page.disease is PageDisease.NONE][:5]:
        served = get(base + page.path)[2]
        assert served == again.answer(page.path, "", {}, base).body == page_html(site, page, base)
        place = page.placements[0]
        if place.picture.answer is ImageAnswer.OK:
            assert get(base + place.picture.path)[2] == again.answer(place.picture.path, "", {}, base).body


def test_the_demo_site_has_several_hundred_pages_and_about_three_thousand_distinct_pictures():
    demo = build_site(SiteConfig())
    crawlable = {
        place.picture.scene
        for page in demo.pages
        if page.disease is PageDisease.NONE
        for place in page.placements
        if place.picture.answer is ImageAnswer.OK
    }
    assert 300 <= len(demo.pages) <= 400 and 2700 <= len(crawlable) <= 3300
    assert len({scene for scene in crawlable} & {human.picture.scene for human in demo.human}) == 0
    sizes = [place.picture for place in placements(demo)]
    assert min(min(p.width, p.height) for p in sizes) == 96 and max(max(p.width, p.height) for p in sizes) == 320
    assert {p.format for p in sizes} == {"JPEG", "PNG", "WEBP", "GIF"}


def test_every_disease_occurs_about_as_often_as_its_table_says():
    demo = build_site(SiteConfig())
    shown = placements(demo)
    counted = {
        **_rates(ALT_TEXTS, Counter(place.disease for place in shown), len(shown)),
        **_rates(MARKUP, Counter(place.markup for place in shown), len(shown)),
        **_rates(IMAGE_ANSWERS, Counter(place.picture.answer for place in shown), len(shown)),
        **_rates(PAGES, Counter(page.disease for page in demo.pages), demo.config.pages),
        **_rates(PAGE_TRAITS, Counter(trait for page in demo.pages for trait in page.traits), len(demo.pages)),
    }
    for disease, (expected, n, found) in counted.items():
        assert found >= 1, disease
        assert abs(found - expected * n) <= 2 + 0.15 * expected * n + 3 * (expected * n) ** 0.5, disease


def _rates(table, counts, n):
    return {member: (row.rate, n, counts[member]) for member, row in table.items() if member != ImageAnswer.OK}


def test_every_disease_occurs_on_the_smallest_site_too(site):
    shown = placements(site)
    assert {place.disease for place in shown} == set(AltDisease)
    assert {place.markup for place in shown} == set(Markup)
    assert {place.picture.answer for place in shown} == set(ImageAnswer)
    assert {page.disease for page in site.pages} == set(PageDisease)
    assert {trait for page in site.pages for trait in page.traits} == set(PageTrait)


def test_too_small_a_site_says_so():
    with pytest.raises(ValueError, match="takes 60 pictures"):
        SiteConfig(pages=6, images_per_page=6)
    with pytest.raises(ValueError, match="5 places cannot hold every one of the"):
        allot(IMAGE_ANSWERS, 5, random.Random(0))
    assert build_site(SiteConfig(pages=15, images_per_page=4, human_images=1)).pages


def test_every_sick_answer_is_met_by_a_crawler_that_follows_texts(site):
    met = {
        place.picture.answer
        for page in site.pages
        if page.disease is PageDisease.NONE
        for place in page.placements
        if place.alt
    }
    assert met == set(ImageAnswer)


def test_every_page_is_reached_from_the_home_page_by_links(site, base):
    seen, queue = {"/"}, ["/"]
    while queue:
        try:
            status, headers, body = get(base + queue.pop())
        except http.client.IncompleteRead:
            continue  # the truncated page, which need not lead anywhere
        if status != 200 or "html" not in headers["Content-Type"]:
            continue
        for link in re.findall(rb'<a [^>]*href="(/[^"#]*)', body):
            path = link.decode()
            if path not in seen:
                seen.add(path)
                queue.append(path)
    assert {page.entry for page in site.pages} <= seen
    assert not any(path.startswith("/dataset/") for path in seen)


PATIENT = [
    ImageAnswer.OK,
    ImageAnswer.SLOW,
    ImageAnswer.DISALLOWED,
    ImageAnswer.WRONG_TYPE,
    ImageAnswer.HEADER_NOAI,
    ImageAnswer.HEADER_AGENT,
    ImageAnswer.HEADER_OTHER_AGENT,
    ImageAnswer.HEADER_EXPIRED,
    ImageAnswer.EXIF_ROTATED,
    ImageAnswer.CMYK,
    ImageAnswer.ALPHA,
]


@pytest.mark.parametrize("answer", PATIENT)
def test_pictures_show_their_scene_whatever_the_file_format(site, base, answer):
    place = pictured(site, answer)
    status, _, body = get(base + place.picture.path)
    assert status == 200 and shows(body, place)


def test_all_four_formats_are_what_their_content_type_says(site, base):
    for format in ("JPEG", "PNG", "WEBP", "GIF"):
        place = next(p for p in placements(site) if p.picture.format == format and p.picture.answer is ImageAnswer.OK)
        _, headers, body = get(base + place.picture.path)
        assert headers["Content-Type"] == f"image/{format.lower()}"
        assert Image.open(io.BytesIO(body)).format == format and shows(body, place)


def test_a_picture_that_is_gone_is_404_and_a_broken_one_stays_broken(site, base):
    assert get(base + pictured(site, ImageAnswer.NOT_FOUND).picture.path)[0] == 404
    path = pictured(site, ImageAnswer.ERROR_FOREVER).picture.path
    assert [get(base + path)[0] for _ in range(3)] == [500, 500, 500]
    assert get(base + sick_page(site, PageDisease.NOT_FOUND).path)[0] == 404
    path = sick_page(site, PageDisease.ERROR_FOREVER).path
    assert [get(base + path)[0] for _ in range(3)] == [500, 500, 500]


def test_what_fails_once_succeeds_the_second_time():
    with running(CONFIG) as fresh:
        site = build_site(CONFIG)
        for failing, limited in (
            (pictured(site, ImageAnswer.ERROR_ONCE).picture, pictured(site, ImageAnswer.RATE_LIMITED).picture),
            (sick_page(site, PageDisease.ERROR_ONCE), sick_page(site, PageDisease.RATE_LIMITED)),
        ):
            assert [get(fresh + failing.path)[0] for _ in range(2)] == [500, 200]
            status, headers, _ = get(fresh + limited.path)
            assert (status, headers["Retry-After"]) == (429, "2")
            assert get(fresh + limited.path)[0] == 200


def test_slow_answers_take_their_time(site, base):
    for path in (pictured(site, ImageAnswer.SLOW).picture.path, sick_page(site, PageDisease.SLOW).path):
        started = time.monotonic()
        assert get(base + path)[0] == 200
        assert time.monotonic() - started >= CONFIG.slow_seconds


def test_truncated_bodies_end_before_their_content_length(site, base):
    for path in (pictured(site, ImageAnswer.TRUNCATED).picture.path, sick_page(site, PageDisease.TRUNCATED).path):
        with pytest.raises(http.client.IncompleteRead) as caught:
            get(base + path)
        assert caught.value.partial and caught.value.expected


def test_a_drip_comes_slowly_and_is_bounded_for_the_sake_of_careless_clients(site, base):
    address = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request("GET", pictured(site, ImageAnswer.DRIP).picture.path)
    started = time.monotonic()
    response = connection.getresponse()
    assert response.getheader("Content-Length") is None
    received = 0
    try:
        while chunk := response.read1(64):
            received += len(chunk)
    except (http.client.IncompleteRead, ConnectionError):
        pass  # an endless body ends by the connection's end
    assert 0 < received < 500 and time.monotonic() - started >= 0.7
    connection.close()


def test_damaged_and_false_pictures_cannot_be_decoded(site, base):
    for answer in (ImageAnswer.CORRUPT, ImageAnswer.NOT_AN_IMAGE):
        status, headers, body = get(base + pictured(site, answer).picture.path)
        assert status == 200 and headers["Content-Type"].startswith("image/")
        with pytest.raises((OSError, SyntaxError)):
            Image.open(io.BytesIO(body)).load()


def test_the_bomb_is_small_on_the_wire_and_huge_in_its_header(site, base):
    body = get(base + pictured(site, ImageAnswer.BOMB).picture.path)[2]
    assert 1000 < len(body) < 2000 and body == png_bomb(60_000)
    assert int.from_bytes(body[16:20]) * int.from_bytes(body[20:24]) == 3_600_000_000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(body))


def test_redirects_lead_to_the_picture_or_in_circles_or_where_nobody_should_go(site, base):
    def location(entry: str) -> str:
        status, headers, _ = get(base + entry)
        assert status == 302
        return headers["Location"]

    for good, loop, private, closed in (
        [pictured(site, ImageAnswer(f"redirect{kind}")).picture for kind in ("", "_loop", "_private", "_disallowed")],
        [sick_page(site, PageDisease(f"redirect{kind}")) for kind in ("", "_loop", "_private", "_disallowed")],
    ):
        assert location(good.entry) == good.path and get(base + good.path)[0] == 200
        assert location(location(loop.entry)) == loop.entry
        assert PRIVATE.match(location(private.entry))
        assert location(closed.entry) == closed.path and closed.path.startswith("/private/")


def test_robots_txt_closes_the_private_section_and_nothing_else(site, base):
    body = get(base + "/robots.txt")[2]

    def allowed(path, agent):
        rule = parse_robots(body, agent).deciding_rule(base + path)
        return rule is None or rule.allows

    closed = [pictured(site, ImageAnswer.DISALLOWED).picture.path, sick_page(site, PageDisease.DISALLOWED).path]
    for path in closed:
        assert not allowed(path, CONFIG.agent)
    for path in ("/", "/dataset/captions.json", pictured(site, ImageAnswer.OK).picture.path):
        assert allowed(path, CONFIG.agent) and not allowed(path, "otherbot")


def test_consent_is_withheld_in_headers_and_meta_tags(site, base):
    def tag(path: str) -> str | None:
        return get(base + path)[1]["X-Robots-Tag"]

    assert tag(pictured(site, ImageAnswer.HEADER_NOAI).picture.path) == "noai, noimageai"
    assert tag(pictured(site, ImageAnswer.HEADER_AGENT).picture.path) == "t2i-assets: noimageindex"
    assert tag(pictured(site, ImageAnswer.HEADER_OTHER_AGENT).picture.path) == "otherbot: noindex"
    assert tag(pictured(site, ImageAnswer.HEADER_EXPIRED).picture.path).startswith("unavailable_after: 25 Jun 2010")
    assert tag(sick_page(site, PageDisease.HEADER_NOAI).path) == "noai"
    assert tag(sick_page(site, PageDisease.HEADER_AGENT).path) == "t2i-assets: noindex, noai"
    assert tag(sick_page(site, PageDisease.HEADER_OTHER_AGENT).path) == "otherbot: noindex, noai"
    assert tag(sick_page(site, PageDisease.NONE).path) is None
    for disease in (PageDisease.NOINDEX, PageDisease.NOAI, PageDisease.NOIMAGEAI, PageDisease.NOIMAGEINDEX):
        html = get(base + sick_page(site, disease).path)[2].decode()
        assert f'<meta name="robots" content="{disease}">' in html


def test_pages_come_in_other_encodings_types_and_compressions(site, base):
    page = sick_page(site, PageDisease.INVALID_UTF8)
    body = get(base + page.path)[2]
    assert NOT_UTF8 in body
    with pytest.raises(UnicodeDecodeError):
        body.decode()
    _, headers, body = get(base + sick_page(site, PageDisease.LATIN1).path)
    assert headers["Content-Type"] == "text/html; charset=iso-8859-1" and "·".encode("latin-1") in body
    assert get(base + sick_page(site, PageDisease.WRONG_TYPE).path)[1]["Content-Type"] == "application/pdf"
    place = pictured(site, ImageAnswer.WRONG_TYPE)
    assert get(base + place.picture.path)[1]["Content-Type"] != f"image/{place.picture.format.lower()}"
    zipped = next(p for p in site.pages if PageTrait.GZIP in p.traits and p.disease is PageDisease.NONE)
    _, headers, body = get(base + zipped.path, **{"Accept-Encoding": "gzip"})
    assert headers["Content-Encoding"] == "gzip" and gzip.decompress(body) == get(base + zipped.path)[2]


def test_pages_carry_their_traits(site, base):
    marks = {
        PageTrait.BASE_HREF: '<base href="/media/">',
        PageTrait.LICENSE: 'rel="license"',
        PageTrait.BANNER: 'width="728" height="90"',
        PageTrait.TRACKING_PIXEL: "/static/pixel.gif?page=",
        PageTrait.SPRITE: "/static/sprite.png",
        PageTrait.DATA_URI: 'src="data:image/gif;base64,',
        PageTrait.EXTERNAL_IMAGE: "http://cdn.shapehouse.invalid/",
        PageTrait.EXTERNAL_LINK: "http://friends.shapehouse.invalid/",
    }
    for page in [page for page in site.pages if page.disease is PageDisease.NONE][:20]:
        html = get(base + page.path)[2].decode()
        for trait, mark in marks.items():
            assert (mark in html) == (trait in page.traits), (page.path, trait)


def test_pages_show_each_picture_as_its_markup_says(site):
    found: set[Markup] = set()
    for page in [page for page in site.pages if page.disease is PageDisease.NONE]:
        html = page_html(site, page, "http://x").decode()
        for place in page.placements:
            url = place.picture.entry
            if PageTrait.BASE_HREF in page.traits:
                url = url.removeprefix("/media/")
            if place.markup is Markup.PLAIN:
                assert f'<img src="{url}"' in html
            elif place.markup is Markup.LAZY:
                assert re.search(rf'src="/static/blank.gif" data-(src|original|lazy-src)="{url}"', html)
            elif place.markup is Markup.SRCSET:
                assert f"{url} {place.picture.width}w" in html and place.thumbnail.width < place.picture.width
            else:
                assert f'<picture><source srcset="{url} ' in html
            found.add(place.markup)
    assert found == set(Markup)


def test_thumbnails_and_furniture_are_served(site, base):
    thumbnails = [place.thumbnail for place in placements(site) if place.thumbnail][:4]
    for thumbnail in thumbnails:
        status, _, body = get(base + thumbnail.path)
        assert status == 200 and min(Image.open(io.BytesIO(body)).size) == 72
    sizes = {"banner-0.png": (728, 90), "pixel.gif": (1, 1), "logo.png": (24, 24), "sprite.png": (32, 320)}
    for name, size in sizes.items():
        assert Image.open(io.BytesIO(get(f"{base}/static/{name}")[2])).size == size


def test_copies_are_the_same_scene_and_mirrors_the_same_bytes(site, base):
    shown = placements(site)
    by_scene = {}
    for place in shown:
        if not place.picture.path.startswith(("/mirror/", "/resized/")):
            by_scene.setdefault(place.picture.scene, place.picture)
    mirrors = [place.picture for place in shown if place.picture.path.startswith("/mirror/")]
    resized = [place.picture for place in shown if place.picture.path.startswith("/resized/")]
    assert mirrors and resized
    for copy in mirrors:
        assert get(base + copy.path)[2] == get(base + by_scene[copy.scene].path)[2]
    for copy in resized:
        original = by_scene[copy.scene]
        assert (copy.width, copy.height) != (original.width, original.height)
        assert copy.width / copy.height == pytest.approx(original.width / original.height, rel=0.03)
    urls = Counter(place.picture.path for place in shown)
    assert max(urls.values()) > 1


def test_a_client_that_has_the_file_gets_304(site, base):
    for path in (pictured(site, ImageAnswer.OK).picture.path, sick_page(site, PageDisease.NONE).path):
        _, headers, _ = get(base + path)
        assert get(base + path, **{"If-None-Match": headers["ETag"]})[0] == 304
        assert get(base + path, **{"If-Modified-Since": headers["Last-Modified"]})[0] == 304
        assert get(base + path, **{"If-None-Match": '"other"'})[0] == 200


def test_human_captions_are_right_in_both_styles_and_their_images_are_served(site, base):
    data = json.loads(get(base + "/dataset/captions.json")[2])
    assert len(data["images"]) == CONFIG.human_images
    captions: dict[int, list[dict]] = {}
    for annotation in data["annotations"]:
        captions.setdefault(annotation["image_id"], []).append(annotation)
    assert len({annotation["id"] for annotation in data["annotations"]}) == len(data["annotations"])
    for image, human in zip(data["images"], site.human, strict=True):
        assert image["coco_url"] == f"{base}/dataset/images/{image['file_name']}"
        assert {annotation["style"] for annotation in captions[image["id"]]} == {"short", "descriptive"}
        for annotation in captions[image["id"]]:
            assert holds(read(annotation["caption"]), human.picture.scene)
    body = get(data["images"][0]["coco_url"])[2]
    assert Image.open(io.BytesIO(body)).size == (data["images"][0]["width"], data["images"][0]["height"])


def test_the_truth_names_the_bytes_that_are_served(site, base, tmp_path):
    table = write_truth(CONFIG, tmp_path / "truth.parquet")
    rows = table.to_pylist()
    assert len(rows) == len(placements(site)) + CONFIG.human_images
    for row in rows[::12]:
        status, _, body = get(base + row["path"]) if row["key"] else (0, None, b"")
        if row["key"]:
            assert status in (200, 429, 500) and (status != 200 or sample_key(body) == row["key"])
    gone = {row["answer"] for row in rows if row["key"] is None}
    assert {"not_found", "bomb", "truncated"} <= gone and "ok" not in gone


def test_the_truth_knows_which_alt_texts_are_right(site):
    for row, place in zip(truth_rows(site), placements(site), strict=False):
        statement = None if row["alt"] is None else read(row["alt"])
        if statement is not None and place.disease is not AltDisease.ONE_WORD:
            assert holds(statement, place.picture.scene) == row["alt_right"], row["alt"]


def test_a_taken_port_is_reported():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"did not start on .*:{port}: .*in use"), running(CONFIG, port=port):
            pass


def test_the_server_ends_with_its_block_and_with_a_killed_parent():
    with running(CONFIG) as url:
        assert get(url + "/")[0] == 200
    assert not answers(url)
    program = (
        "import time\n"
        "from t2i_assets.synthweb.config import SiteConfig\n"
        "from t2i_assets.synthweb.server import running\n"
        f"with running(SiteConfig.model_validate_json('{CONFIG.model_dump_json()}')) as url:\n"
        "    print(url, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    url = parent.stdout.readline().strip()
    assert answers(url)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not answers(url)


def answers(url: str) -> bool:
    try:
        return get(url + "/robots.txt")[0] == 200
    except OSError:
        return False

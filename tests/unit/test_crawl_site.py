"""The crawl against a real server: every disease of the web ends as a ledger row, nothing forbidden is asked."""

import gzip
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from t2i_assets.corpus.schemas import CAPTIONS, LEDGER, PAGES, PAIRS, REQUESTS
from t2i_assets.corpus.shards import iter_images, read_samples, verify
from t2i_assets.corpus.tables import read_rows
from t2i_assets.crawl.config import CrawlConfig, FetchConfig, ImageConfig, SiteSource
from t2i_assets.crawl.human import fetch_human
from t2i_assets.crawl.pages import crawl_pages
from t2i_assets.crawl.pairs import extract_pairs
from t2i_assets.crawl.shards import fetch_images
from t2i_assets.crawl.status import CrawlFailedError
from tests.unit.crawl_site import Answer, Site, image, page, picture, serving

FAST = FetchConfig(retries=1, backoff_seconds=0.01, redirects=4, tdm=False)
HURRIED = FAST.model_copy(update={"total_seconds": 0.5})


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as one:
        yield one


def configure(site: Site, **more: Any) -> CrawlConfig:
    settings = {"fetch": FAST, "images": ImageConfig(size=32, samples_per_shard=3)} | more
    limits = {name: settings.pop(name) for name in ("max_depth", "max_pages", "allowed_hosts") if name in settings}
    source = SiteSource(name="site", start_urls=[site.url()], **limits)
    return CrawlConfig(sources=[source], allow_loopback=[site.authority], **settings)


class Result:
    """Everything that the three stages wrote."""

    def __init__(self, config: CrawlConfig, home: Path) -> None:
        self.home = home
        self.funnel = crawl_pages(config, "demo", home / "pages", home / "ledger" / "pages.parquet")
        self.funnel |= extract_pairs(home / "pages", home / "pairs", "demo", config)
        self.funnel |= fetch_images(home / "pairs", config, "demo", home / "shards", home / "ledger" / "images.parquet")
        self.ledger = read_rows(home / "ledger", LEDGER)
        self.requests = read_rows(home / "ledger" / "requests", REQUESTS)
        self.pages = read_rows(home / "pages", PAGES)
        self.pairs = read_rows(home / "pairs", PAIRS)
        self.samples = read_samples(home / "shards").to_pylist()
        assert verify(home / "shards") == []

    def row(self, site: Site, path: str) -> dict[str, Any]:
        """Return the ledger row of a path, with what is known of its requests."""
        (row,) = [row for row in self.ledger if row["url"] == site.url(path)]
        (request,) = [row for row in self.requests if row["url"] == site.url(path)]
        return row | request

    def status(self, site: Site, path: str) -> str:
        return str(self.row(site, path)["status"])


def crawl_one_page(site: Site, path: Path, body: str, **more: Any) -> Result:
    site.routes["/"] = page(body)
    return Result(configure(site, **more), path)


def crawl_one_image(site: Site, path: Path, answer: Any, **more: Any) -> dict[str, Any]:
    """Return the ledger row of an image that answers so."""
    site.routes["/x.png"] = answer
    return crawl_one_page(site, path, "<img src=/x.png alt='a red circle'>", **more).row(site, "/x.png")


# Pages


def test_links_are_followed_and_every_url_has_a_row(site: Site, tmp_path: Path) -> None:
    site.routes |= {
        "/": page("<a href=/a>a</a> <a href='/b?x=1#top'>b</a> <a href=/gone>c</a> <a href=mailto:x@y.z>d</a>"),
        "/a": page("<a href=/>home</a><a href='b?x=1'>b</a><img src=/1.png alt='a green cat'>"),
        "/b?x=1": page("<img src=/2.png alt='a blue dog'>"),
        "/1.png": image(1),
        "/2.png": image(2),
    }
    result = Result(configure(site), tmp_path)
    assert {row["url"]: (row["kind"], row["status"], row["depth"]) for row in result.ledger} == {
        site.url("/robots.txt"): ("robots", "http_4xx", None),
        site.url("/"): ("page", "ok", 0),
        site.url("/a"): ("page", "ok", 1),
        site.url("/b?x=1"): ("page", "ok", 1),
        site.url("/gone"): ("page", "http_4xx", 1),
        site.url("/1.png"): ("image", "ok", None),
        site.url("/2.png"): ("image", "ok", None),
    }
    assert site.count("/") == site.count("/a") == site.count("/b?x=1") == 1
    assert result.row(site, "/a")["parent_url"] == site.url("/")
    assert sorted(sample["alt_text"] for sample in result.samples) == ["a blue dog", "a green cat"]


def test_the_crawl_stays_on_its_hosts_and_within_its_limits(site: Site, tmp_path: Path) -> None:
    for number in range(9):
        site.routes[f"/{number}"] = page(f"<a href=/{number + 1}>next</a><a href=http://elsewhere.test/>away</a>")
    site.routes["/"] = page("<a href=/0>0</a>")
    funnel = crawl_pages(configure(site, max_depth=3), "demo", tmp_path / "p", tmp_path / "l.parquet")
    assert (funnel["pages"], funnel["links_off_site"]) == (4, 1)
    funnel = crawl_pages(configure(site, max_pages=6), "demo", tmp_path / "p", tmp_path / "l.parquet")
    assert funnel["pages_tried"] == 6


def test_what_is_not_html_is_no_page(site: Site, tmp_path: Path) -> None:
    site.routes["/a.pdf"] = Answer(b"%PDF", "application/pdf")
    assert crawl_one_page(site, tmp_path, "<a href=/a.pdf>a</a>").status(site, "/a.pdf") == "wrong_content_type"


def test_two_addresses_of_one_page_give_one_page(site: Site, tmp_path: Path) -> None:
    site.routes |= {"/old": Answer(status=301, headers=(("Location", "/new"),)), "/new": page("hello")}
    result = crawl_one_page(site, tmp_path, "<a href=/new>n</a><a href=/old>o</a>")
    assert result.status(site, "/old") == "duplicate_url"
    assert sorted(row["final_url"] for row in result.pages) == [site.url("/"), site.url("/new")]


def test_a_redirect_off_the_site_is_not_followed(site: Site, tmp_path: Path) -> None:
    site.routes["/out"] = Answer(status=302, headers=(("Location", "http://elsewhere.test/"),))
    row = crawl_one_page(site, tmp_path, "<a href=/out>o</a>").row(site, "/out")
    assert (row["status"], row["final_url"]) == ("off_site", "http://elsewhere.test/")


def test_another_port_of_this_machine_is_not_asked(site: Site, tmp_path: Path) -> None:
    with serving() as other:
        site.routes["/out"] = Answer(status=302, headers=(("Location", other.url("/")),))
        assert crawl_one_page(site, tmp_path, "<a href=/out>o</a>").status(site, "/out") == "ssrf_blocked"
        assert other.asked == []


def test_a_dead_site_stops_the_run_with_one_clear_sentence(site: Site, tmp_path: Path) -> None:
    config = configure(site)
    site.routes |= {"/robots.txt": Answer(status=404), "/": Answer(status=500)}
    with pytest.raises(CrawlFailedError, match=r"none of 1 page URLs could be fetched \(http_5xx 1\).*HTTP 500"):
        crawl_pages(config, "demo", tmp_path / "p", tmp_path / "l.parquet")


def test_the_open_web_is_not_crawled_anonymously() -> None:
    with pytest.raises(ValueError, match="contact_url"):
        CrawlConfig(sources=[SiteSource(name="site", start_urls=["http://site.test/"])])
    config = CrawlConfig(
        sources=[SiteSource(name="site", start_urls=["http://site.test/"])], contact_url="https://us.test/bot"
    )
    assert config.user_agent == "t2i-assets/0.1 (+https://us.test/bot)"


# Consent


def test_robots_txt_is_obeyed_and_its_rule_recorded(site: Site, tmp_path: Path) -> None:
    rules = b"""User-agent: *
Disallow: /

User-agent: t2i-assets
Disallow: /secret/
Allow: /secret/free
Disallow: /*.gif$
"""
    site.routes |= {"/robots.txt": Answer(rules, "text/plain"), "/secret/free": page("x"), "/1.png": image(1)}
    body = "<a href=/secret/a>a</a><a href=/secret/free>f</a>"
    body += "<img src=/x.gif alt='a red cat'><img src=/1.png alt='two cats'>"
    result = crawl_one_page(site, tmp_path, body)
    for path, rule in (("/secret/a", "Disallow: /secret/"), ("/x.gif", "Disallow: /*.gif$")):
        row = result.row(site, path)
        assert (row["status"], row["consent"]) == ("robots_disallowed", "robots_disallowed")
        assert row["consent_evidence"] == f"robots.txt: {rule}"
        assert site.count(path) == 0
    assert result.row(site, "/secret/free")["consent_evidence"] == "robots.txt: Allow: /secret/free"
    assert result.samples[0]["consent"] == "allowed: robots.txt: no rule applies"


@pytest.mark.parametrize(("status", "pages"), [(404, 1), (403, 1), (500, 0), (503, 0), (429, 0)])
def test_robots_txt_that_fails_is_read_as_the_rfc_says(site: Site, tmp_path: Path, status: int, pages: int) -> None:
    site.routes |= {"/robots.txt": Answer(status=status), "/": page("x")}
    if pages:
        assert crawl_pages(configure(site), "demo", tmp_path, tmp_path / "l")["pages"] == 1
    else:
        with pytest.raises(CrawlFailedError, match="robots"):
            crawl_pages(configure(site), "demo", tmp_path, tmp_path / "l")
        assert site.count("/") == 0


def test_a_robots_txt_longer_than_the_limit_is_read_as_far_as_it(site: Site, tmp_path: Path) -> None:
    rules = b"User-agent: *\nDisallow: /early\n" + b"# nothing\n" * 100_000 + b"Disallow: /late\n"
    site.routes |= {"/robots.txt": Answer(rules, "text/plain"), "/early": page("x"), "/late": page("x")}
    result = crawl_one_page(site, tmp_path, "<a href=/early>e</a><a href=/late>l</a>")
    assert (result.status(site, "/early"), result.status(site, "/late")) == ("robots_disallowed", "ok")
    assert (result.status(site, "/robots.txt"), result.row(site, "/robots.txt")["bytes"]) == ("too_large", 512_000)


def test_a_redirect_is_judged_by_robots_txt_too(site: Site, tmp_path: Path) -> None:
    site.routes["/robots.txt"] = Answer(b"User-agent: *\nDisallow: /no", "text/plain")
    row = crawl_one_image(site, tmp_path, Answer(status=302, headers=(("Location", "/no/x.png"),)))
    assert row["status"] == "robots_disallowed"
    assert site.count("/no/x.png") == 0


def test_crawl_delay_is_kept(site: Site, tmp_path: Path) -> None:
    site.routes["/robots.txt"] = Answer(b"User-agent: *\nCrawl-delay: 0.3", "text/plain")
    site.routes |= {f"/{number}": page("x") for number in range(3)}
    site.routes["/"] = page("".join(f"<a href=/{number}>x</a>" for number in range(3)))
    crawl_pages(configure(site), "demo", tmp_path, tmp_path / "l")
    assert site.asked[1:] == ["/", "/0", "/1", "/2"]
    assert site.times[4] - site.times[1] > 3 * 0.3 - 0.1


@pytest.mark.parametrize("tag", ["noai", "noimageai", "noindex, nofollow", "noimageindex", "none"])
def test_images_of_a_page_that_forbids_it_are_not_fetched(site: Site, tmp_path: Path, tag: str) -> None:
    site.routes |= {
        "/": page("<a href=/no>n</a>"),
        "/no": page("<img src=/1.png alt='a red cat'>", head=f"<meta name=robots content='{tag}'>"),
    }
    result = Result(configure(site), tmp_path)
    row = result.row(site, "/1.png")
    assert (row["status"], row["consent"]) == ("consent_denied", tag.split(",")[0])
    assert site.url("/no") in row["consent_evidence"]
    assert site.count("/1.png") == 0
    assert result.pairs[0]["rejected"] == f"page_{tag.split(',')[0]}"
    assert result.row(site, "/no")["consent"] == tag.split(",")[0]


def test_one_page_that_forbids_an_image_decides_for_all_pages(site: Site, tmp_path: Path) -> None:
    site.routes |= {
        "/": page("<a href=/no>n</a><img src=/1.png alt='a red cat'>"),
        "/no": page("<img src=/1.png alt='a red cat'>", headers=(("X-Robots-Tag", "noai"),)),
    }
    assert Result(configure(site), tmp_path).status(site, "/1.png") == "consent_denied"


def test_an_image_that_says_noai_is_not_kept(site: Site, tmp_path: Path) -> None:
    row = crawl_one_image(
        site, tmp_path, image(headers=(("X-Robots-Tag", "otherbot: noindex"), ("X-Robots-Tag", "noai")))
    )
    assert (row["status"], row["consent"], row["consent_evidence"]) == ("consent_denied", "noai", "X-Robots-Tag: noai")


def test_a_wish_to_another_agent_is_not_for_us(site: Site, tmp_path: Path) -> None:
    row = crawl_one_image(site, tmp_path, image(headers=(("X-Robots-Tag", "otherbot: noindex, noai"),)))
    assert (row["status"], row["consent"]) == ("ok", "allowed")


def test_nofollow_leaves_links_alone(site: Site, tmp_path: Path) -> None:
    site.routes |= {
        "/": page("<a href=/a rel=nofollow>a</a><a href=/b>b</a>"),
        "/b": page("<a href=/c>c</a>", head="<meta name=robots content=nofollow>"),
    }
    Result(configure(site), tmp_path)
    assert site.asked == ["/robots.txt", "/", "/b"]


def test_the_licence_link_goes_with_the_sample(site: Site, tmp_path: Path) -> None:
    site.routes["/1.png"] = image(1)
    result = crawl_one_page(site, tmp_path, "<a rel=license href=/cc-by>CC BY</a><img src=/1.png alt='a red cat'>")
    assert result.samples[0]["license_url"] == result.row(site, "/1.png")["license_url"] == site.url("/cc-by")


# Responses


@pytest.mark.parametrize(
    ("answer", "status", "asked"),
    [
        (Answer(status=404), "http_4xx", 1),
        (Answer(status=410), "http_4xx", 1),
        (Answer(status=500), "http_5xx", 2),
        (Answer(status=429), "rate_limited", 2),
        (Answer(status=429, headers=(("Retry-After", "86400"),)), "rate_limited", 1),
        (Answer(picture()[:500], "image/png", length=5000), "truncated", 2),
        (Answer(picture(), "image/png", delay=2), "timeout", 1),
        (Answer(picture(), "image/png", drip=0.05), "timeout", 1),
        (Answer(b"", "image/png", length=10**12), "too_large", 1),
        (Answer(raw=b"nonsense that is no HTTP\r\n\r\n"), "bad_response", 1),
        (Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: banana\r\n\r\n"), "bad_response", 1),
        (Answer(picture(), "text/html"), "wrong_content_type", 1),
        (Answer(b"<html>not an image at all</html>" * 10, "image/png"), "decode_failed", 1),
        (Answer(b"tiny", "image/png"), "too_small", 1),
        (Answer(status=302, headers=(("Location", "/x.png"),)), "redirect_limit", 1),
        (Answer(status=302), "bad_response", 1),
        (Answer(status=302, headers=(("Location", "http://169.254.169.254/latest/meta-data/"),)), "ssrf_blocked", 1),
        (Answer(status=302, headers=(("Location", "http://localhost:8081/"),)), "ssrf_blocked", 1),
        (Answer(status=302, headers=(("Location", "http://[::ffff:10.0.0.1]/"),)), "ssrf_blocked", 1),
        (Answer(status=302, headers=(("Location", "file:///etc/passwd"),)), "bad_url", 1),
        (Answer(status=302, headers=(("Location", "http://user:word@127.0.0.1/"),)), "bad_url", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_server_does_is_named(site: Site, tmp_path: Path, answer: Answer, status: str, asked: int) -> None:
    started = time.monotonic()
    row = crawl_one_image(site, tmp_path, answer, fetch=HURRIED if status == "timeout" else FAST)
    assert row["status"] == status, row["detail"]
    assert row["detail"]
    assert row["bytes"] == 0 or status in ("decode_failed", "too_small", "wrong_content_type")
    assert site.count("/x.png") == asked
    assert time.monotonic() - started < 20


def test_a_connection_that_breaks_is_tried_again(site: Site, tmp_path: Path) -> None:
    row = crawl_one_image(site, tmp_path, lambda asked, _: Answer(raw=b""))
    assert (row["status"], row["attempts"]) == ("disconnected", 2)


def test_a_long_chain_of_redirects_ends(site: Site, tmp_path: Path) -> None:
    for number in range(50):
        site.routes[f"/{number}"] = Answer(status=302, headers=(("Location", f"/{number + 1}"),))
    row = crawl_one_image(site, tmp_path, Answer(status=302, headers=(("Location", "/0"),)))
    assert row["status"] == "redirect_limit"
    assert site.count("/4") == 0


def test_an_image_behind_a_redirect_is_taken(site: Site, tmp_path: Path) -> None:
    site.routes["/real.png"] = image(3)
    row = crawl_one_image(site, tmp_path, Answer(status=307, headers=(("Location", "real.png"),)))
    assert (row["status"], row["final_url"]) == ("ok", site.url("/real.png"))


def test_retry_after_is_waited_for(site: Site, tmp_path: Path) -> None:
    limited = Answer(status=429, headers=(("Retry-After", "1"),))
    row = crawl_one_image(site, tmp_path, lambda asked, _: image(1) if asked else limited)
    assert (row["status"], row["attempts"]) == ("ok", 2)
    first, second = (moment for path, moment in zip(site.asked, site.times, strict=True) if path == "/x.png")
    assert second - first > 0.95


def test_a_gzip_bomb_stops_at_the_cap(site: Site, tmp_path: Path) -> None:
    bomb = gzip.compress(b"<a href=/x>" * 4_000_000)
    site.routes["/bomb"] = Answer(bomb, headers=(("Content-Encoding", "gzip"),))
    result = crawl_one_page(
        site, tmp_path, "<a href=/bomb>b</a>", fetch=FAST.model_copy(update={"max_page_bytes": 10**6})
    )
    assert result.status(site, "/bomb") == "too_large"


def test_a_closed_port_and_an_unknown_name_are_told_apart(site: Site, tmp_path: Path) -> None:
    with serving() as other:
        gone = other.authority
    body = f"<img src=http://{gone}/x.png alt='a red cat'><img src=http://no-such-host.invalid/y.png alt='a red cat'>"
    site.routes["/"] = page(body)
    config = configure(site)
    result = Result(config.model_copy(update={"allow_loopback": [site.authority, gone]}), tmp_path)
    robots = {row["url"]: row["status"] for row in result.ledger if row["kind"] == "robots"}
    assert robots[f"http://{gone}/robots.txt"] == "refused"
    assert robots["http://no-such-host.invalid/robots.txt"] == "dns"
    statuses = {row["url"]: row["status"] for row in result.ledger if row["kind"] == "image"}
    assert statuses == {f"http://{gone}/x.png": "refused", "http://no-such-host.invalid/y.png": "dns"}


def test_requests_say_who_asks(site: Site, tmp_path: Path) -> None:
    crawl_one_page(site, tmp_path, "x", contact_url="https://us.test/bot")
    assert {request["user-agent"] for request in site.requests} == {"t2i-assets/0.1 (+https://us.test/bot)"}


def test_one_host_is_not_asked_more_at_once_than_allowed(site: Site, tmp_path: Path) -> None:
    site.routes |= {f"/{number}.png": image(number, delay=0.1) for number in range(6)}
    site.routes["/"] = page("".join(f"<img src=/{number}.png alt='a red cat'>" for number in range(6)))
    Result(configure(site, fetch=FAST.model_copy(update={"per_host_concurrency": 2})), tmp_path)
    starts = sorted(moment for path, moment in zip(site.asked, site.times, strict=True) if path.endswith("png"))
    assert all(starts[number + 2] - starts[number] > 0.08 for number in range(4))


# Images


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (picture(size=(40, 200)), "too_small"),
        (picture(size=(100, 500)), "bad_aspect"),
        (picture(size=(96, 80))[:-200], "decode_failed"),
        (picture(format="JPEG")[:-200], "decode_failed"),
        (picture(size=(3000, 3000), format="PNG"), "bomb"),
    ],
)
def test_images_that_are_not_taken_are_named(site: Site, tmp_path: Path, body: bytes, status: str) -> None:
    images = ImageConfig(size=32, max_pixels=5_000_000)
    assert crawl_one_image(site, tmp_path, Answer(body, "image/png"), images=images)["status"] == status


def test_lazy_responsive_and_based_images_are_found_at_their_largest(site: Site, tmp_path: Path) -> None:
    site.routes |= {f"/{number}.png": image(number) for number in range(6)}
    body = """<base href=/deep/><img src=data:image/gif;base64,R0 data-src=../1.png alt='a lazy cat'>
    <img src=/no.png srcset='/no.png 100w, ../2.png 900w' alt='a responsive cat'>
    <picture><source type=image/avif srcset=/no.avif><source srcset='../3.png 2x, /no.png'>
    <img src=/no.png alt='a framed cat'></picture>
    <figure><img src=../4.png><figcaption>A cat with a caption</figcaption></figure>
    <img src=../5.png title='a titled cat' aria-label='a labelled cat'>"""
    result = crawl_one_page(site, tmp_path, body)
    found = {sample["image_url"].rpartition("/")[2]: sample["alt_text"] for sample in result.samples}
    assert found == {
        "1.png": "a lazy cat",
        "2.png": "a responsive cat",
        "3.png": "a framed cat",
        "4.png": "A cat with a caption",
        "5.png": "a titled cat",
    }
    fields = {pair["image_url"].rpartition("/")[2]: pair["image_field"] for pair in result.pairs}
    assert [fields[f"{number}.png"] for number in range(1, 6)] == ["data-src", "srcset", "picture", "src", "src"]


def test_images_without_use_are_not_fetched_but_have_a_row(site: Site, tmp_path: Path) -> None:
    body = """<img src=/silent.png><img src=/blank.png alt=' &nbsp; '>
    <img src=/pixel.gif width=1 height=1 alt='some pixel'>
    <img src=/icon.png width=16 height=16 alt='a small icon'><img src=/drawing.svg alt='a red circle'>
    <img src=data:image/gif;base64,R0lGOD alt='inline cat'><img alt='no address'>"""
    result = crawl_one_page(site, tmp_path, body)
    statuses = {
        row["url"].rpartition("/")[2].partition(",")[0]: row["status"]
        for row in result.ledger
        if row["kind"] == "image"
    }
    assert statuses == {
        "silent.png": "no_text", "blank.png": "no_text", "pixel.gif": "too_small", "icon.png": "too_small",
        "drawing.svg": "wrong_content_type", "gif;base64": "data_uri",
    }  # fmt: skip
    assert site.asked == ["/robots.txt", "/"]
    assert {pair["rejected"] for pair in result.pairs} >= {"no_address", "tracking_pixel", "icon", "vector"}


def test_the_same_bytes_under_many_addresses_are_one_sample_with_all_texts(site: Site, tmp_path: Path) -> None:
    site.routes |= {
        "/a.png": image(1),
        "/b.png": image(1),
        "/2": page("<img src=/a.png alt='IMG_001.png' title='A red cat'>"),
    }
    result = crawl_one_page(
        site, tmp_path, "<a href=/2>2</a><img src=/b.png alt='buy now'><img src=/a.png alt='a cat in red'>"
    )
    (sample,) = result.samples
    assert sample["alt_text"] == "a cat in red"
    assert sorted((text["text"], text["labels"]) for text in sample["texts"]) == [
        ("A red cat", []), ("IMG_001.png", ["file_name"]), ("a cat in red", []), ("buy now", ["advert"]),
    ]  # fmt: skip
    keys = {row["key"] for row in result.ledger if row["status"] == "ok" and row["kind"] == "image"}
    assert keys == {sample["key"]}
    assert result.funnel["images_fetched"] == 2
    assert site.count("/a.png") == 1


def test_bad_texts_are_labelled_and_not_dropped(site: Site, tmp_path: Path) -> None:
    site.routes["/1.png"] = image(1)
    (sample,) = crawl_one_page(site, tmp_path, "<img src=/1.png alt='IMG_2034.JPG'>").samples
    assert sample["alt_text"] == "IMG_2034.JPG"
    assert sample["texts"][0]["labels"] == ["file_name"]


def test_stored_images_have_the_asked_size(site: Site, tmp_path: Path) -> None:
    crawl_one_image(site, tmp_path, Answer(picture(size=(200, 150), format="JPEG"), "image/jpeg"))
    ((row, data),) = iter_images(tmp_path / "shards")
    assert Image.open(io.BytesIO(data)).size == (32, 32) == (row["width"], row["height"])
    assert (row["original_width"], row["original_height"], row["original_format"]) == (200, 150, "JPEG")


def test_a_site_whose_images_all_fail_stops_the_run_and_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.routes["/"] = page("".join(f"<img src=/{number}.png alt='a red cat'>" for number in range(25)))
    with pytest.raises(CrawlFailedError, match=r"none of 25 image URLs .*http_4xx 25"):
        Result(configure(site), tmp_path)
    site.routes |= {f"/{number}.png": image(number) for number in range(25)}
    assert len(Result(configure(site), tmp_path).samples) == 25


# The human-annotated set


def test_human_captions_become_shards_and_captions(site: Site, tmp_path: Path) -> None:
    document = {
        "images": [
            {"id": 1, "file_name": "img/1.png"},
            {"id": 2, "file_name": "img/2.png"},
            {"id": 3, "file_name": "img/3.png"},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "caption": "a cat", "style": "short"},
            {"id": 2, "image_id": 1, "caption": "a red cat on a mat", "style": "descriptive"},
            {"id": 3, "image_id": 2, "caption": "a dog in the rain"},
            {"id": 4, "image_id": 3, "caption": "a lost bird"},
        ],
    }
    site.routes |= {
        "/h/c.json": Answer(json.dumps(document).encode(), "application/json"),
        "/h/img/1.png": image(1),
        "/h/img/2.png": image(2),
    }
    funnel = fetch_human(site.url("/h/c.json"), configure(site), tmp_path)
    assert funnel == {"images": 2, "captions": 3, "image_statuses": {"ok": 2, "http_4xx": 1}}
    assert verify(tmp_path) == []
    captions = read_rows(tmp_path / "captions.parquet", CAPTIONS)
    keys = {sample["alt_text"]: sample["key"] for sample in read_samples(tmp_path).to_pylist()}
    assert {(row["key"], row["caption"], json.loads(row["decode"])["style"]) for row in captions} == {
        (keys["a red cat on a mat"], "a cat", "short"),
        (keys["a red cat on a mat"], "a red cat on a mat", "descriptive"),
        (keys["a dog in the rain"], "a dog in the rain", "descriptive"),
    }
    assert {row["snapshot"] for row in read_samples(tmp_path).to_pylist()} == {"human"}


@pytest.mark.parametrize("body", [b"[]", b"no json", b'{"images": [], "annotations": [{"style": "loud"}]}'])
def test_human_captions_of_another_form_stop_the_run(site: Site, tmp_path: Path, body: bytes) -> None:
    site.routes["/c.json"] = Answer(body, "application/json")
    with pytest.raises(CrawlFailedError, match="not COCO captions"):
        fetch_human(site.url("/c.json"), configure(site), tmp_path)

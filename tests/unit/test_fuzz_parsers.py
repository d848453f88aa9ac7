"""Parsers of what the web sends, given anything: no crash, no address that nobody may ask, no lost refusal."""

import json
import pickle
from string import printable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from t2i_assets.crawl.consent.robots import judge
from t2i_assets.crawl.consent.robotstxt import parse_robots
from t2i_assets.crawl.consent.tdmrep import parse_tdm_file
from t2i_assets.crawl.consent.verdict import meta_verdict, response_verdict
from t2i_assets.crawl.html.images import parse_srcset
from t2i_assets.crawl.html.page import decode_html, parse_page
from t2i_assets.crawl.http.guard import BadUrlError, normalise_url

US = "t2i-assets"
HERE = "https://site.test/dir/page"
MARKUP = st.sampled_from(
    [
        "<img src=a.jpg alt='a cat'>", "<img srcset='a.jpg 1x, b.jpg 2x'>", "<picture><source srcset=", "</picture>",
        "<figure>", "</figure>", "<figcaption>", "<base href='//other.test/'>", "<base href=':'>", "<a href=", ">", "'",
        "<meta name=robots content=noai>", "<meta property='og:image' content=x.png>", "<noscript>", "</noscript>",
        "<script type='application/ld+json'>", '{"@type":"ImageObject","contentUrl":"c.jpg"}', "</script>",
        "<!--", "-->",
        "<svg>", "<template>", "<table><tr>", "<b><i>", "data:image/png;base64,AA", "javascript:",
        "http://[", "\x00", "&#x110000;",
        "<a href=big.jpg><img src=small.jpg></a>", "<link rel=license href=/licence>",
        "<img data-src='%zz' width=1 height=1>",
    ]
)  # fmt: skip
PAGES = st.lists(st.one_of(MARKUP, st.text(max_size=20)), max_size=40).map("".join)
TYPES = st.one_of(
    st.none(), st.text(max_size=30), st.sampled_from(["text/html; charset=utf-16", "text/html;charset=x"])
)


@settings(deadline=None, max_examples=200)
@given(st.one_of(PAGES.map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=400)), TYPES)
def test_any_page_is_read_the_same_twice_and_names_addresses_or_says_why_not(
    body: bytes, content_type: str | None
) -> None:
    page = parse_page(body, content_type, HERE)
    assert parse_page(body, content_type, HERE) == page == pickle.loads(pickle.dumps(page))
    for image in page.images:
        if image.problem is None:
            assert normalise_url(image.url) == image.url
    for link in page.links:
        assert normalise_url(link) == link


@given(st.binary(max_size=300), TYPES)
@example(b"<meta charset=utf-7>+ADw-", None)
def test_any_bytes_become_a_text(body: bytes, content_type: str | None) -> None:
    assert isinstance(decode_html(body, content_type), str)


@given(st.text(alphabet=printable, max_size=200))
def test_any_srcset_gives_sizes_and_addresses(text: str) -> None:
    for size, address in parse_srcset(text):
        assert size >= 0
        assert address.strip() == address != ""


@given(st.one_of(st.text(max_size=80), st.from_regex(r"(https?:)?//[\w.:@\[\]%-]{0,30}/?[\w/?#%&=.-]{0,30}")))
@example("http://user:secret@site.test/")
@example("http://2130706433/")
@example("http://site.test:99999/")
def test_an_address_is_normal_once_and_for_all(text: str) -> None:
    try:
        url = normalise_url(text, URL(HERE))
    except BadUrlError:
        return
    parsed = URL(url, encoded=True)
    assert normalise_url(url) == url
    assert parsed.scheme in ("http", "https")
    assert parsed.host
    assert parsed.user is None
    assert not parsed.fragment
    url.encode("ascii")


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["User-agent: *", "User-agent: t2i-assets", "User-agent: other", "Disallow: /", "Allow: /", "Disallow:", "",
             "Disallow: /*.jpg$", "Allow: /dir", "Crawl-delay: 2", "Sitemap: https://site.test/s.xml", "# said", ":"]
        ),
        st.text(max_size=30),
    ),
    max_size=15,
)  # fmt: skip
PATHS = st.one_of(st.sampled_from(["/", "/a.jpg", "/dir/x?y=1", "/%7Ea", "/ä"]), st.from_regex(r"/[\w/%.?=*$-]{0,20}"))


@given(LINES, PATHS)
def test_any_robots_txt_has_one_verdict_with_its_evidence(lines: list[str], path: str) -> None:
    url = f"https://site.test{path}"
    verdict = judge(parse_robots("\n".join(lines).encode("utf-8", "replace"), US), url)
    assert verdict.evidence
    assert verdict.allowed == (verdict.rule == "allowed")


@given(LINES, PATHS)
def test_what_is_said_to_another_crawler_changes_nothing_for_us(lines: list[str], path: str) -> None:
    text, url = "\n".join([*lines, "Disallow: /of-no-page"]), f"https://site.test{path}"
    other = f"{text}\n\nUser-agent: another-bot\nDisallow: /\n"
    before, after = (judge(parse_robots(one.encode("utf-8", "replace"), US), url) for one in (text, other))
    assert before.allowed == after.allowed


@given(LINES, PATHS)
def test_a_group_of_ours_that_forbids_all_forbids_all(lines: list[str], path: str) -> None:
    lines = [line for line in lines if "allow" not in line.lower()]
    text = "\n".join([*lines, "", "User-agent: t2i-assets", "Disallow: /"])
    assert not judge(parse_robots(text.encode("utf-8", "replace"), US), f"https://site.test{path}").allowed


SAID = st.one_of(
    st.sampled_from(
        ["noai", "all", "otherbot: noindex", "unavailable_after: 25 Jun 2010 15:00:00 PST, noai", "max-snippet: 3",
         "t2i-assets: none", "noindex,, ,nofollow", "unavailable_after: never", "otherbot:", ": noai"]
    ),
    st.text(max_size=40),
)  # fmt: skip
HEADERS = st.lists(
    st.tuples(st.sampled_from(["X-Robots-Tag", "tdm-reservation", "tdm-policy", "Date"]), SAID), max_size=6
)


@given(HEADERS)
def test_any_headers_have_a_verdict_and_no_line_more_lifts_a_refusal(headers: list[tuple[str, str]]) -> None:
    before = response_verdict(CIMultiDict(headers), US)
    after = response_verdict(CIMultiDict([*headers, ("X-Robots-Tag", "noai")]), US)
    assert not after.allowed
    assert before.allowed == (before.rule == "allowed")


@given(st.lists(st.tuples(st.sampled_from(["robots", "ROBOTS", US, "otherbot", "tdm-reservation"]), SAID), max_size=6))
def test_any_meta_tags_have_a_verdict(tags: list[tuple[str, str]]) -> None:
    verdict = meta_verdict(tags, US)
    assert verdict.allowed == (verdict.rule == "allowed")
    assert not meta_verdict([*tags, ("robots", "noindex")], US).allowed


NAMES = st.one_of(st.sampled_from(["location", "tdm-reservation", "tdm-policy"]), st.text(max_size=5))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(NAMES, inner, max_size=4),
    ),
)  # fmt: skip


@given(st.one_of(JSON.map(lambda value: json.dumps(value).encode()), st.binary(max_size=100)), PATHS)
def test_any_tdmrep_file_has_a_verdict_or_is_none(body: bytes, path: str) -> None:
    verdict = parse_tdm_file(body).verdict(f"https://site.test{path}")
    assert verdict.allowed == (verdict.rule == "allowed")


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_a_deep_tdmrep_file_reserves_nothing(depth: int) -> None:
    assert parse_tdm_file(b"[" * depth + b"]" * depth).verdict(HERE).allowed


def test_a_number_without_end_lifts_no_reservation() -> None:
    body = b'[{"location": "/", "tdm-reservation": 1, "version": ' + b"9" * 5000 + b"}]"
    assert not parse_tdm_file(body).verdict(HERE).allowed

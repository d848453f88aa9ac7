"""Wishes of site owners are read in all their forms, and addresses that must not be asked are known."""

import ipaddress
import socket
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from yarl import URL

from t2i_assets.crawl.consent.robots import judge
from t2i_assets.crawl.consent.robotstxt import parse_robots
from t2i_assets.crawl.consent.tdmrep import parse_tdm_file
from t2i_assets.crawl.consent.verdict import header_verdict, may_follow, meta_verdict, response_verdict
from t2i_assets.crawl.http.guard import BadUrlError, Guard, SsrfBlockedError, is_public, normalise_url
from t2i_assets.crawl.http.response import retry_after

US = "t2i-assets"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([], "allowed"),
        (["all"], "allowed"),
        (["nofollow, nosnippet, max-image-preview:large"], "allowed"),
        (["noai"], "noai"),
        (["NoImageAI"], "noimageai"),
        (["nofollow, noimageindex"], "noimageindex"),
        (["none"], "none"),
        (["googlebot: noindex, noai"], "allowed"),
        (["googlebot: noindex, t2i-assets: noai"], "noai"),
        (["googlebot: nofollow", "otherbot: noindex", "noindex"], "noindex"),
        (["T2I-Assets: noindex"], "noindex"),
        (["*: noindex"], "noindex"),
        (["unavailable_after: 25 Jun 2010 15:00:00 PST, noai"], "unavailable_after"),
        (["unavailable_after: Wed, 21 Oct 2099 07:28:00 GMT, noai"], "noai"),
        (["unavailable_after: 2099-01-01T00:00:00Z"], "allowed"),
        (["unavailable_after: 2020-01-01"], "unavailable_after"),
        (["unavailable_after: when pigs fly"], "unavailable_after"),
        (["unavailable_after: Wednesday, 21-Oct-99 07:28:00 GMT; noai"], "unavailable_after"),
        (["unavailable_after: June 25, 2099 15:00:00 PST"], "allowed"),
        (["unavailable_after : 1 Jan 2010 00:00:00 GMT"], "unavailable_after"),
        (["googlebot: unavailable_after: 2010-01-01, noai"], "allowed"),
        (["t2i-assets: unavailable_after: 2010-01-01"], "unavailable_after"),
        (["  NoIndex ,  NoFollow "], "noindex"),
        (["noarchive noai"], "noai"),
        (["nofollow; noimageai"], "noimageai"),
        (["otherbot: noindex, noai"], "allowed"),
        (["otherbot: noindex, noai, t2i-assets/0.1 : noimageai"], "noimageai"),
        (["some other bot: noindex, noai"], "allowed"),
        (["robots: noai"], "noai"),
        (["otherbot:", "noai"], "noai"),
        (["max-depth: 3, noai"], "noai"),
        (["max-snippet: 20, max-video-preview: -1"], "allowed"),
        ([", ,,:", ""], "allowed"),
    ],
)
def test_x_robots_tag(values: list[str], rule: str) -> None:
    verdict = header_verdict(values, US, NOW)
    assert (verdict.allowed, verdict.rule) == (rule == "allowed", rule)
    if not verdict.allowed:
        assert verdict.evidence is not None
        assert verdict.evidence.removeprefix("X-Robots-Tag: ") in [value.strip() for value in values]


def test_meta_tags_count_for_robots_and_for_us_only() -> None:
    assert meta_verdict([("googlebot", "noai"), ("description", "noai")], US).allowed
    assert meta_verdict([("ROBOTS", "index, NOAI")], US).rule == "noai"
    assert meta_verdict([(US, "noimageindex")], US).evidence == "meta robots: noimageindex"


@pytest.mark.parametrize(
    ("headers", "rule", "evidence"),
    [
        ([], "allowed", None),
        ([("X-Robots-Tag", "all"), ("x-robots-tag", "noai")], "noai", "X-Robots-Tag: noai"),
        ([("TDM-Reservation", " 1 ")], "tdm_reservation", "tdm-reservation: 1"),
        (
            [("tdm-policy", "https://site.test/policy.json"), ("tdm-reservation", "1")],
            "tdm_reservation",
            "tdm-reservation: 1; tdm-policy: https://site.test/policy.json",
        ),
        ([("tdm-reservation", "0"), ("tdm-policy", "https://site.test/policy.json")], "allowed", None),
        ([("tdm-reservation", "yes")], "allowed", None),
        ([("tdm-reservation", "0"), ("tdm-reservation", "1")], "tdm_reservation", "tdm-reservation: 1"),
        ([("tdm-reservation", "1"), ("X-Robots-Tag", "noindex")], "noindex", "X-Robots-Tag: noindex"),
    ],
)
def test_a_response_is_judged_by_all_its_headers(
    headers: list[tuple[str, str]], rule: str, evidence: str | None
) -> None:
    verdict = response_verdict(CIMultiDict(headers), US, NOW)
    assert (verdict.rule, verdict.evidence) == (rule, evidence)


def test_a_meta_tag_reserves_too() -> None:
    tags = [("TDM-Reservation", "1"), ("tdm-policy", "https://site.test/p")]
    verdict = meta_verdict(tags, US)
    assert (verdict.rule, verdict.evidence) == (
        "tdm_reservation", "meta tdm-reservation: 1; tdm-policy: https://site.test/p",
    )  # fmt: skip
    assert meta_verdict([("tdm-reservation", "0")], US).allowed
    assert meta_verdict([*tags, ("robots", "noai")], US).rule == "noai"


TDM_FILE = b"""[
  {"location": "/directory-a/", "tdm-reservation": 1},
  {"location": "/directory-b/html/", "tdm-reservation": 1, "tdm-policy": "https://provider.com/policy.json"},
  {"location": "/directory-b/images/*.jpg", "tdm-reservation": 0},
  {"location": "/directory-b/images/", "tdm-reservation": 1},
  {"location": "/broken", "tdm-reservation": "perhaps"}, {"tdm-reservation": 1}, 7,
  {"location": "/*.pdf$", "tdm-reservation": "1"}
]"""


@pytest.mark.parametrize(
    ("path", "evidence"),
    [
        ("/", None),
        ("/directory-a/x.html", "location: /directory-a/; tdm-reservation: 1"),
        (
            "/directory-b/html/x",
            "location: /directory-b/html/; tdm-reservation: 1; tdm-policy: https://provider.com/policy.json",
        ),
        ("/directory-b/images/x.jpg", None),
        ("/directory-b/images/x.png", "location: /directory-b/images/; tdm-reservation: 1"),
        ("/broken", None),
        ("/a/b.pdf", "location: /*.pdf$; tdm-reservation: 1"),
        ("/a/b.pdf?x", None),
    ],
)
def test_the_first_location_that_matches_decides(path: str, evidence: str | None) -> None:
    verdict = parse_tdm_file(TDM_FILE).verdict(f"http://site.test{path}")
    assert verdict.allowed == (evidence is None)
    assert verdict.evidence == (evidence and f"/.well-known/tdmrep.json: {evidence}")


@pytest.mark.parametrize("body", [b"", b"null", b"<html>", b"[" * 100_000, b"\xff\xfe", b'{"location": 3}', b"[[]]"])
def test_what_is_no_tdm_file_reserves_nothing(body: bytes) -> None:
    assert parse_tdm_file(body).verdict("http://site.test/").allowed


def test_a_tdm_file_of_one_rule_may_lack_its_brackets() -> None:
    body = b'\xef\xbb\xbf{"location": "/", "tdm-reservation": 1}'
    assert parse_tdm_file(body).verdict("http://site.test/").rule == "tdm_reservation"


def test_nofollow_in_header_or_tag() -> None:
    assert may_follow(["noai"], [("robots", "noindex")], US)
    assert not may_follow(["nofollow"], [], US)
    assert not may_follow([], [("robots", "none")], US)
    assert may_follow(["otherbot: nofollow"], [("otherbot", "nofollow")], US)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text()))
def test_no_header_breaks_the_reader(values: list[str]) -> None:
    header_verdict(values, US, NOW)
    meta_verdict([("robots", value) for value in values], US, NOW)


ROBOTS_LINES = [
    "User-agent: *", "User-agent: t2i-assets", "User-agent: other", "Disallow: /a", "Disallow: /", "Allow: /a/b",
    "Disallow: /*.gif$", "Allow: /a*c", "Disallow:", "Crawl-delay: 2", "Disallow: /é", "# nothing", "",
]  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(ROBOTS_LINES), max_size=12),
    st.sampled_from(["/", "/a", "/a/b", "/a/bc.gif", "/x.gif", "/x.gif?y", "/%C3%A9/z", "/é"]),
)
def test_the_rule_shown_is_the_rule_that_decided(lines: list[str], path: str) -> None:
    url = f"http://site.test{path}"
    verdict = judge(parse_robots("\n".join(lines).encode(), US), url)
    shown = (verdict.evidence or "").removeprefix("robots.txt: ")
    if verdict.allowed:
        assert shown == "no rule applies" or shown in lines
    else:
        assert shown in lines
        assert not judge(parse_robots(f"User-agent: *\n{shown}".encode(), US), url).allowed


PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "::1", "fe80::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "2002:7f00:1::", "fe80::1%eth0", "::",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_known(address: str) -> None:
    assert not is_public(address)
    if "%" not in address:
        host = f"[{address}]" if ":" in address else address
        with pytest.raises(SsrfBlockedError):
            Guard([]).check_url(f"http://{host}/")


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_known(address: str) -> None:
    assert is_public(address)


@settings(deadline=None, max_examples=60)
@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_clothes_is_judged_as_itself(address: ipaddress.IPv4Address) -> None:
    assert is_public(f"::ffff:{address}") <= is_public(str(address))


def test_the_socket_is_the_last_check() -> None:
    guard = Guard(["127.0.0.1:8080"])
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    guard.make_socket((*info, ("127.0.0.1", 8080))).close()
    for address in (("127.0.0.1", 22), ("10.0.0.1", 80), ("169.254.169.254", 80)):
        with pytest.raises(SsrfBlockedError):
            guard.make_socket((*info, address))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("HTTP://Site.Test:80/a/../b?q=1#top", "http://site.test/b?q=1"),
        ("http://site.test", "http://site.test/"),
        ("http://site.test?q", "http://site.test/?q"),
        (" /c d\n", "http://base.test/c%20d"),
        ("//cdn.test/ü", "http://cdn.test/%C3%BC"),
        ("?page=2", "http://base.test/x?page=2"),
        ("http://bücher.test/", "http://xn--bcher-kva.test/"),
    ],
)
def test_addresses_are_normalised(url: str, expected: str) -> None:
    assert normalise_url(url, URL("http://base.test/x")) == expected
    assert normalise_url(expected) == expected


@pytest.mark.parametrize(
    "url",
    ["mailto:a@b.c", "javascript:x()", "file:///etc/passwd", "ftp://x/", "http://", "http://[::1", "http://a:b@c/"],
)
def test_what_is_no_address_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(BadUrlError):
        normalise_url(url)


@settings(deadline=None, max_examples=60)
@given(st.text())
def test_any_text_is_normalised_or_refused(text: str) -> None:
    try:
        url = normalise_url(text, URL("http://base.test/x/"))
    except BadUrlError:
        return
    assert url.startswith(("http://", "https://"))


def test_retry_after_in_both_forms() -> None:
    later = (NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert retry_after("120") == 120
    assert retry_after(later, NOW) == 90
    assert retry_after("Fri, 01 Jan 2010 00:00:00 GMT", NOW) == 0
    assert retry_after("soon") is retry_after(None) is retry_after("-1") is None

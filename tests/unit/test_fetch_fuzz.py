"""Whatever bytes a server sends, and whatever stands in a header: an outcome that can be written down, in time."""

import asyncio
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2i_assets.corpus.schemas import LEDGER
from t2i_assets.crawl.config import CrawlConfig, FetchConfig, FolderSource
from t2i_assets.crawl.http.fetch import Fetched, Fetcher, Validators
from t2i_assets.crawl.http.response import retry_after
from t2i_assets.crawl.status import Status
from tests.unit.crawl_site import Answer, Site, serving

NAMES = [
    b"Content-Length", b"Content-Type", b"Content-Encoding", b"Transfer-Encoding", b"Location", b"Connection", b"ETag",
    b"Retry-After", b"X-Robots-Tag", b"Set-Cookie", b"Last-Modified", b"", b"\xff", b"Host",
]  # fmt: skip
VALUES = [
    b"0", b"5", b"-1", b"99999999999999999999999", b"gzip", b"chunked", b"chunked, gzip", b"identity", b"br", b"close",
    b"/x", b"//", b"http://[", b"javascript:x", b"http://0x7f.1/", b"\xff\xfe", b"a\x00b", b"a\rb", b"\"e\"", b"",
    b"x" * 40_000, b"keep-alive", b"text/html; charset=\xe9", "\u0662".encode(), b"http://a..b/", b"?", b"\\\\x\\y",
]  # fmt: skip
LINES = st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)).map(lambda pair: b"%s: %s" % pair)
STATUS_LINES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.0 200", b"HTTP/1.1 302 F", b"HTTP/1.1 304 N", b"HTTP/1.1 404 N", b"HTTP/1.1 503 S",
        b"HTTP/1.1 999 X", b"HTTP/1.1 99 X", b"HTTP/2 200", b"HTTP/1.1 200\xff", b"HTTP/1.1 101 S", b"ICY 200 OK", b"",
    ]
)  # fmt: skip
RESPONSES = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda status, lines, body: b"\r\n".join([status, *lines]) + b"\r\n\r\n" + body,
        STATUS_LINES,
        st.lists(LINES, max_size=6),
        st.one_of(st.binary(max_size=100), st.sampled_from([b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"hello"])),
    ),
)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as one:
        yield one


def fetch(site: Site) -> Fetched:
    config = CrawlConfig(
        sources=[FolderSource(name="none", path="/nowhere")],
        allow_loopback=[site.authority],
        fetch=FetchConfig(retries=0, total_seconds=0.5, redirects=2),
    )

    async def work() -> Fetched:
        async with Fetcher(config) as fetcher:
            return await fetcher.fetch(site.url("/x"), "*/*", 1000, validators=Validators('"e"'))

    return asyncio.run(work())


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(response=RESPONSES)
def test_every_response_has_an_outcome_that_can_be_written(site: Site, response: bytes) -> None:
    site.routes["/x"] = Answer(raw=response)
    fetched = fetch(site)
    assert fetched.status in set(Status)
    assert len(fetched.body) <= 1000
    row = fetched.ledger_row("demo", "image", "none")
    pa.Table.from_pylist([{name: row[name] for name in row if name in LEDGER.names}], LEDGER)


@settings(deadline=None, max_examples=200)
@given(
    st.one_of(st.text(), st.sampled_from(["1e9", "\u00b2", "9" * 5000, "Fri, 31 Feb 99999 99:99:99", "0x10", " 7 "]))
)
def test_retry_after_of_any_text_is_a_number_or_nothing(value: str) -> None:
    seconds = retry_after(value)
    assert seconds is None or seconds >= 0

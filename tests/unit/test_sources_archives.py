"""Web archives: pages and links of WARC and WAT files, damaged ones as far as they go, nothing lost in silence."""

import asyncio
import gzip
import json
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2i_assets.crawl.config import CrawlConfig, FetchConfig, WarcSource
from t2i_assets.crawl.sources.archive_files import archive_files
from t2i_assets.crawl.sources.rows import SourceError, rows_of
from t2i_assets.crawl.sources.warc import page_rows
from t2i_assets.crawl.sources.wat import wat_offers
from tests.unit.crawl_site import Answer, serving
from tests.unit.warc_files import HTML, record, request, response, wat, zipped

Row = dict[str, Any]
FAST = FetchConfig(retries=1, backoff_seconds=0.01, redirects=3)


def configure(*paths: Path | str, loopback: str = "", **fields: Any) -> CrawlConfig:
    source = WarcSource(name="cc", paths=[str(path) for path in paths], **fields)
    return CrawlConfig(
        sources=[source],
        contact_url="https://us.test/bot",
        allow_loopback=[loopback] if loopback else [],
        fetch=FAST,
    )


def read(config: CrawlConfig, scratch: Path, wats: bool = False) -> tuple[list[Row], list[Row]]:
    """Return the rows (PAGES of WARC files, PAIRS of WAT files) and the ledger rows of all archives."""
    source = config.sources[0]
    assert isinstance(source, WarcSource)

    async def run() -> tuple[list[Row], list[Row]]:
        rows: list[Row] = []
        ledger = []
        async for file in archive_files(source, config, scratch, wat=wats):
            if wats:
                rows += [row for offer in wat_offers(file) for row in rows_of(offer, "cc", "demo", config)]
            else:
                rows += page_rows(file, "demo")
            ledger.append(file.ledger_row("demo"))
        return rows, ledger

    return asyncio.run(run())


def read_bytes(tmp_path: Path, data: bytes, **fields: Any) -> tuple[list[Row], Row]:
    path = tmp_path / "x.warc.gz"
    path.write_bytes(data)
    rows, (ledger,) = read(configure(path, **fields), tmp_path)
    return rows, ledger


def urls(rows: list[Row]) -> list[str]:
    return [row["url"].removeprefix("http://a.test/") for row in rows]


PAGES = [response(f"http://a.test/{n}", f"<p>page {n}</p>" * 20) for n in range(6)]


# WARC


@pytest.mark.parametrize("pack", [zipped, lambda *records: b"".join(records)])
def test_pages_are_the_html_that_was_there(tmp_path: Path, pack: Callable[..., bytes]) -> None:
    robots = (*HTML, ("X-Robots-Tag", "noai"), ("x-robots-tag", "otherbot: noindex"), ("TDM-Reservation", "1"))
    data = pack(
        record("warcinfo", "", b"software: test\r\n", "application/warc-fields"),
        request("http://A.test:80/a"),
        response("http://A.test:80/a", "<p>one</p>", robots),
        response("<http://a.test/b>", b"<p>\xe9</p>", (("content-type", "application/xhtml+xml; charset=latin1"),)),
        response("http://a.test/c", b"%PDF", (("Content-Type", "application/pdf"),)),
        response("http://a.test/d", "<p>gone</p>", status="404 Not Found"),
        response("dns:a.test", "<p>x</p>"),
        response("http://a.test/e", "<p>untyped</p>", ()),
        record("response", "http://a.test/f", b"garbage", "application/http; msgtype=response"),
    )
    rows, ledger = read_bytes(tmp_path, data)
    assert rows == [
        {
            "snapshot": "demo",
            "source": "cc",
            "url": "http://a.test/a",
            "final_url": "http://a.test/a",
            "depth": 0,
            "content_type": "text/html; charset=utf-8",
            "x_robots_tag": "noai\notherbot: noindex",
            "tdm_reservation": "1",
            "tdm_policy": None,
            "body": b"<p>one</p>",
        },
        rows[1],
    ]
    assert (rows[1]["url"], rows[1]["body"]) == ("http://a.test/b", b"<p>\xe9</p>")
    path = tmp_path / "x.warc.gz"
    assert (ledger["kind"], ledger["url"], ledger["status"]) == ("archive", path.resolve().as_uri(), "ok")
    assert ledger["detail"] == "2 records taken; passed over: 1 bad_url, 2 not_200, 2 not_html"
    assert (ledger["bytes"], ledger["fetched_at"], ledger["seconds"]) == (len(data), 0.0, 0.0)


@pytest.mark.parametrize(
    ("encodings", "payload"),
    [
        ({"Content-Encoding": "gzip"}, gzip.compress(b"<p>x</p>", mtime=0)),
        ({"Content-Encoding": "deflate"}, zlib.compress(b"<p>x</p>")),
        ({"Transfer-Encoding": "chunked"}, b"3\r\n<p>\r\n5\r\nx</p>\r\n0\r\n\r\n"),
        ({"Transfer-Encoding": "chunked", "Content-Encoding": "gzip"}, None),
        ({"Content-Encoding": "gzip"}, b"<p>x</p>"),  # removed by the crawler, the header left
        ({"Transfer-Encoding": "chunked"}, b"<p>x</p>"),
        ({"X-Crawler-Content-Encoding": "gzip"}, b"<p>x</p>"),  # as Common Crawl does it
    ],
)
def test_bodies_come_without_their_encodings(tmp_path: Path, encodings: dict[str, str], payload: bytes | None) -> None:
    if payload is None:
        packed = gzip.compress(b"<p>x</p>")
        payload = b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)
    rows, ledger = read_bytes(tmp_path, zipped(response("http://a.test/", payload, (*HTML, *encodings.items()))))
    assert [row["body"] for row in rows] == [b"<p>x</p>"], ledger["detail"]


def test_a_body_that_inflates_without_end_is_passed_over(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    rows, ledger = read_bytes(
        tmp_path, zipped(response("http://a.test/", bomb, (*HTML, ("Content-Encoding", "gzip"))), PAGES[1])
    )
    assert urls(rows) == ["1"]
    assert "1 too_large" in ledger["detail"]


@pytest.mark.parametrize("pack", [zipped, lambda *records: b"".join(records)])
@pytest.mark.parametrize("length", [10**11, 5_000, 10, 0])
def test_a_length_that_lies_costs_its_record_only(tmp_path: Path, pack: Callable[..., bytes], length: int) -> None:
    pages = [*PAGES[:2], response("http://a.test/liar", "<p>liar</p>" * 30, length=length), *PAGES[3:]]
    rows, ledger = read_bytes(tmp_path, pack(*pages))
    assert [url for url in urls(rows) if url != "liar"] == ["0", "1", "3", "4", "5"]
    assert ledger["status"] in ("truncated", "bad_archive")
    assert "lost: " in ledger["detail"]


def test_what_is_not_what_its_digest_says_is_left_out_unless_told_otherwise(tmp_path: Path) -> None:
    changed = PAGES[1].replace(b"page 1", b"Page I")
    hexadecimal = response("http://a.test/2", "x", digest="md5:00112233445566778899aabbccddeeff")
    unknown = response("http://a.test/3", "x", digest="crc32:0011")
    data = zipped(PAGES[0], changed, hexadecimal, unknown)
    rows, ledger = read_bytes(tmp_path, data)
    assert urls(rows) == ["0", "3"]
    assert (ledger["status"], ledger["detail"]) == (
        "bad_archive",
        "2 records taken; lost: 2 digest, the first digest: http://a.test/1",
    )
    rows, ledger = read_bytes(tmp_path, data, verify_digests=False)
    assert (urls(rows), ledger["status"]) == (["0", "1", "2", "3"], "ok")


def test_reading_goes_on_behind_damage(tmp_path: Path) -> None:
    members = [zipped(page) for page in PAGES]
    members[1] = members[1][:60] + b"\xff" * 20 + members[1][80:]
    members[3] = b"no archive at all"
    rows, ledger = read_bytes(tmp_path, b"".join(members))
    assert urls(rows) == ["0", "2", "4", "5"]
    assert "lost: 2 damaged, the first damaged: after byte 0" in ledger["detail"]
    plain = [*PAGES[:2], b"\x00noise\r\n\r\n", *PAGES[2:]]
    rows, ledger = read_bytes(tmp_path, b"".join(plain))
    assert (urls(rows), ledger["status"]) == (["0", "1", "2", "3", "4", "5"], "bad_archive")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, len(zipped(*PAGES)) - 1), plain=st.booleans())
def test_of_a_cut_archive_every_whole_page_is_read(tmp_path: Path, cut: int, plain: bool) -> None:
    data = b"".join(PAGES) if plain else zipped(*PAGES)
    ends = [len((b"".join if plain else lambda pages: zipped(*pages))(PAGES[: n + 1])) for n in range(6)]
    rows, ledger = read_bytes(tmp_path, data[:cut])
    whole = sum(end <= cut for end in ends)
    assert urls(rows)[:whole] == [str(n) for n in range(whole)]
    assert len(rows) <= whole + 1  # what is missing may be the blank lines behind a record
    assert all(row["body"] == f"<p>page {n}</p>".encode() * 20 for n, row in enumerate(rows))
    if len(rows) == whole and cut not in (0, *ends):
        assert "lost: " in ledger["detail"]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noise=st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=40)), max_size=6), plain=st.booleans()
)
def test_no_noise_stops_the_reader(tmp_path: Path, noise: list[tuple[int, bytes]], plain: bool) -> None:
    data = bytearray(b"".join(PAGES) if plain else zipped(*PAGES))
    for place, patch in noise:
        place %= len(data)
        data[place : place + len(patch)] = patch
    rows, ledger = read_bytes(tmp_path, bytes(data))
    if not plain:  # a plain archive has no checksum over the heads of its records
        assert {row["body"] for row in rows} <= {f"<p>page {n}</p>".encode() * 20 for n in range(6)}
        assert len(rows) == 6 or "lost" in ledger["detail"]


def test_max_records_limits_each_file(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.warc").write_bytes(b"".join(PAGES))
    rows, ledger = read(configure(tmp_path / "*.warc", max_records=2), tmp_path)
    assert urls(rows) == ["0", "1", "0", "1"]
    assert [row["detail"] for row in ledger] == ["2 records taken"] * 2


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no file .*none.warc.gz"):
        read(configure(tmp_path / "none.warc.gz"), tmp_path)


MEASURE = """
import asyncio, re, sys
from pathlib import Path
from t2i_assets.crawl.config import CrawlConfig
from t2i_assets.crawl.sources.archive_files import archive_files
from t2i_assets.crawl.sources.warc import page_rows
config = CrawlConfig.model_validate_json(sys.argv[1])
async def run():
    return [sum(1 for _ in page_rows(file, "demo")) async for file in archive_files(config.sources[0], config, Path())]
print(*asyncio.run(run()), int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's peak memory")
def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    used = {}
    for pages in (5, 400):
        path = tmp_path / f"{pages}.warc"
        body = "<p>" + "x" * 500_000
        path.write_bytes(b"".join(response(f"http://a.test/{n}", body) for n in range(pages)))
        command = [sys.executable, "-c", MEASURE, configure(path).model_dump_json()]
        found, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert int(found) == pages
        used[pages] = int(megabytes)
    assert used[400] - used[5] < 20, f"the archive of 200 MB took {used}"


# By URL


def test_an_archive_is_fetched_read_and_removed(tmp_path: Path) -> None:
    with serving() as site:
        data = zipped(*PAGES)
        site.routes |= {
            "/cc/x.warc.gz": Answer(status=302, headers=(("Location", "/real"),)),
            "/real": lambda asked, _: Answer(status=503) if not asked else Answer(data, "application/warc"),
        }
        config = configure(site.url("/cc/x.warc.gz"), site.url("/x.wat.gz"), loopback=site.authority)
        rows, (ledger,) = read(config, tmp_path)
        assert site.requests[-1]["user-agent"] == "t2i-assets/0.1 (+https://us.test/bot)"
    assert urls(rows) == ["0", "1", "2", "3", "4", "5"]
    assert (ledger["url"], ledger["final_url"]) == (site.url("/cc/x.warc.gz"), site.url("/real"))
    assert (ledger["status"], ledger["bytes"], ledger["attempts"]) == ("ok", len(data), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (Answer(status=404), "http_4xx", "HTTP 404"),
        (Answer(status=500), "http_5xx", "HTTP 500"),
        (Answer(bytes(2000)), "too_large", "the file is longer than 1500 bytes"),
        (Answer(b"half", length=1000), "truncated", None),
        (Answer(b"x" * 1000, drip=0.01), "timeout", "not done within 1 s"),
        (Answer(status=302, headers=(("Location", "http://169.254.169.254/x"),)), "ssrf_blocked", None),
        (Answer(status=302, headers=(("Location", "file:///etc/passwd"),)), "bad_url", None),
        (Answer(status=302, headers=(("Location", "/x.warc.gz"),)), "redirect_limit", None),
        (Answer(status=302), "bad_response", "HTTP 302 without a Location"),
        (Answer(raw=b""), "disconnected", None),
    ],
)
def test_an_archive_that_cannot_be_fetched_has_a_row(
    tmp_path: Path, answer: Answer, status: str, detail: str | None
) -> None:
    with serving() as site:
        site.routes["/x.warc.gz"] = answer
        config = configure(site.url("/x.warc.gz"), loopback=site.authority, max_file_bytes=1500, max_file_seconds=1)
        rows, (ledger,) = read(config, tmp_path)
    assert (rows, ledger["status"], ledger["bytes"]) == ([], status, 0)
    assert detail is None or ledger["detail"] == detail
    assert list(tmp_path.iterdir()) == []


# WAT


def read_wat(tmp_path: Path, *records: bytes) -> tuple[list[Row], Row]:
    path = tmp_path / "x.warc.wat.gz"
    path.write_bytes(zipped(*records))
    rows, (ledger,) = read(configure(path), tmp_path, wats=True)
    return rows, ledger


def image(url: str, **more: str) -> dict[str, Any]:
    return {"path": "IMG@/src", "url": url, **more}


def test_links_to_images_are_resolved_and_carry_their_texts(tmp_path: Path) -> None:
    links = [
        image("/1.jpg", alt="a red &amp; round circle", title="Circle no. 1 of many"),
        {"path": "A@/href", "url": "/page", "text": "a link"},
        image("2.jpg", alt=""),
        image("data:image/gif;base64,R0lGOD", alt="a placeholder"),
        image("", alt="nothing there"),
        image("ftp://a.test/3.jpg", alt="some old file"),
        image("//B.test/4.svg", alt="some drawing here"),
        {"path": "A@/href", "url": "https://cc.test/by", "rel": "nofollow license"},
        {"path": "IMG@/longdesc", "url": "/desc"},
    ]
    head = {
        "Base": "http://a.test/base/",
        "Metas": [
            {"property": "og:image", "content": "/og.jpg"},
            {"property": "og:image:alt", "content": "a big round circle"},
        ],
    }
    rows, ledger = read_wat(tmp_path, wat("http://a.test/p", links, head))
    assert [(row["image_url"], row["text"], row["text_field"], row["rejected"]) for row in rows] == [
        ("http://a.test/1.jpg", "a red & round circle", "alt", None),
        ("http://a.test/1.jpg", "Circle no. 1 of many", "title", None),
        ("http://a.test/base/2.jpg", None, None, "no_text"),
        (rows[3]["image_url"], "a placeholder", "alt", "data_uri"),
        ("http://a.test/base/", "nothing there", "alt", "no_address"),
        ("ftp://a.test/3.jpg", "some old file", "alt", "bad_url"),
        ("http://b.test/4.svg", "some drawing here", "alt", "vector"),
        ("http://a.test/og.jpg", "a big round circle", "og:image:alt", None),
    ]
    assert {row["page_url"] for row in rows} == {"http://a.test/p"}
    assert {row["license_url"] for row in rows} == {"https://cc.test/by"}
    assert [row["image_field"] for row in rows] == ["src"] * 7 + ["og:image"]
    assert ledger["detail"] == "1 records taken"


@pytest.mark.parametrize(
    ("headers", "head", "rejected"),
    [
        ({"X-Robots-Tag": "noai"}, {}, "page_noai"),
        ({"x-robots-tag": ["googlebot: noindex", "noimageindex"]}, {}, "page_noimageindex"),
        ({"tdm-reservation": "1"}, {}, "page_tdm_reservation"),
        ({}, {"Metas": [{"name": "Robots", "content": "NOINDEX, follow"}]}, "page_noindex"),
        ({}, {"Metas": [{"name": "t2i-assets", "content": "noimageai"}]}, "page_noimageai"),
        ({"X-Robots-Tag": "otherbot: noai"}, {"Metas": [{"name": "robots", "content": "nofollow"}]}, None),
    ],
)
def test_what_a_page_forbids_is_obeyed(
    tmp_path: Path, headers: dict[str, Any], head: dict[str, Any], rejected: str | None
) -> None:
    rows, _ = read_wat(tmp_path, wat("http://a.test/p", [image("/1.jpg", alt="a red circle")], head, headers))
    assert [row["rejected"] for row in rows] == [rejected]


def test_what_is_no_page_is_passed_over_and_counted(tmp_path: Path) -> None:
    request_metadata = json.dumps({"Envelope": {"Payload-Metadata": {"HTTP-Request-Metadata": {"Headers": {}}}}})
    rows, ledger = read_wat(
        tmp_path,
        record("warcinfo", "", b"", "application/warc-fields"),
        record("metadata", "http://a.test/1", request_metadata.encode(), "application/json"),
        record("metadata", "http://a.test/2", b"{", "application/json"),
        record("metadata", "http://a.test/3", b"[" * 100_000, "application/json"),
        wat("http://a.test/4", [image("/1.jpg", alt="a red circle")], status="404"),
        wat("dns:a.test", [image("/1.jpg", alt="a red circle")]),
        wat("http://a.test/5", [image("/1.jpg", alt="a red circle")]),
    )
    assert len(rows) == 1
    assert ledger["detail"] == "1 records taken; passed over: 2 bad_json, 1 bad_url, 1 not_200, 1 not_a_response"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["IMG@/src", "200"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["path", "url", "alt", "Head", "Links", "Metas", "content"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(html=_JSON, headers=_JSON, message=_JSON)
def test_no_metadata_breaks_the_reader(tmp_path: Path, html: Any, headers: Any, message: Any) -> None:
    response = {"Response-Message": message, "Headers": headers, "HTML-Metadata": html}
    document = {"Envelope": {"Payload-Metadata": {"HTTP-Response-Metadata": response}}}
    for status in (message, {"Status": "200"}):
        response["Response-Message"] = status
        data = record("metadata", "http://a.test/", json.dumps(document).encode(), "application/json")
        _, ledger = read_wat(tmp_path, data)
        assert ledger["status"] == "ok"

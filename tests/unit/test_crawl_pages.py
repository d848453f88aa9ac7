"""The page stage: several sources at once, one row per page, the same files however the network behaves."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from t2i_assets.corpus.schemas import LEDGER, PAGES, REQUESTS
from t2i_assets.corpus.tables import read_rows
from t2i_assets.crawl.config import CrawlConfig, FetchConfig, SiteSource, Source, WarcSource
from t2i_assets.crawl.page_stage.files import PageFiles
from t2i_assets.crawl.page_stage.frontier import host_name
from t2i_assets.crawl.page_stage.links import MOST_LINKS
from t2i_assets.crawl.pages import crawl_pages
from t2i_assets.crawl.pairs import extract_pairs
from t2i_assets.crawl.status import CrawlFailedError
from tests.unit.crawl_site import Answer, Site, page, serving
from tests.unit.warc_files import HTML, response, zipped

FAST = FetchConfig(retries=0, backoff_seconds=0.01, total_seconds=5, tdm=False)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as one:
        yield one


class Result:
    """What the page stage wrote."""

    def __init__(self, home: Path, sources: Sequence[Source], *sites: Site, **more: Any) -> None:
        self.home = home
        config = CrawlConfig(
            sources=list(sources),
            allow_loopback=[one.authority for one in sites],
            contact_url="https://us.test/bot",
            fetch=more.pop("fetch", FAST),
            **more,
        )
        self.funnel = crawl_pages(config, "demo", home / "pages", home / "ledger" / "pages.parquet")
        self.config = config
        self.ledger = read_rows(home / "ledger" / "pages.parquet", LEDGER)
        self.pages = read_rows(home / "pages", PAGES)

    @property
    def of_source(self) -> dict[str, list[str]]:
        """URLs of the pages of each source, in order."""
        found: dict[str, list[str]] = {}
        for row in self.pages:
            found.setdefault(row["source"], []).append(row["url"])
        return found

    def rows(self, url: str) -> list[tuple[str, str]]:
        return [(row["source"], row["status"]) for row in self.ledger if row["url"] == url]


def linking(*paths: str, **more: Any) -> Answer:
    return page("".join(f"<a href='{path}'>on</a>" for path in paths), **more)


# Several sites


def test_a_page_of_two_sites_is_fetched_once_and_belongs_to_the_first(site: Site, tmp_path: Path) -> None:
    site.routes |= {
        "/": linking("/a", "/both"),
        "/a": page("a"),
        "/both": linking("/c", "/gone"),
        "/c": page("c"),
        "/b": linking("/both", "/gone"),
    }
    first = SiteSource(name="first", start_urls=[site.url()], max_depth=1)
    second = SiteSource(name="second", start_urls=[site.url("/b")])
    result = Result(tmp_path, [first, second], site)
    assert result.of_source == {
        "first": [site.url(), site.url("/a"), site.url("/both")],
        "second": [site.url("/b"), site.url("/c")],
    }
    assert result.rows(site.url("/both")) == [("first", "ok"), ("second", "duplicate_url")]
    assert result.rows(site.url("/gone")) == [("second", "http_4xx")]
    assert max(Counter(site.asked).values()) == 1
    assert result.funnel["pages"] == 5
    assert result.funnel["page_statuses"] == {"ok": 5, "duplicate_url": 1, "http_4xx": 1}
    requests = read_rows(tmp_path / "ledger" / "requests" / "pages.parquet", REQUESTS)
    assert {row["url"]: row["attempts"] for row in requests if row["url"] == site.url("/both")} == {
        site.url("/both"): 1
    }
    assert len(requests) == len({row["url"] for row in result.ledger})


def test_each_site_keeps_its_own_limits(site: Site, tmp_path: Path) -> None:
    for n in range(20):
        site.routes[f"/{n}"] = linking(f"/{n + 1}")
        site.routes[f"/other/{n}"] = linking(f"/other/{n + 1}")
    deep = SiteSource(name="deep", start_urls=[site.url("/0")], max_depth=3)
    short = SiteSource(name="short", start_urls=[site.url("/other/0")], max_pages=6)
    result = Result(tmp_path, [deep, short], site)
    assert {name: len(urls) for name, urls in result.of_source.items()} == {"deep": 4, "short": 6}


def test_a_redirect_from_one_site_to_another_is_a_page_of_the_other_alone(site: Site, tmp_path: Path) -> None:
    with serving() as other:
        other.authority = other.authority.replace("127.0.0.1", "localhost")  # a port makes no other host
        site.routes |= {"/": linking("/out"), "/out": Answer(status=302, headers=(("Location", other.url("/in")),))}
        other.routes |= {"/": linking("/in"), "/in": page("in")}
        here = SiteSource(name="here", start_urls=[site.url()])
        away = SiteSource(name="away", start_urls=[other.url()])
        result = Result(tmp_path, [here, away], site, other)
    assert result.rows(site.url("/out")) == [("here", "off_site")]
    assert result.of_source == {"here": [site.url()], "away": [other.url(), other.url("/in")]}


def test_a_slow_site_does_not_hold_up_another(site: Site, tmp_path: Path) -> None:
    with serving() as slow:
        for n in range(4):
            slow.routes[f"/{n}"] = linking(f"/{n + 1}", delay=0.5)
        for n in range(30):
            site.routes[f"/{n}"] = linking(f"/{n + 1}")
        sources = [
            SiteSource(name="slow", start_urls=[slow.url("/0")]),
            SiteSource(name="quick", start_urls=[site.url("/0")], max_depth=30),
        ]
        result = Result(tmp_path, sources, slow, site)
        assert max(site.times) < slow.times[-1]
    assert [len(urls) for urls in result.of_source.values()] == [4, 30]


# Order


@pytest.mark.parametrize("seed", range(3))
def test_order_comes_from_the_links_and_not_from_the_network(site: Site, tmp_path: Path, seed: int) -> None:
    delays = random.Random(seed)
    for n in range(16):
        links = (f"/{3 * n + 2}", f"/{3 * n + 1}", f"/{(n * 7) % 16}", "/0")
        site.routes[f"/{n}"] = linking(*links, delay=delays.choice([0.0, 0.02, 0.1]))
    result = Result(tmp_path, [SiteSource(name="site", start_urls=[site.url("/0")], max_pages=12)], site)
    assert [row["url"].rpartition("/")[2] for row in result.pages] == ["0", "2", "1", "8", "7", "14", "5", "4"]
    missing = {row["url"].rpartition("/")[2] for row in result.ledger if row["status"] == "http_4xx"}
    assert missing == {"22", "23", "25", "26", "robots.txt"}
    assert all(one["depth"] <= other["depth"] for one, other in pairwise(result.pages))


# What the files are


def test_files_hold_a_thousand_pages_at_most_and_the_same_pages_give_the_same_bytes(tmp_path: Path) -> None:
    def write(directory: Path) -> None:
        with PageFiles(directory) as files:
            for n in range(2300):
                url = f"http://site.test/{n}"
                files.write({
                    "snapshot": "demo", "source": "site", "url": url, "final_url": url, "depth": 0, "body": b"x" * n
                })  # fmt: skip

    write(tmp_path / "one")
    write(tmp_path / "two")
    sizes = {path.name: pq.read_metadata(path).num_rows for path in sorted((tmp_path / "one").iterdir())}
    assert sizes == {"00000.parquet": 1000, "00001.parquet": 1000, "00002.parquet": 300}
    assert [row["url"][17:] for row in read_rows(tmp_path / "one", PAGES)] == [str(n) for n in range(2300)]
    for name in sizes:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_an_error_leaves_no_unfinished_file(tmp_path: Path) -> None:
    def write() -> None:
        with PageFiles(tmp_path) as files:
            row = {"snapshot": "demo", "source": "site", "url": "u", "final_url": "u", "depth": 0}
            files.write(row | {"body": b"x" * (17 << 20)})
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write()
    assert list(tmp_path.iterdir()) == []


# Pages that mean harm


def test_a_page_that_its_parser_does_not_survive_keeps_its_row(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("t2i_assets.crawl.pages.read_links", fragile_read_links)
    monkeypatch.setattr("t2i_assets.crawl.pages._PARSE_SECONDS", 1.0)
    site.routes |= {"/": linking("/dies", "/hangs", "/raises", "/well"), "/well": page("well")}
    site.routes |= {f"/{name}": page(f"please: {name}") for name in ("dies", "hangs", "raises")}
    result = Result(tmp_path, [SiteSource(name="site", start_urls=[site.url()])], site)
    assert [row["url"] for row in result.pages] == [site.url(), site.url("/well")]
    harmed = {row["url"].rpartition("/")[2]: row for row in result.ledger if row["status"] == "page_unreadable"}
    assert {name: row["detail"].partition(":")[0] for name, row in harmed.items()} == dict.fromkeys(
        ("dies", "hangs", "raises"), "parsing"
    )
    assert "not done within 1 s of CPU time" in harmed["hangs"]["detail"]
    assert "SIGKILL" in harmed["dies"]["detail"]


def fragile_read_links(body: bytes, content_type: str | None, url: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Do to the child what a page asks for."""
    import os
    import signal

    from t2i_assets.crawl.page_stage.links import read_links

    if b"please: dies" in body:
        os.kill(os.getpid(), signal.SIGKILL)
    while b"please: hangs" in body:
        pass
    if b"please: raises" in body:
        raise RecursionError("too deep")
    return read_links(body, content_type, url)


def test_a_page_of_very_many_links_gives_the_first_ten_thousand(site: Site, tmp_path: Path) -> None:
    trap = "".join(f"<a href=http://trap.test/{n}></a>" for n in range(150_000))
    site.routes["/"] = page(f"<a href=/first>f</a>{trap}<a href=/last>l</a>")
    result = Result(tmp_path, [SiteSource(name="site", start_urls=[site.url()])], site)
    assert result.funnel["links_off_site"] == MOST_LINKS - 1
    assert (site.count("/first"), site.count("/last")) == (1, 0)


def test_headers_that_are_no_text_do_not_stop_the_crawl(site: Site, tmp_path: Path) -> None:
    head = b'HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=\xff\xfe\r\nETag: "\xe9"\r\nX-Robots-Tag: \xe9\r\n'
    site.routes |= {"/": linking("/odd"), "/odd": Answer(raw=head + b"Content-Length: 5\r\n\r\nhello")}
    result = Result(tmp_path, [SiteSource(name="site", start_urls=[site.url()])], site)
    assert len(result.ledger) == 3


# Consent


@pytest.mark.parametrize(
    ("headers", "rule", "links"),
    [
        ((("X-Robots-Tag", "noai"),), "noai", True),
        ((("X-Robots-Tag", "none"),), "none", False),
        ((("X-Robots-Tag", "otherbot: noai"),), "allowed", True),
        ((("tdm-reservation", "1"), ("tdm-policy", "https://us.test/policy")), "tdm_reservation", True),
        ((("tdm-reservation", "0"),), "allowed", True),
    ],
)
def test_the_wish_of_a_page_is_on_its_row_and_can_be_judged_again(
    site: Site, tmp_path: Path, headers: tuple[tuple[str, str], ...], rule: str, links: bool
) -> None:
    site.routes |= {
        "/": page("<a href=/next>n</a><img src=/x.png alt='a red cat'>", headers=headers),
        "/next": page(""),
    }
    result = Result(tmp_path, [SiteSource(name="site", start_urls=[site.url()])], site)
    (row,) = [row for row in result.ledger if row["url"] == site.url()]
    assert row["consent"] == rule
    assert site.count("/next") == links
    told = "\n".join(value for name, value in headers if name == "X-Robots-Tag") or None
    assert result.pages[0]["x_robots_tag"] == told
    funnel = extract_pairs(tmp_path / "pages", tmp_path / "pairs", "demo", result.config)
    assert funnel["rejected"] == ({} if rule == "allowed" else {f"page_{rule}": 1})
    if rule == "tdm_reservation":
        assert "https://us.test/policy" in row["consent_evidence"]


# Archives


def archive(path: Path, *records: bytes) -> str:
    path.write_bytes(zipped(*records))
    return str(path)


def test_pages_of_archives_come_after_those_of_the_sites(site: Site, tmp_path: Path) -> None:
    site.routes["/"] = page("fetched")
    paths = [
        archive(
            tmp_path / "a.warc.gz",
            response("http://one.test/", "<p>one"),
            response(site.url(), "<p>recorded"),
            response("http://two.test/", "<p>two", (*HTML, ("X-Robots-Tag", "noai"))),
        ),
        archive(tmp_path / "b.warc.gz", response("http://one.test/", "<p>again"), response("http://three.test/", "3")),
    ]
    sources: list[Source] = [WarcSource(name="cc", paths=paths), SiteSource(name="site", start_urls=[site.url()])]
    result = Result(tmp_path / "home", sources, site)
    assert [(row["source"], row["url"], row["body"][:10]) for row in result.pages] == [
        ("site", site.url(), b"<!doctype "),
        ("cc", "http://one.test/", b"<p>one"),
        ("cc", "http://two.test/", b"<p>two"),
        ("cc", "http://three.test/", b"3"),
    ]
    assert result.rows(site.url()) == [("site", "ok"), ("cc", "duplicate_url")]
    assert result.rows("http://one.test/") == [("cc", "ok"), ("cc", "duplicate_url")]
    consent = {row["url"]: row["consent"] for row in result.ledger if row["kind"] == "page"}
    assert consent["http://two.test/"] == "noai"
    assert result.funnel["archive_statuses"] == {"ok": 2}
    assert result.funnel["pages"] == 4


def test_archives_alone_need_no_site_and_one_that_is_not_there_is_told(site: Site, tmp_path: Path) -> None:
    whole = archive(tmp_path / "a.warc.gz", response("http://one.test/", "<p>one"))
    sources: Sequence[Source] = [WarcSource(name="cc", paths=[site.url("/gone.warc.gz"), whole])]
    result = Result(tmp_path / "home", sources, site)
    assert result.of_source == {"cc": ["http://one.test/"]}
    assert result.rows(site.url("/gone.warc.gz")) == [("cc", "http_4xx")]
    with pytest.raises(CrawlFailedError, match=r"none of 1 archive URLs could be fetched .*gone\.warc\.gz: HTTP 404"):
        Result(tmp_path / "none", [WarcSource(name="cc", paths=[site.url("/gone.warc.gz")])], site)


def test_an_archive_that_is_done_is_not_read_again_after_a_failure(site: Site, tmp_path: Path) -> None:
    first = tmp_path / "a.warc.gz"
    archive(first, response("http://one.test/", "<p>one"))
    second = tmp_path / "b.warc.gz"
    sources: Sequence[Source] = [WarcSource(name="cc", paths=[str(first), str(second)])]
    with pytest.raises(ValueError, match=r"b\.warc\.gz"):
        Result(tmp_path / "home", sources, site)
    first.unlink()
    archive(second, response("http://two.test/", "<p>two"))
    result = Result(tmp_path / "home", sources, site)
    assert result.of_source == {"cc": ["http://one.test/", "http://two.test/"]}
    assert result.funnel["archive_statuses"] == {"ok": 2}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://Site.test:8080/x", "site.test"),
        ("http://[::1]:80/", "::1"),
        ("http://[::1]/", "::1"),
        ("http://site.test", "site.test"),
    ],
)
def test_the_name_of_a_host_is_read_from_every_form_of_url(url: str, name: str) -> None:
    assert host_name(url) == name

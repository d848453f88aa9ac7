"""The pairs stage: every source into one table, streaming, in an order that never changes, whatever a page does."""

import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from t2i_assets.corpus.schemas import LEDGER, PAGES, PAIRS
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.crawl import pairs
from t2i_assets.crawl.config import (
    CrawlConfig,
    FolderSource,
    Source,
    UrlListSource,
    WarcSource,
    WebDatasetSource,
)
from t2i_assets.crawl.ledger import LEDGER_FILE
from t2i_assets.crawl.page_stage.files import PageFiles
from t2i_assets.crawl.pairs import extract_pairs
from t2i_assets.crawl.status import CrawlFailedError
from tests.unit.crawl_site import picture
from tests.unit.fatal_pages import fatal_pages
from tests.unit.test_sources_webdataset import write_tar
from tests.unit.warc_files import wat, zipped

SITE = WarcSource(name="site", paths=["unused.warc"])


def configure(*sources: Source) -> CrawlConfig:
    return CrawlConfig(sources=list(sources), contact_url="https://us.test/bot")


def page(number: int, body: str, **more: Any) -> dict[str, Any]:
    url = f"http://a.test/{number}"
    row = {"snapshot": "demo", "source": "site", "url": url, "final_url": url, "depth": 0}
    return row | {"content_type": "text/html", "body": body.encode()} | more


def write_pages(directory: Path, rows: list[dict[str, Any]]) -> Path:
    write_table(directory / "00000.parquet", rows, PAGES)
    return directory


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.parent.name != "requests"
    }


@pytest.fixture
def everything(tmp_path: Path) -> tuple[Path, CrawlConfig]:
    """Pages, and one source of every kind that needs no crawl."""
    root = tmp_path / "sources"
    pages = write_pages(root / "pages", [page(n, f"<img src=/{n}.jpg alt='a red cat'>" * 2) for n in range(30)])
    list_file = root / "list.parquet"
    table = [{"url": "http://b.test/1.jpg", "text": "a green dog"}, {"url": None, "text": "nothing there"}]
    pq.write_table(pa.Table.from_pylist(table), list_file)
    (root / "photos").mkdir()
    (root / "photos" / "a.jpg").write_bytes(picture(1))
    (root / "photos" / "a.txt").write_text("a blue bird")
    tar = write_tar(root / "old.tar", [("x.jpg", picture(2)), ("x.txt", "a black horse"), ("y.jpg", picture(3))])
    links = [{"path": "IMG@/src", "url": "/1.jpg", "alt": "a white cow"}]
    (root / "x.wat.gz").write_bytes(zipped(wat("http://c.test/p", links), wat("http://c.test/q", status="404")))
    return pages, configure(
        SITE,
        UrlListSource(name="list", paths=[str(list_file)]),
        FolderSource(name="photos", path=str(root / "photos")),
        WarcSource(name="cc", paths=[str(root / "x.wat.gz")]),
        WebDatasetSource(name="old", paths=[str(tar)]),
    )


def test_every_source_comes_into_one_table_and_each_row_knows_its_source(
    tmp_path: Path, everything: tuple[Path, CrawlConfig]
) -> None:
    pages, config = everything
    seen: list[int] = []
    funnel = extract_pairs(pages, tmp_path / "pairs", "demo", config, lambda done, total, counts: seen.append(done))
    rows = read_rows(tmp_path / "pairs", PAIRS)
    assert [(row["source"], row["text"], row["rejected"]) for row in rows] == [
        *[("site", "a red cat", None)] * 60,
        ("list", "a green dog", None),
        ("list", "nothing there", "bad_url"),
        ("photos", "a blue bird", None),
        ("cc", "a white cow", None),
        ("old", "a black horse", None),
        ("old", None, "no_text"),
    ]
    assert [row["page_url"] for row in rows[:60]] == [f"http://a.test/{n // 2}" for n in range(60)]
    assert funnel == {
        "rows": 66,
        "image_urls": 36,
        "image_urls_to_fetch": 34,
        "rejected": {"bad_url": 1, "no_text": 1},
        "text_fields": {"alt": 61, "text": 1, "txt": 2},
        "text_labels": {"clean": 64},
        "rows_by_source": {"site": 60, "list": 2, "photos": 1, "cc": 1, "old": 2},
        "outcomes_by_source": {
            "site: ok": 60,
            "list: ok": 1,
            "list: bad_url": 1,
            "photos: ok": 1,
            "cc: ok": 1,
            "old: ok": 1,
            "old: no_text": 1,
        },
        "archive_statuses": {"ok": 1},
    }
    (archive,) = read_rows(tmp_path / "pairs" / LEDGER_FILE, LEDGER)
    assert (archive["kind"], archive["source"]) == ("archive", "cc")
    assert archive["detail"] == "1 records taken; passed over: 1 not_200"


def test_the_same_sources_give_the_same_bytes(tmp_path: Path, everything: tuple[Path, CrawlConfig]) -> None:
    pages, config = everything
    extract_pairs(pages, tmp_path / "once", "demo", config)
    other = config.model_copy(update={"images": config.images.model_copy(update={"workers": 1})})
    extract_pairs(pages, tmp_path / "twice", "demo", other)
    assert files(tmp_path / "once") == files(tmp_path / "twice")


def test_no_file_holds_more_than_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_ROWS_PER_FILE", 100)
    pages = write_pages(tmp_path / "pages", [page(0, "<img src=/x.jpg alt='a red cat'>" * 250)])
    out = tmp_path / "pairs"
    extract_pairs(pages, out, "demo", configure(SITE))
    assert {path.name: pq.read_metadata(path).num_rows for path in sorted(out.glob("*.parquet"))} == {
        "00000.parquet": 100,
        "00001.parquet": 100,
        "00002.parquet": 50,
    }
    extract_pairs(write_pages(tmp_path / "none", []), out, "demo", configure(SITE))
    assert [path.name for path in out.glob("*.parquet")] == ["00000.parquet"]
    assert read_rows(out, PAIRS) == []


@pytest.mark.parametrize(
    ("headers", "rejected"),
    [
        ({"x_robots_tag": "otherbot: noai\nnoimageai"}, "page_noimageai"),
        ({"tdm_reservation": "1"}, "page_tdm_reservation"),
        ({"x_robots_tag": "otherbot: noai"}, None),
    ],
)
def test_what_the_headers_of_a_page_forbid_is_obeyed(
    tmp_path: Path, headers: dict[str, str], rejected: str | None
) -> None:
    pages = write_pages(tmp_path / "pages", [page(0, "<img src=/x.jpg alt='a red cat'>", **headers)])
    extract_pairs(pages, tmp_path / "pairs", "demo", configure(SITE))
    assert [row["rejected"] for row in read_rows(tmp_path / "pairs", PAIRS)] == [rejected]


def test_a_page_that_no_parser_survives_has_a_row_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
    monkeypatch.setattr(pairs, "page_pairs", fatal_pages)
    monkeypatch.setattr(pairs, "_PAGE_SECONDS", 1.0)
    bodies = ["<img src=/1.jpg alt='a red cat'>", "die", "memory", "hang", "raise", "<img src=/2.jpg alt='a dog'>"]
    pages = write_pages(tmp_path / "pages", [page(n, body) for n, body in enumerate(bodies)])
    funnel = extract_pairs(pages, tmp_path / "pairs", "demo", configure(SITE))
    rows = read_rows(tmp_path / "pairs", PAIRS)
    assert [(row["image_url"], row["rejected"]) for row in rows] == [
        ("http://a.test/1.jpg", None),
        *[(f"http://a.test/{n}", "page_unreadable") for n in range(1, 5)],
        ("http://a.test/2.jpg", None),
    ]
    assert funnel["rejected"] == {"page_unreadable": 4}


def test_a_parser_that_survives_no_page_at_all_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent.parent))
    monkeypatch.setattr(pairs, "page_pairs", fatal_pages)
    pages = write_pages(tmp_path / "pages", [page(n, "raise") for n in range(20)])
    with pytest.raises(CrawlFailedError, match="source 'site': not one of its 20 pages could be parsed"):
        extract_pairs(pages, tmp_path / "pairs", "demo", configure(SITE))


def test_a_source_of_which_nothing_can_be_read_stops_the_run(tmp_path: Path) -> None:
    pages = write_pages(tmp_path / "pages", [])
    (tmp_path / "x.tar").write_bytes(b"no tar")
    with pytest.raises(CrawlFailedError, match="source 'old': not one of its files could be read"):
        extract_pairs(
            pages, tmp_path / "p", "demo", configure(WebDatasetSource(name="old", paths=[str(tmp_path / "x.tar")]))
        )
    config = configure(WarcSource(name="cc", paths=["http://127.0.0.1:9/x.wat.gz"]))
    with pytest.raises(CrawlFailedError, match=r"source 'cc': no archive could be read; http://127.0.0.1:9/x.wat.gz"):
        extract_pairs(pages, tmp_path / "p", "demo", config)


RUN = """
import sys
from pathlib import Path
from t2i_assets.crawl import pairs
from t2i_assets.crawl.config import CrawlConfig
pairs._ROWS_PER_FILE = pairs._ROWS_PER_REPORT = 100
pairs.extract_pairs(
    Path(sys.argv[2]), Path(sys.argv[3]), "demo", CrawlConfig.model_validate_json(sys.argv[1]),
    lambda done, total, counts: print(done, flush=True),
)
print(open("/proc/self/status").read() if Path("/proc/self/status").exists() else "")
"""


@pytest.mark.parametrize("kill_after", [200, 700])
def test_a_killed_run_leaves_nothing_that_ends_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_after: int
) -> None:
    pages = write_pages(tmp_path / "pages", [page(n, "<img src=/x.jpg alt='a red cat'>" * 10) for n in range(100)])
    out = tmp_path / "pairs"
    command = [sys.executable, "-c", RUN, configure(SITE).model_dump_json(), str(pages), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= kill_after:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert list(out.glob("*.parquet"))
    fewer = write_pages(tmp_path / "fewer", [page(n, "<img src=/x.jpg alt='a red cat'>") for n in range(3)])
    extract_pairs(fewer, out, "demo", configure(SITE))
    extract_pairs(fewer, tmp_path / "fresh", "demo", configure(SITE))
    assert files(out) == files(tmp_path / "fresh")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's peak memory")
def test_memory_does_not_grow_with_the_pages(tmp_path: Path) -> None:
    used = {}
    for count in (20, 200):
        body = "<img src=/x.jpg alt='a red cat'>" + "<p>" + "x" * 500_000
        directory = tmp_path / str(count)
        with PageFiles(directory) as written:
            for number in range(count):
                written.write(page(number, body + str(number)))
        command = [sys.executable, "-c", RUN, configure(SITE).model_dump_json(), str(directory), str(tmp_path / "out")]
        status = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peak = re.search(r"VmHWM:\s+(\d+)", status)
        assert peak is not None
        used[count] = int(peak[1]) // 1024
    assert used[200] - used[20] < 70, f"90 MB more of pages took {used} MB"

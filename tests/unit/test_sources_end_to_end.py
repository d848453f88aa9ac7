"""All kinds of sources in one snapshot, from the web, archives and local files to shards that know whose each is."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from t2i_assets.corpus.schemas import LEDGER
from t2i_assets.corpus.shards import iter_images, verify
from t2i_assets.corpus.tables import read_rows
from t2i_assets.crawl.config import (
    CrawlConfig,
    FetchConfig,
    FolderSource,
    ImageConfig,
    SiteSource,
    UrlListSource,
    WarcSource,
    WebDatasetSource,
)
from t2i_assets.crawl.ledger import LEDGER_FILE
from t2i_assets.crawl.pages import crawl_pages
from t2i_assets.crawl.pairs import extract_pairs
from t2i_assets.crawl.shards import fetch_images
from tests.unit.crawl_site import image, page, picture, serving
from tests.unit.test_sources_webdataset import write_tar
from tests.unit.warc_files import HTML, response, wat, zipped


def test_every_kind_of_source_ends_in_one_snapshot(tmp_path: Path) -> None:
    with serving() as site:
        site.routes |= {f"/{n}.png": image(n) for n in range(8)}
        site.routes["/"] = page("<img src=/0.png alt='from the site'>")
        robots = (*HTML, ("X-Robots-Tag", "noai"))
        (tmp_path / "x.warc.gz").write_bytes(
            zipped(
                response(site.url("/archived"), "<img src=/1.png alt='from an archive'>"),
                response(site.url("/private"), "<img src=/2.png alt='not for machines'>", robots),
            )
        )
        links = [{"path": "IMG@/src", "url": "/3.png", "alt": "from a note about a page"}]
        (tmp_path / "x.wat.gz").write_bytes(zipped(wat(site.url("/noted"), links)))
        table = [{"url": site.url("/4.png"), "text": "from a list"}, {"url": "file:///etc/passwd", "text": "a secret"}]
        pq.write_table(pa.Table.from_pylist(table), tmp_path / "list.parquet")
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.png").write_bytes(picture(5))
        (tmp_path / "photos" / "a.txt").write_text("from a folder")
        (tmp_path / "photos" / "b.png").write_bytes(picture(0))
        (tmp_path / "photos" / "b.txt").write_text("the same picture again")
        (tmp_path / "photos" / "broken.png").write_bytes(b"no picture" * 50)
        (tmp_path / "photos" / "broken.txt").write_text("nothing to see")
        stored = picture(6, (100, 90), "WEBP", quality=80)
        write_tar(tmp_path / "old.tar", [("x.webp", stored), ("x.txt", "from a tar")])
        config = CrawlConfig(
            sources=[
                SiteSource(name="site", start_urls=[site.url()]),
                WarcSource(name="archive", paths=[str(tmp_path / "x.warc.gz"), str(tmp_path / "x.wat.gz")]),
                UrlListSource(name="list", paths=[str(tmp_path / "list.parquet")]),
                FolderSource(name="photos", path=str(tmp_path / "photos")),
                WebDatasetSource(name="old", paths=[str(tmp_path / "old.tar")]),
            ],
            allow_loopback=[site.authority],
            contact_url="https://us.test/bot",
            fetch=FetchConfig(retries=0),
            images=ImageConfig(size=32),
        )
        crawl_pages(config, "demo", tmp_path / "pages", tmp_path / "ledger" / "pages.parquet")
        extract_pairs(tmp_path / "pages", tmp_path / "pairs", "demo", config)
        fetch_images(tmp_path / "pairs", config, "demo", tmp_path / "shards", tmp_path / "ledger" / "images.parquet")
        assert site.count("/2.png") == site.count("/archived") == site.count("/private") == 0
    assert verify(tmp_path / "shards") == []
    stored_of = {row["alt_text"]: (row, data) for row, data in iter_images(tmp_path / "shards")}
    assert {text: row["source"] for text, (row, _) in stored_of.items()} == {
        "the same picture again": "photos",
        "from an archive": "archive",
        "from a note about a page": "archive",
        "from a list": "list",
        "from a folder": "photos",
        "from a tar": "old",
    }
    twice, _ = stored_of["the same picture again"]
    assert {(text["text"], text["field"]) for text in twice["texts"]} == {
        ("from the site", "alt"),
        ("the same picture again", "txt"),
    }
    from_tar, data = stored_of["from a tar"]
    assert (data, from_tar["image_ext"]) == (stored, "webp")  # as it was, not encoded again
    outcomes = {
        (row["kind"], row["url"].rpartition("/")[2]): row["status"] for row in read_rows(tmp_path / "ledger", LEDGER)
    }
    assert outcomes[("archive", "x.warc.gz")] == "ok"
    assert outcomes[("image", "2.png")] == "consent_denied"
    assert outcomes[("image", "passwd")] == "bad_url"
    assert outcomes[("image", "broken.png")] == "decode_failed"
    (noted,) = read_rows(tmp_path / "pairs" / LEDGER_FILE, LEDGER)
    assert (noted["url"].rpartition("/")[2], noted["status"]) == ("x.wat.gz", "ok")

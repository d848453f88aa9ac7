"""Existing tars: samples as webdataset groups them, images found by seeking, and what is broken has a row."""

import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
import webdataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2i_assets.crawl.config import CrawlConfig, WebDatasetSource
from t2i_assets.crawl.sources.direct import pair_rows
from t2i_assets.crawl.sources.local import LocalImageError, read_local
from t2i_assets.crawl.sources.rows import SourceError
from t2i_assets.crawl.status import Status
from tests.unit.crawl_site import picture

Members = list[tuple[str, bytes | str]]


def write_tar(path: Path, members: Members, format: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in members:
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def tars(*paths: Path | str, **fields: Any) -> WebDatasetSource:
    return WebDatasetSource(name="old", paths=[str(path) for path in paths], **fields)


def rows_from(source: WebDatasetSource) -> list[dict[str, Any]]:
    return list(pair_rows(source, CrawlConfig(sources=[source]), "demo"))


def outcomes(source: WebDatasetSource) -> list[tuple[str, str | None, str | None]]:
    """Return (tar and member, text, rejection) of each row."""
    return [(row["image_url"].rpartition("/")[2], row["text"], row["rejected"]) for row in rows_from(source)]


def test_samples_are_grouped_and_their_texts_read(tmp_path: Path) -> None:
    about = {"caption": "a red circle", "url": "http://a.test/1.jpg", "license": "https://cc.test/by", "width": 3}
    path = write_tar(
        tmp_path / "00000.tar",
        [
            ("0001.jpg", picture(1)),
            ("0001.txt", "a red circle"),
            ("0001.json", json.dumps(about)),
            ("0002.png", picture(2)),
            ("0002.webp", picture(3)),
            ("0002.caption", "two   cats"),
            ("0003.jpg", picture(4)),
            ("0004.txt", "a text alone"),
            ("0005.jpg", picture(5)),
            ("0005.json", "{broken"),
            ("0006.jpg", picture(6)),
            ("0006.json", "{broken"),
            ("0006.txt", "a dog on grass"),
            ("README", "hello"),
            ("sub.dir/0007.JPG", picture(7)),
            ("sub.dir/0007.txt", "a bird"),
        ],
    )
    source = tars(path)
    assert outcomes(source) == [
        ("00000.tar#0001.jpg", "a red circle", None),
        ("00000.tar#0002.png", "two cats", None),
        ("00000.tar#0003.jpg", None, "no_text"),
        ("00000.tar#0004", "a text alone", "no_image"),
        ("00000.tar#0005.jpg", None, "bad_text"),
        ("00000.tar#0006.jpg", "a dog on grass", None),
        ("00000.tar#0006.jpg", None, "bad_text"),
        ("00000.tar#README", None, "no_image"),
        ("0007.JPG", "a bird", None),
    ]
    first, second = rows_from(source)[:2]
    assert (first["page_url"], first["license_url"]) == ("http://a.test/1.jpg", "https://cc.test/by")
    assert (second["page_url"], second["license_url"]) == (path.resolve().as_uri(), None)
    assert [row["position"] for row in rows_from(source)] == [0, 1, 2, 3, 4, 5, 5, 6, 7]


def test_samples_are_those_of_the_webdataset_library(tmp_path: Path) -> None:
    members: Members = []
    for n in range(20):
        members += [(f"d{n % 3}/{n:04d}.jpg", picture(n)), (f"d{n % 3}/{n:04d}.txt", f"picture number {n}")]
    path = write_tar(tmp_path / "x.tar", members)
    theirs = [
        (sample["jpg"], sample["txt"].decode())
        for sample in webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
    ]
    source = tars(path)
    assert [(read_local(row["image_url"], source), row["text"]) for row in rows_from(source)] == theirs


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_members_of_any_tar_are_found_again(tmp_path: Path, format: int) -> None:
    names = ["plain", "with space", "hash#mark", "percent%41", "long" * 20]
    names += [] if format == tarfile.USTAR_FORMAT else ["größe", "very/" + "long" * 60]
    members: Members = []
    for number, name in enumerate(names):
        members += [(f"{name}.jpg", picture(number)), (f"{name}.txt", f"picture number {number}")]
    source = tars(write_tar(tmp_path / "t#a%r.tar", members, format))
    rows = rows_from(source)
    assert [read_local(row["image_url"], source) for row in rows] == [picture(n) for n in range(len(names))]


def test_ranges_and_globs_are_read_in_order(tmp_path: Path) -> None:
    for number in range(12):
        write_tar(tmp_path / f"{number:03d}.tar", [("a.jpg", picture(number)), ("a.txt", f"number {number}")])
    texts = [row["text"] for row in rows_from(tars(tmp_path / "{008..011}.tar", tmp_path / "00[01].tar"))]
    assert texts == ["number 8", "number 9", "number 10", "number 11", "number 0", "number 1"]
    with pytest.raises(SourceError, match=r"there is no file .*012.tar"):
        rows_from(tars(tmp_path / "{010..012}.tar"))


def test_a_name_that_comes_twice_does_not_get_the_wrong_picture(tmp_path: Path) -> None:
    members: Members = [("a.jpg", picture(1)), ("a.txt", "first one"), ("b.jpg", picture(2)), ("b.txt", "b text")]
    members += [("a.jpg", picture(3)), ("a.txt", "second one")]
    source = tars(write_tar(tmp_path / "x.tar", members))
    assert outcomes(source)[::2] == [("x.tar#a.jpg", "first one", None), ("x.tar#a.jpg", "second one", "duplicate_url")]
    assert read_local(rows_from(source)[0]["image_url"], source) == picture(1)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 39_000))
def test_a_tar_that_breaks_off_gives_what_is_whole_and_a_row_that_names_it(tmp_path: Path, cut: int) -> None:
    members: Members = []
    for number in range(10):
        members += [(f"{number}.jpg", bytes([number + 1]) * 2500), (f"{number}.txt", f"number {number}")]
    whole = write_tar(tmp_path / "whole.tar", members).read_bytes()
    path = tmp_path / f"cut{cut}.tar"
    path.write_bytes(whole[:cut])
    source = tars(path)
    *rows, last = rows_from(source)
    assert (last["image_url"], last["rejected"]) == (path.resolve().as_uri(), "bad_archive")
    images = [512 + n * 4096 + 2500 for n in range(10)]  # bytes up to the end of each, members filled up to 512
    texts = [3072 + 512 + n * 4096 + len("number 0") for n in range(10)]
    assert len(rows) == sum(end <= cut for end in images)
    assert [row["text"] for row in rows if row["text"]] == [f"number {n}" for n in range(10) if texts[n] <= cut]
    for number, row in enumerate(rows):
        assert read_local(row["image_url"], source) == bytes([number + 1]) * 2500
    path.unlink()


def test_garbage_within_a_tar_is_not_taken_for_its_end(tmp_path: Path) -> None:
    members: Members = [(f"{n}.{ext}", "x" * 600) for n in range(4) for ext in ("jpg", "txt")]
    path = write_tar(tmp_path / "x.tar", members)
    data = bytearray(path.read_bytes())
    data[2 * 3072 : 2 * 3072 + 512] = b"g" * 512
    path.write_bytes(data)
    assert [row["rejected"] for row in rows_from(tars(path))] == [None, None, "bad_archive"]


def test_a_compressed_tar_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").touch()
    with pytest.raises(SourceError, match=r"x.tar.gz is compressed: unpack it"):
        rows_from(tars(tmp_path / "x.tar.gz"))


def test_only_the_tars_of_the_source_are_opened(tmp_path: Path) -> None:
    mine = write_tar(tmp_path / "mine.tar", [("a.jpg", picture(1)), ("a.txt", "a cat")])
    other = write_tar(tmp_path / "other.tar", [("a.jpg", picture(2))])
    source = tars(mine)
    uri = mine.resolve().as_uri()
    for address, status in (
        (f"{other.resolve().as_uri()}#a.jpg", Status.OFF_SITE),
        (f"{uri}#b.jpg", Status.FILE_MISSING),
        (uri, Status.FILE_MISSING),
        ("https://a.test/mine.tar#a.jpg", Status.BAD_URL),
    ):
        with pytest.raises(LocalImageError) as caught:
            read_local(address, source)
        assert caught.value.status == status


def test_a_tar_that_was_replaced_is_looked_through_again(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", [("a.jpg", b"old"), ("a.txt", "a cat")])
    source, url = tars(path), f"{path.resolve().as_uri()}#a.jpg"
    assert read_local(url, source) == b"old"
    write_tar(tmp_path / "y.tar", [("b.txt", "before it"), ("a.jpg", b"newer")]).replace(path)
    assert read_local(url, source) == b"newer"


def test_ten_thousand_members_are_not_searched_for_ten_thousand_times(tmp_path: Path) -> None:
    members: Members = [(f"{n:05d}.{ext}", f"{n}") for n in range(5000) for ext in ("jpg", "txt")]
    source = tars(write_tar(tmp_path / "x.tar", members, tarfile.USTAR_FORMAT))
    uri = (tmp_path / "x.tar").resolve().as_uri()
    clock = time.process_time()
    assert all(read_local(f"{uri}#{n:05d}.jpg", source) == str(n).encode() for n in range(5000))
    assert time.process_time() - clock < 5  # a search each would take minutes

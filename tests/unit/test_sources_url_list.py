"""URL lists: every row of every form is accounted for, and none of them is read whole."""

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2i_assets.crawl.config import CrawlConfig, UrlListSource
from t2i_assets.crawl.sources.direct import pair_rows
from t2i_assets.crawl.sources.rows import SourceError

Row = dict[str, Any]


def rows_from(*paths: Path, **fields: Any) -> list[Row]:
    source = UrlListSource(name="list", paths=[str(path) for path in paths], **fields)
    config = CrawlConfig(sources=[source], contact_url="https://us.test/bot")
    return list(pair_rows(source, config, "demo"))


def outcome(row: Row) -> tuple[str, str | None, str | None]:
    return row["image_url"], row["text"], row["rejected"]


def write(path: Path, rows: list[Row]) -> Path:
    """Write rows in the form that the name asks for."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
        return path
    text = io.StringIO(newline="")
    if name.endswith(".jsonl"):
        text.writelines(json.dumps(row) + "\n" for row in rows)
    else:
        style: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if name.endswith(".tsv") else {}
        writer = csv.DictWriter(text, list(rows[0]), **style)
        writer.writeheader()
        writer.writerows(rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


FORMS = ["parquet", "csv", "tsv", "jsonl", "csv.gz", "tsv.gz", "jsonl.gz"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(tmp_path: Path, form: str) -> None:
    table = [
        {"url": "http://A.test/1.jpg", "text": "a red   circle &amp; a dog", "page": "http://a.test/p", "lic": ""},
        {"url": None, "text": "two cats", "page": None, "lic": "https://cc.test/by"},
        {"url": "ftp://a.test/2.jpg", "text": "three green birds", "page": "nowhere", "lic": None},
        {"url": "http://a.test/3.jpg", "text": "", "page": "http://a.test/q", "lic": "https://cc.test/by"},
        {"url": "file:///etc/passwd", "text": "a secret of mine", "page": None, "lic": None},
    ]
    path = write(tmp_path / f"list.{form}", table)
    rows = rows_from(path, page_column="page", license_column="lic")
    assert [outcome(row) for row in rows] == [
        ("http://a.test/1.jpg", "a red circle & a dog", None),
        (f"{path.as_uri()}#row=1", "two cats", "bad_url"),
        ("ftp://a.test/2.jpg", "three green birds", "bad_url"),
        ("http://a.test/3.jpg", None, "no_text"),
        ("file:///etc/passwd", "a secret of mine", "bad_url"),
    ]
    assert [row["page_url"] for row in rows] == [
        "http://a.test/p",
        *[path.as_uri()] * 2,
        "http://a.test/q",
        path.as_uri(),
    ]
    assert [row["license_url"] for row in rows] == [None, "https://cc.test/by", None, "https://cc.test/by", None]
    assert {(row["source"], row["image_field"]) for row in rows} == {("list", "url_list")}
    assert [row["position"] for row in rows] == [0, 1, 2, 3, 4]


def test_several_text_columns_give_one_row_each_in_order_of_trust(tmp_path: Path) -> None:
    table = [{"u": "http://a.test/1.jpg", "short": "a dog", "long": ["a dog on grass", "IMG_0001.jpg", "a dog"]}]
    path = write(tmp_path / "list.parquet", table)
    rows = rows_from(path, url_column="u", text_columns=["long", "short"])
    assert [(row["text"], row["text_field"]) for row in rows] == [
        ("a dog on grass", "long"),
        ("IMG_0001.jpg", "long"),
        ("a dog", "long"),
    ]
    assert rows[1]["labels"] == ["file_name"]


def test_files_without_a_line_of_names_are_read_by_the_names_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "cc3m.tsv"
    path.write_text('a very "typical" bus\thttp://a.test/1.jpg\n"unclosed quote\thttp://a.test/2.jpg\n')
    rows = rows_from(path, columns=["text", "url"])
    assert [row["text"] for row in rows] == ['a very "typical" bus', '"unclosed quote']


@pytest.mark.parametrize("form", FORMS)
def test_a_missing_column_is_named_with_its_file_and_the_columns_there_are(tmp_path: Path, form: str) -> None:
    good = write(tmp_path / "a.jsonl", [{"URL": "http://a.test/1.jpg", "TEXT": "a cat"}])
    bad = write(tmp_path / f"b.{form}", [{"URL": "http://a.test/1.jpg", "caption": "a cat"}])
    with pytest.raises(SourceError, match=rf"{bad} has no column 'TEXT': its columns are URL, caption"):
        rows_from(good, bad, url_column="URL", text_columns=["TEXT"])


def test_a_file_that_is_not_there_or_of_no_known_form_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no file '.*/none-.*parquet'"):
        rows_from(tmp_path / "none-*.parquet")
    (tmp_path / "list.xlsx").touch()
    with pytest.raises(SourceError, match=r"list.xlsx is not one of .parquet, .csv"):
        rows_from(tmp_path / "list.xlsx")


def test_rows_that_cannot_be_read_keep_their_place(tmp_path: Path) -> None:
    lines = [
        b'{"url": "http://a.test/1.jpg", "text": "a cat"}',
        b'{"url": "http://a.test/2.jpg", "text": ',
        b"[1, 2]",
        b'{"url": "http://a.test/3.jpg", "text": {"en": "a dog"}}',
        b'{"url": "http://a.test/4\\ud800.jpg", "text": "a \\ud800 bird \xff"}',
        b"[" * 100_000,
        b'{"url": "http://a.test/' + b"x" * 11_000_000 + b'.jpg", "text": "a cow"}',
        b"",
        b'{"url": "http://a.test/5.jpg", "text": "a horse"}',
    ]
    path = tmp_path / "list.jsonl"
    path.write_bytes(b"\n".join(lines))
    rows = rows_from(path)
    reasons = [row["rejected"] for row in rows]
    assert reasons == [None, "bad_row", "bad_row", "bad_text", None, "bad_row", "bad_row", None]
    assert rows[1]["image_url"] == f"{path.as_uri()}#row=1"
    assert rows[4]["text"] == "a bird �"
    assert rows[-1]["image_url"] == "http://a.test/5.jpg"
    pa.Table.from_pylist(rows)  # what JSON can carry, UTF-8 may not


def test_ragged_lines_of_a_csv_are_rows_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(
        b'\xef\xbb\xbfurl,text\nhttp://a.test/1.jpg,"a cat\nand a dog"\nonly one\na,b,c\nhttp://a.test/2.jpg,b c\n'
    )
    rows = rows_from(path)
    assert [row["rejected"] for row in rows] == [None, "bad_row", "bad_row", None]
    assert rows[0]["text"] == "a cat and a dog"


@pytest.mark.parametrize("form", ["parquet", "csv.gz", "jsonl.gz"])
def test_what_is_whole_of_a_cut_file_is_read_and_the_rest_has_a_row(tmp_path: Path, form: str) -> None:
    table = [{"url": f"http://a.test/{n}.jpg", "text": f"picture {n} of {n * 7919 % 1000}"} for n in range(20_000)]
    path = write(tmp_path / f"list.{form}", table)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    rows = rows_from(path)
    assert (rows[-1]["image_url"], rows[-1]["rejected"]) == (path.as_uri(), "bad_archive")
    assert all(row["rejected"] is None for row in rows[:-1])
    if form == "parquet":  # its index stands at its end
        assert len(rows) == 1
    else:
        assert 5000 < len(rows) < 15_000


def test_a_damaged_row_group_ends_its_file_not_the_list(tmp_path: Path) -> None:
    first, second = tmp_path / "1.parquet", tmp_path / "2.parquet"
    table = [{"url": f"http://a.test/{n}.jpg", "text": f"picture number {n}"} for n in range(40_000)]
    pq.write_table(pa.Table.from_pylist(table), first, row_group_size=10_000, compression="zstd", use_dictionary=False)
    group = pq.read_metadata(first).row_group(2).column(0)
    data = bytearray(first.read_bytes())
    start = group.data_page_offset + 100
    data[start : start + group.total_compressed_size - 200] = bytes(group.total_compressed_size - 200)
    first.write_bytes(data)
    write(second, [{"url": "http://b.test/1.jpg", "text": "the other file"}])
    rows = rows_from(first, second)
    assert [row["rejected"] for row in rows[20_000:]] == ["bad_archive", None]
    assert rows[-1]["text"] == "the other file"


def test_max_rows_counts_over_all_files(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / f"{name}.csv", [{"url": f"http://{name}.test/{n}.jpg", "text": "a cat"} for n in range(3)])
    rows = rows_from(tmp_path / "*.csv", max_rows=4)
    assert [row["image_url"] for row in rows] == [*(f"http://a.test/{n}.jpg" for n in range(3)), "http://b.test/0.jpg"]


_CELL = st.one_of(st.none(), st.text(max_size=30), st.sampled_from(["http://a.test/x.jpg", "//a", "https://b.test"]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.lists(st.fixed_dictionaries({"url": _CELL, "text": _CELL}), min_size=1, max_size=20),
    form=st.sampled_from(["parquet", "jsonl", "csv", "csv.gz"]),
)
def test_every_row_is_accounted_for(tmp_path: Path, table: list[Row], form: str) -> None:
    if form == "parquet":
        schema = pa.schema([("url", pa.string()), ("text", pa.string())])
        pq.write_table(pa.Table.from_pylist(table, schema), path := tmp_path / "list.parquet")
    else:
        path = write(tmp_path / f"list.{form}", table)
    rows = rows_from(path)
    assert [row["position"] for row in rows] == list(range(len(table)))
    assert all(row["text"] or row["rejected"] for row in rows)


MEASURE = """
import re, sys
from t2i_assets.crawl.config import CrawlConfig, UrlListSource
from t2i_assets.crawl.sources.url_list import url_list_offers
offers = sum(1 for _ in url_list_offers(UrlListSource(name="list", paths=[sys.argv[1]])))
print(offers, int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell a process's peak memory")
@pytest.mark.parametrize("form", ["parquet", "jsonl.gz"])
def test_memory_does_not_grow_with_the_list(tmp_path: Path, form: str) -> None:
    used = {}
    for rows in (20_000, 100_000):
        path = tmp_path / f"{rows}.{form}"
        columns = {
            "url": [f"http://a.test/{n}/{'x' * 200}.jpg" for n in range(rows)],
            "text": [f"picture {n} {'of something ' * 20}" for n in range(rows)],
        }
        if form == "parquet":  # one row group: a reader that takes whole groups takes all of it
            pq.write_table(pa.table(columns), path, row_group_size=rows, use_dictionary=False, compression="none")
        else:
            pairs = zip(columns["url"], columns["text"], strict=True)
            with gzip.open(path, "wt", compresslevel=1) as file:
                file.writelines(json.dumps({"url": url, "text": text}) + "\n" for url, text in pairs)
        command = [sys.executable, "-c", MEASURE, str(path)]
        found, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert int(found) == rows
        used[rows] = int(megabytes)
    assert used[100_000] - used[20_000] < 20, f"the list of 50 MB took {used}"

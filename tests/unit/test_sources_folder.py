"""Folders: images with texts beside them or in a COCO file; nothing outside the folder is ever opened."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t2i_assets.crawl.config import CrawlConfig, FolderSource
from t2i_assets.crawl.sources.direct import pair_rows
from t2i_assets.crawl.sources.local import LocalImageError, read_local
from t2i_assets.crawl.sources.rows import SourceError
from t2i_assets.crawl.status import Status
from tests.unit.crawl_site import picture


def folder(path: Path, **fields: Any) -> FolderSource:
    return FolderSource(name="mine", path=str(path), **fields)


def rows_from(source: FolderSource) -> list[dict[str, Any]]:
    return list(pair_rows(source, CrawlConfig(sources=[source]), "demo"))


def outcomes(source: FolderSource) -> list[tuple[str, str | None, str | None]]:
    """Return (path or fragment, text, rejection) of each row."""
    root = Path(source.path).resolve().as_uri()
    return [(row["image_url"].removeprefix(f"{root}/"), row["text"], row["rejected"]) for row in rows_from(source)]


def lay(root: Path, **files: str | bytes) -> Path:
    """Write files by name (two underscores part directories, one stands for the dot)."""
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def test_texts_lie_beside_their_images(tmp_path: Path) -> None:
    lay(
        tmp_path,
        a_jpg=picture(1),
        a_txt="a red circle\n",
        b_PNG=picture(2),
        b_json='{"caption": ["a cat", null, "two cats"], "alt": "a cat", "other": "x"}',
        sub__c_webp=picture(3),
        sub__c_txt="\ufeffa dog on grass",
        sub__c_json='{"text": "a dog"}',
        sub__d_gif=picture(4),
        notes_txt="these are my photos",
    )
    assert outcomes(folder(tmp_path)) == [
        ("a.jpg", "a red circle", None),
        ("b.PNG", "a cat", None),
        ("b.PNG", "two cats", None),
        ("sub/c.webp", "a dog on grass", None),
        ("sub/c.webp", "a dog", None),
        ("sub/d.gif", None, "no_text"),
    ]
    rows = rows_from(folder(tmp_path, license_url="https://creativecommons.org/licenses/by/4.0/"))
    assert [row["text_field"] for row in rows] == ["txt", "caption", "caption", "txt", "text", None]
    assert {row["license_url"] for row in rows} == {"https://creativecommons.org/licenses/by/4.0/"}
    assert {row["page_url"] for row in rows} == {tmp_path.resolve().as_uri()}


@pytest.mark.parametrize(
    "content", ["{", "[]", '"a cat"', '{"caption": 3}', '{"caption": ["a", {}]}', b"\xff\xfe\x00", "[" * 99_999]
)
def test_a_json_that_cannot_be_read_has_a_row(tmp_path: Path, content: str | bytes) -> None:
    lay(tmp_path, a_jpg=picture(1), a_json=content, b_jpg=picture(2), b_json=content, b_txt="a cat on a mat")
    assert outcomes(folder(tmp_path)) == [
        ("a.jpg", None, "bad_text"),
        ("b.jpg", "a cat on a mat", None),
        ("b.jpg", None, "bad_text"),
    ]


def test_links_out_of_the_folder_are_not_followed_and_hidden_files_not_seen(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    lay(outside, secret_jpg=picture(1), secret_txt="a secret")
    lay(
        root,
        a_jpg=picture(2),
        a_txt="a red circle",
        _hidden_jpg=picture(3),
        _dir__b_jpg=picture(4),
        real__c_jpg=picture(5),
    )
    (root / "link.jpg").symlink_to(outside / "secret.jpg")
    (root / "elsewhere").symlink_to(outside)
    (root / "around").symlink_to(root)
    (root / "within.jpg").symlink_to(root / "a.jpg")
    (root / "real" / "c.txt").symlink_to(outside / "secret.txt")
    (root / "broken.jpg").symlink_to(root / "nothing.jpg")
    os.mkfifo(root / "pipe.jpg")
    source = folder(root)
    assert outcomes(source) == [
        ("a.jpg", "a red circle", None),
        ("broken.jpg", None, "no_text"),
        ("link.jpg", None, "outside_source"),
        ("pipe.jpg", None, "no_text"),
        ("real/c.jpg", None, "no_text"),
        ("within.jpg", None, "no_text"),
    ]
    uri = root.resolve().as_uri()
    assert read_local(f"{uri}/within.jpg", source) == picture(2)
    for address, status in (
        (f"{uri}/link.jpg", Status.OFF_SITE),
        (f"{uri}/elsewhere/secret.jpg", Status.OFF_SITE),
        (f"{uri}/../outside/secret.jpg", Status.OFF_SITE),
        (f"{uri}/%2e%2e/outside/secret.jpg", Status.OFF_SITE),
        ("file:///etc/passwd", Status.OFF_SITE),
        (f"{uri}/pipe.jpg", Status.FILE_MISSING),
        (f"{uri}/broken.jpg", Status.FILE_MISSING),
        (uri, Status.FILE_MISSING),
        ("http://a.test/1.jpg", Status.BAD_URL),
        (f"file://elsewhere{root}/a.jpg", Status.BAD_URL),
        (f"{uri}/a.jpg?x=%00", Status.BAD_URL),
        (f"{uri}/%00.jpg", Status.BAD_URL),
    ):
        with pytest.raises(LocalImageError) as caught:
            read_local(address, source)
        assert caught.value.status == status, address


def test_an_image_above_the_cap_is_not_read(tmp_path: Path) -> None:
    lay(tmp_path, a_jpg=bytes(1000))
    with pytest.raises(LocalImageError, match="1000 bytes are above the cap of 999") as caught:
        read_local((tmp_path / "a.jpg").resolve().as_uri(), folder(tmp_path), 999)
    assert caught.value.status == Status.TOO_LARGE


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]) | st.sampled_from("#%?&+ ;=é"),
        min_size=1,
        max_size=30,
    ).filter(lambda name: not name.startswith("."))
)
def test_an_image_of_any_name_is_found_again_by_its_address(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    root = tmp_path_factory.mktemp("photos")
    (root / f"{name}.jpg").write_bytes(name.encode())
    source = folder(root)
    (row,) = rows_from(source)
    assert read_local(row["image_url"], source) == name.encode()


# COCO


def coco(path: Path, **more: Any) -> Path:
    document = {
        "images": [
            {"id": 1, "file_name": "a.jpg", "license": 7},
            {"id": "two", "file_name": "sub/b.jpg"},
            {"id": 3, "file_name": "gone.jpg"},
            {"id": 4, "file_name": "../outside.jpg"},
        ],
        "annotations": [
            {"image_id": 1, "caption": "a red circle"},
            {"image_id": 1, "caption": "one circle\n on white"},
            {"image_id": "two", "caption": "a cat"},
            {"image_id": "two", "caption": 5},
            {"image_id": 3, "caption": "a dog"},
            {"image_id": 99, "caption": "nobody"},
        ],
        "licenses": [{"id": 7, "url": "http://creativecommons.org/licenses/by/2.0/"}, {"id": 8}],
    }
    path.write_text(json.dumps(document | more))
    return path


def test_captions_may_stand_in_one_coco_file(tmp_path: Path) -> None:
    root = lay(tmp_path / "photos", a_jpg=picture(1), sub__b_jpg=picture(2), unnamed_jpg=picture(3), a_txt="not this")
    lay(tmp_path, outside_jpg=picture(4))
    captions = coco(tmp_path / "captions.json")
    source = folder(root, captions=str(captions))
    assert outcomes(source) == [
        ("a.jpg", "a red circle", None),
        ("a.jpg", "one circle on white", None),
        ("sub/b.jpg", "a cat", None),
        ("sub/b.jpg", None, "bad_text"),
        ("unnamed.jpg", None, "no_text"),
        ("gone.jpg", None, "no_image"),
        ((tmp_path / "outside.jpg").resolve().as_uri(), None, "outside_source"),
        (f"{captions.resolve().as_uri()}#image_id=99", None, "no_image"),
    ]
    assert rows_from(source)[0]["license_url"] == "http://creativecommons.org/licenses/by/2.0/"


@pytest.mark.parametrize("broken", [{"images": None}, {"annotations": [1]}, {"images": [{"id": 1}]}, {"licenses": 3}])
def test_a_file_that_is_not_coco_is_named(tmp_path: Path, broken: dict[str, Any]) -> None:
    captions = coco(tmp_path / "captions.json", **broken)
    with pytest.raises(SourceError, match=r"captions.json is not a COCO captions file"):
        rows_from(folder(tmp_path, captions=str(captions)))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere is not a directory"):
        rows_from(folder(tmp_path / "nowhere"))

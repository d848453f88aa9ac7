"""Every preset in docs/own-data.md is one that loads, and the page tells every reason there is."""

import re
from pathlib import Path

import pytest

from t2i_assets.config import SettingsError, load_settings
from t2i_assets.crawl.config import CrawlConfig, FolderSource, UrlListSource, WebDatasetSource
from t2i_assets.crawl.sources.rows import SourceError
from t2i_assets.crawl.sources.state import local_state

PAGE = Path(__file__).parent.parent.parent / "docs" / "own-data.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
KINDS = {"site", "warc", "url_list", "folder", "webdataset"}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_presets_of_the_page_load(tmp_path: Path, number: int) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text(BLOCKS[number])
    assert load_settings(str(preset)).crawl.sources


def test_the_page_shows_every_kind_and_several_in_one(tmp_path: Path) -> None:
    shown = []
    for number, block in enumerate(BLOCKS):
        (tmp_path / f"{number}.yaml").write_text(block)
        shown.append([source.kind for source in load_settings(str(tmp_path / f"{number}.yaml")).crawl.sources])
    assert {kind for kinds in shown for kind in kinds} == KINDS
    assert any(len(set(kinds)) > 2 for kinds in shown)


def test_a_misspelt_field_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(BLOCKS[1].replace("url_column", "url_colum"))
    with pytest.raises(SettingsError, match=r"sources.0.url_list.url_colum"):
        load_settings(str(tmp_path / "mine.yaml"))


def test_the_web_is_not_asked_anonymously(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(re.sub(r"contact_url:.*", "", BLOCKS[0]))
    with pytest.raises(SettingsError, match="contact_url is empty"):
        load_settings(str(tmp_path / "mine.yaml"))


def test_a_file_that_changes_changes_the_digest_of_its_source(tmp_path: Path) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "list.csv").write_text("url,text\n")
    (tmp_path / "a.tar").touch()
    config = CrawlConfig(
        sources=[
            FolderSource(name="photos", path=str(tmp_path / "photos")),
            UrlListSource(name="list", paths=[str(tmp_path / "*.csv")]),
            WebDatasetSource(name="old", paths=[str(tmp_path / "a.tar")]),
        ],
        contact_url="https://us.test/bot",
    )
    states = [local_state(config)]
    for name in ("photos/deep/a.txt", "list.csv", "a.tar", "more.csv"):
        (tmp_path / name).write_text("changed")
        states.append(local_state(config))
    assert len(set(states)) == 5
    assert local_state(config) == states[-1]
    (tmp_path / "a.tar").unlink()
    with pytest.raises(SourceError, match="there is no file"):
        local_state(config)

"""A purge leaves no byte of a sample under the home, keeps all others, and names what learned from it."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from t2i_assets.cli import main
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.purge import Purge, carry_out, list_purges, plan_purge
from t2i_assets.corpus.shards import iter_images, read_samples, verify
from t2i_assets.corpus.suppression import Suppression
from t2i_assets.crawl.journal import Journal
from tests.sample_home import SNAPSHOT, make_home


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("whole"), samples=30, scenes=6).root


@pytest.fixture
def home(whole: Path, tmp_path: Path) -> Home:
    shutil.copytree(whole, tmp_path / "home")
    return Home(tmp_path / "home")


def _images(home: Home) -> dict[str, bytes]:
    return {row["key"]: data for row, data in iter_images(home.shards(SNAPSHOT))}


def _holding_rows(home: Home, key: str) -> list[str]:
    """Return the tables below the home, ledgers and the record of purges left out, with a row of the sample."""
    found = []
    for file in home.root.rglob("*.parquet"):
        place = file.relative_to(home.root)
        table = pq.read_table(file)
        told = place.parts[0] in {"ledger", "purges"} or "status" in table.column_names
        names = {"key", "cluster"} & set(table.column_names)
        if not told and any(key in table[name].to_pylist() for name in names):
            found.append(str(place))
    return found


def test_no_byte_of_the_sample_remains_and_every_other_image_does(home: Home) -> None:
    before = _images(home)
    key = next(iter(before))
    old_digest = json.loads((home.shards(SNAPSHOT) / "manifest.json").read_text())
    partial = home.shards(SNAPSHOT).parent / f".{SNAPSHOT}.0123.partial"
    partial.mkdir()
    (partial / "journal.sqlite").write_bytes(before[key])
    home.report.write_bytes(before[key])

    result = CliRunner().invoke(main, ["purge", "--home", str(home.root), "--key", key, "--yes", "--reason", "asked"])

    assert result.exit_code == 0, result.output
    assert [p for p in home.root.rglob("*") if p.is_file() and before[key] in p.read_bytes()] == []
    assert _holding_rows(home, key) == []
    assert _images(home) == {k: data for k, data in before.items() if k != key}
    assert verify(home.shards(SNAPSHOT)) == []
    manifest = json.loads((home.shards(SNAPSHOT) / "manifest.json").read_text())
    assert manifest["digest"] == old_digest["digest"] and manifest["output_digest"] != old_digest["output_digest"]
    ledger = pq.read_table(home.ledger(SNAPSHOT) / "images.parquet").to_pylist()
    assert {row["status"] for row in ledger if row["key"] == key} == {"purged"}
    shown = CliRunner().invoke(
        main, ["query", "--home", str(home.root), "--format", "csv", "SELECT key, reason FROM purges"]
    )
    assert f"{key},asked" in shown.output
    tainted = [row for purge in list_purges(home) for row in purge.plan["tainted"]]
    models = [home.root / row["path"] for row in tainted if row["path"].startswith("models/")]
    assert models and all((model / "tainted.json").exists() for model in models)


def test_a_host_takes_everything_and_leaves_empty_shards_that_verify(home: Home) -> None:
    url = read_samples(home.shards(SNAPSHOT)).to_pylist()[0]["image_url"]
    carry_out(home, plan_purge(home, [("host", "127.0.0.1")], ""))
    assert _images(home) == {}
    assert verify(home.shards(SNAPSHOT)) == []
    assert Suppression.load(home).rule(url=url) == "host=127.0.0.1"


def test_a_purge_that_was_killed_is_finished_by_the_next(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    key = next(iter(_images(home)))
    purge: Purge = plan_purge(home, [("key", key)], "")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("t2i_assets.corpus.purge.purge_ledgers", killed)
        with pytest.raises(KeyboardInterrupt):
            carry_out(home, purge)
    assert not list_purges(home)[0].done
    assert CliRunner().invoke(main, ["purge", "--home", str(home.root)]).exit_code == 0
    assert list_purges(home)[0].done and _holding_rows(home, key) == []


def test_a_dry_run_changes_nothing(home: Home) -> None:
    before = _images(home)
    result = CliRunner().invoke(main, ["purge", "--home", str(home.root), "--key", next(iter(before)), "--dry-run"])
    assert result.exit_code == 0 and "1 samples" in result.output
    assert _images(home) == before and not home.purges.exists()


def test_unfinished_work_goes_only_where_it_holds_what_is_purged(home: Home) -> None:
    row = read_samples(home.shards(SNAPSHOT)).to_pylist()[0]
    places = {
        url: home.shards("next").parent / f".next.{name}.partial" for name, url in (("a", row["image_url"]), ("b", "x"))
    }
    for url, place in places.items():
        with Journal(place / ".journal", "work") as journal:
            journal.add({"kind": "image", "url": url, "status": "ok"}, b"bytes", f"key of {url}", {})
    carry_out(home, plan_purge(home, [("url", row["image_url"])], ""))
    assert {url: place.exists() for url, place in places.items()} == {row["image_url"]: False, "x": True}


def test_the_image_of_a_purged_url_does_not_come_back_from_elsewhere(home: Home) -> None:
    row = read_samples(home.shards(SNAPSHOT)).to_pylist()[0]
    carry_out(home, plan_purge(home, [("url", row["image_url"])], ""))
    assert Suppression.load(home).rule(url="https://mirror.test/copy.jpg", key=row["key"]) == f"key={row['key']}"

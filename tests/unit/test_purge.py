"""A purge leaves no byte of a sample under the home, keeps all others, and names what learned from it."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from t2i_assets.cli import main
from t2i_assets.corpus.artifacts import read_artifact
from t2i_assets.corpus.digests import tree_digest
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.integrity import verify_home
from t2i_assets.corpus.purge import Purge, carry_out, list_purges, plan_purge
from t2i_assets.corpus.shards import iter_images, read_samples, verify
from t2i_assets.corpus.suppression import Suppression
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.crawl.image_stage.offers import Offers
from t2i_assets.crawl.journal import Journal
from tests.sample_home import COPY, SNAPSHOT, make_home


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


def test_the_pairs_of_every_url_of_the_image_go(home: Home) -> None:
    key = next(row["key"] for row in _ledger(home) if row["url"] == COPY)
    carry_out(home, plan_purge(home, [("key", key)], ""))
    left = {
        row["image_url"] for file in home.pairs(SNAPSHOT).glob("*.parquet") for row in pq.read_table(file).to_pylist()
    }
    mine = {row["url"] for row in _ledger(home) if row["key"] == key}
    assert COPY in mine and not left & mine and len(left) > 20


def test_another_image_at_the_same_url_stays(home: Home) -> None:
    first, second = read_samples(home.shards(SNAPSHOT)).to_pylist()[1:3]
    ledger = home.ledger(SNAPSHOT) / "images.parquet"
    table = pq.read_table(ledger)
    rows = [{**row, "snapshot": "later"} for row in table.to_pylist() if row["url"] == second["image_url"]]
    later = [{**row, "url": first["image_url"], "etag": "kept"} for row in rows]
    write_table(home.ledger("later") / "images.parquet", later, table.schema)
    carry_out(home, plan_purge(home, [("key", first["key"])], ""))
    assert read_rows(home.ledger("later") / "images.parquet", table.schema) == later
    assert second["key"] in _images(home)


def test_what_a_job_shows_of_its_data_goes_from_tainted_models(home: Home) -> None:
    key = next(iter(_images(home)))
    models = [path.parent for path in sorted((home.root / "models").glob("*/*/manifest.json"))]
    for model in models:
        for name in ("reconstructions.png", "samples.txt"):
            (model / name).write_text("pixels and texts of samples")
        artifact = read_artifact(model)
        assert artifact is not None
        told = artifact.manifest.model_copy(update={"output_digest": tree_digest(model)})
        (model / "manifest.json").write_text(told.model_dump_json())
    carry_out(home, plan_purge(home, [("key", key)], ""))
    for model in models:
        tainted = (model / "tainted.json").exists()
        assert (model / "samples.txt").exists() != tainted and (model / "reconstructions.png").exists() != tainted
    assert any((model / "tainted.json").exists() for model in models)
    assert list(verify_home(home)) == []


def test_unfinished_work_that_would_still_fetch_it_goes(home: Home) -> None:
    row = read_samples(home.shards(SNAPSHOT)).to_pylist()[0]
    partial = home.shards("next").parent / ".next.a.partial"
    with Journal(partial / ".journal", "work") as journal:
        list(Offers(journal.database).fill(home.pairs(SNAPSHOT)))
    carry_out(home, plan_purge(home, [("key", row["key"])], ""))
    assert not partial.exists()


def test_a_url_matches_as_it_is_typed_and_a_host_must_be_one(home: Home) -> None:
    row = read_samples(home.shards(SNAPSHOT)).to_pylist()[0]
    typed = row["image_url"].replace("http://", "HTTP://") + "#top"
    command = ["purge", "--home", str(home.root), "--dry-run"]
    assert "1 samples" in CliRunner().invoke(main, [*command, "--url", typed]).output
    refused = CliRunner().invoke(main, [*command, "--host", "https://example.org/"])
    assert refused.exit_code == 2 and "leave scheme, port and path away" in refused.output


STEPS = ("rename", "replace", "unlink", "link", "rmdir", "mkdir")


@pytest.mark.parametrize("share", [0.02, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 0.99])
def test_a_purge_killed_anywhere_ends_like_one_that_was_not(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    homes = [Home(Path(shutil.copytree(whole, tmp_path / name))) for name in ("killed", "left_alone")]
    key = next(iter(_images(homes[0])))
    plan = plan_purge(homes[0], [("key", key)], "").plan
    killed, alone = (Purge(home.purges / plan["name"], plan) for home in homes)
    done = _count_steps(monkeypatch, lambda: carry_out(homes[1], alone), None)
    _count_steps(monkeypatch, lambda: carry_out(homes[0], killed), int(done * share))
    assert not killed.done
    for unfinished in list_purges(homes[0]):
        carry_out(homes[0], unfinished)
    assert _files(homes[0]) == _files(homes[1])


class _Killed(BaseException):
    """Stands for the end of the process."""


def _count_steps(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None], limit: int | None) -> int:
    """Return how many changes of the file system ``work`` made; after ``limit`` of them nothing works any more."""
    steps = 0

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal steps
            if limit is not None and steps >= limit:
                raise _Killed
            steps += 1
            return real(*args, **kwargs)

        return call

    with monkeypatch.context() as patch, contextlib.suppress(_Killed):
        for name in STEPS:
            patch.setattr(os, name, counted(getattr(os, name)))
        work()
    return steps


def _files(home: Home) -> dict[str, bytes]:
    files = [path for path in home.root.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(home.root)): path.read_bytes() for path in files if path.name != "done.json"}


def _ledger(home: Home) -> list[dict[str, Any]]:
    return list(pq.read_table(home.ledger(SNAPSHOT) / "images.parquet").to_pylist())

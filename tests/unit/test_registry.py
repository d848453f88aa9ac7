"""The registry: models that were trained, how two differ, and which is in use, kept over kills and side by side."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from t2i_assets.cli import main
from t2i_assets.corpus.artifacts import Manifest, publish
from t2i_assets.corpus.catalog import build_catalog, query
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.integrity import verify_home
from t2i_assets.corpus.registry import ModelChoiceError, find_model, list_models, promote, read_history
from t2i_assets.corpus.schemas import TAINTED
from t2i_assets.corpus.tables import write_table
from tests.sample_home import make_home


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("home"), samples=24, scenes=6)


def trained(home: Home, digest: str, kind: str = "clip_model", partition: str = "blend_95_5", **config: object) -> None:
    """Publish a model of nothing but figures."""
    manifest = Manifest(asset=kind, partition=partition, digest=digest, code_version="1", config=config,
                        inputs={"caption_blend": f"blend-of-{digest}"})  # fmt: skip
    publish(home.model(kind, digest), manifest, lambda _: {"val/psnr": 20.5, "samples": 7})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path.resolve())
    trained(home, "aa11", optimizer={"steps": 10, "lr": 0.1})
    trained(home, "aa22", optimizer={"steps": 20, "lr": 0.1}, loss="siglip")
    trained(home, "bb33", partition="alt_only")
    trained(home, "cc44", kind="autoencoder", partition="_")
    return home


def t2i(home: Home, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", *arguments, "--home", str(home.root)])


def stages(home: Home) -> dict[str, str]:
    return {row["digest"]: row["stage"] for row in list_models(home)}


def test_of_a_kind_and_recipe_one_model_is_in_production(home: Home) -> None:
    for digest in ("aa11", "bb33", "cc44"):
        promote(home, digest, "production")
    assert t2i(home, "promote", "aa2", "production").output.splitlines() == [
        "aa11  clip_model  blend_95_5  production → archived",
        "aa22  clip_model  blend_95_5  none → production",
    ]
    assert stages(home) == {"aa11": "archived", "aa22": "production", "bb33": "production", "cc44": "production"}
    archived, promoted = read_history(home)[-2:]
    assert archived.instead_of == "aa22"
    assert archived.changed_at == promoted.changed_at


def test_the_history_keeps_every_change_and_repeats_none(home: Home) -> None:
    for stage in ("staging", "production", "production", "none"):
        t2i(home, "promote", "aa11", stage)
    assert [(event.number, event.was, event.stage) for event in read_history(home)] == [
        (0, "none", "staging"), (1, "staging", "production"), (2, "production", "none")
    ]  # fmt: skip
    assert stages(home)["aa11"] == "none"
    told = query(home, "SELECT stage FROM promotions").to_pylist()
    assert [row["stage"] for row in told] == ["staging", "production", "none"]
    assert t2i(home, "promote", "aa11", "none").output == "aa11 is none already\n"


def test_an_unknown_or_ambiguous_digest_is_answered_with_candidates(home: Home) -> None:
    ambiguous = t2i(home, "promote", "aa", "staging")
    assert ambiguous.exit_code == 1
    assert "2 models have a digest that begins with 'aa'" in ambiguous.output
    assert "aa11  clip_model  blend_95_5" in ambiguous.output and "bb33" not in ambiguous.output
    unknown = t2i(home, "compare", "aa11", "zz")
    assert "no model has a digest that begins with 'zz'" in unknown.output and "cc44" in unknown.output
    assert "it has autoencoder, clip_model" in t2i(home, "list", "--kind", "clip").output
    assert not home.registry.exists()


def test_a_home_without_models_has_none_to_promote(tmp_path: Path) -> None:
    assert t2i(Home(tmp_path), "list").output == "no models\n"
    with pytest.raises(ModelChoiceError, match="none"):
        find_model(Home(tmp_path), "aa")


def test_a_list_is_one_row_a_model_in_each_format(home: Home) -> None:
    promote(home, "aa22", "staging")
    rows = json.loads(t2i(home, "list", "--kind", "clip_model", "--format", "json").output)
    assert [(row["digest"], row["stage"]) for row in rows] == [("bb33", "none"), ("aa22", "staging"), ("aa11", "none")]
    assert rows[1]["metrics"] == {"val/psnr": 20.5}
    assert rows[1]["inputs"] == {"caption_blend": "blend-of-aa22"}
    assert rows[1]["config"]["optimizer"] == {"steps": 20, "lr": 0.1}
    header, *lines = t2i(home, "list", "--format", "csv").output.splitlines()
    assert header.startswith("digest,kind,partition,stage,")
    assert len(lines) == 4
    assert "val/psnr 20.5" in t2i(home, "list", "--kind", "autoencoder").output


def test_a_table_has_each_digest_whole_and_marks_the_tainted(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    trained(home, "0123456789abcdef", kind="autoregressive_prior", partition="blend_50_50")
    tainted = {"purge": "p", "path": "models/clip_model/aa11", "asset": "clip_model", "digest": "aa11", "samples": 1}
    (home.root / "purges" / "p").mkdir(parents=True)
    write_table(home.root / "purges" / "p" / "tainted.parquet", [tainted], TAINTED)
    promote(home, "aa11", "production")
    lines = t2i(home, "list").output.splitlines()
    assert max(map(len, lines)) <= 120
    [row] = [line for line in lines if "0123456789abcdef" in line]
    assert re.search(r" autoregressive_prior +│ blend_50_50 +│ old +│ \d{4}-\d\d-\d\d │ val/psnr 20.5 ", row)
    assert "production, old, tainted" in next(line for line in lines if "aa11" in line)


def test_two_models_differ_in_what_was_changed_and_nothing_else(home: Home) -> None:
    rows = json.loads(t2i(home, "compare", "aa1", "aa2", "--format", "json").output)
    assert [(row["name"], row["first"], row["second"]) for row in rows if row["what"] == "config"] == [
        ("optimizer.steps", "10", "20"), ("loss", None, "siglip")
    ]  # fmt: skip
    assert [row["name"] for row in rows if row["what"] == "input"] == ["caption_blend"]
    assert [(row["first"], row["second"]) for row in rows if row["name"] == "val/psnr"] == [("20.5", "20.5")]


def test_scores_of_the_leaderboard_stand_with_their_intervals(sample: Home) -> None:
    first, second = (row["digest"] for row in list_models(sample, "latent_diffusion"))
    rows = json.loads(t2i(sample, "compare", first, second, "--format", "json").output)
    board = query(sample, f"FROM leaderboard WHERE model = '{first}' AND metric = 'fd_judge' AND style = 'original'")
    [expected] = [row for row in board.to_pylist() if row["baseline"] is None]
    [shown] = [row["first"] for row in rows if row["name"] == "fd_judge (original)"]
    assert shown.startswith(f"{expected['value']:.4g} [{expected['low']:.4g}, {expected['high']:.4g}]")
    assert not [row for row in rows if "bootstrap" in row["name"]]


def test_the_registry_is_no_artifact_to_what_reads_them(sample: Home) -> None:
    before = [str(fault) for fault in verify_home(sample)]
    digest = list_models(sample, "judge")[0]["digest"]
    promote(sample, digest, "production")
    assert [str(fault) for fault in verify_home(sample)] == before
    assert build_catalog(sample)["promotions"] == 1
    purged = CliRunner().invoke(main, ["purge", "--home", str(sample.root), "--host", "nowhere.example", "--yes"])
    assert purged.exit_code == 0, purged.output
    assert stages(sample)[digest] == "production"


def test_promotions_at_the_same_time_all_stand(home: Home) -> None:
    build_catalog(home)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda digest: promote(home, digest, "staging"), ("aa11", "aa22", "bb33", "cc44")))
    assert sorted(event.digest for event in read_history(home)) == ["aa11", "aa22", "bb33", "cc44"]
    assert [event.number for event in read_history(home)] == [0, 1, 2, 3]
    assert set(stages(home).values()) == {"staging"}


def test_a_kill_while_writing_leaves_the_history_before(home: Home) -> None:
    promote(home, "aa11", "staging")
    before = home.registry.read_bytes()
    code = """
import os, pathlib, sys
from t2i_assets.corpus import registry
from t2i_assets.corpus.home import Home
pathlib.Path.replace = lambda *_: os._exit(9)
registry.promote(Home(pathlib.Path(sys.argv[1])), "aa22", "staging")
"""
    command: Sequence[str] = [sys.executable, "-c", code, str(home.root)]
    assert subprocess.run(command, check=False).returncode == 9
    assert home.registry.read_bytes() == before
    promote(home, "aa22", "staging")
    assert [event.digest for event in read_history(home)] == ["aa11", "aa22"]

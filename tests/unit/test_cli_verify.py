"""``t2i verify`` names what is damaged."""

from pathlib import Path

from click.testing import CliRunner

from t2i_assets.cli import main
from tests.sample_home import SNAPSHOT, make_home


def test_damage_is_named_and_fails(tmp_path: Path) -> None:
    home = make_home(tmp_path, samples=8, scenes=4)
    whole = CliRunner().invoke(main, ["verify", "--home", str(tmp_path)])
    assert whole.exit_code == 0, whole.output
    stats = home.shards(SNAPSHOT) / "00000.json"
    stats.write_text(stats.read_text() + " ")
    damaged = CliRunner().invoke(main, ["verify", "--home", str(tmp_path), "--snapshot", SNAPSHOT])
    assert damaged.exit_code == 1 and "manifest.json" in damaged.output
    unknown = CliRunner().invoke(main, ["verify", "--home", str(tmp_path), "--snapshot", "nothing"])
    assert unknown.exit_code == 1 and "has no shards" in unknown.output

"""A snapshot cannot have the name of the human set, whose places it would share."""

from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from t2i_assets.assets.crawl import pages
from t2i_assets.cli import main
from t2i_assets.corpus.snapshots import HUMAN, SnapshotNameError
from t2i_assets.resources import Pipeline


@pytest.mark.parametrize("command", ["demo", "ingest"])
def test_a_command_refuses_the_name_in_one_line(command: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [command, "--home", str(tmp_path), "--preset", "smoke", "--snapshot", HUMAN])
    assert result.exit_code == 1
    assert result.output.startswith("Error: a snapshot cannot be named 'human'")
    assert list(tmp_path.iterdir()) == []


def test_a_partition_of_the_name_is_refused_before_anything_is_crawled(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("snapshot", [HUMAN])
        resources = {"pipeline": Pipeline(preset="smoke", home=str(tmp_path))}
        with pytest.raises(SnapshotNameError, match="human set's"):
            dg.materialize([pages], instance=instance, partition_key=HUMAN, resources=resources)
    assert list(tmp_path.iterdir()) == []

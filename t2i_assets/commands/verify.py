"""Whether what lies on disk is whole."""

import sys
from pathlib import Path

import click

from t2i_assets.commands.options import clear_errors, home_option


@click.command()
@home_option
@click.option("--snapshot", help="This snapshot's shards only; default: every artifact.")
@clear_errors
def verify(home: Path, snapshot: str | None) -> None:
    """Read every byte of every artifact and name what is wrong, with shard and key; exit code 1 where anything is."""
    from rich.console import Console
    from rich.progress import Progress

    from t2i_assets.corpus.artifacts import read_ref
    from t2i_assets.corpus.home import Home
    from t2i_assets.corpus.integrity import verify_home

    place = Home(home.resolve())
    if snapshot is not None:
        read_ref(place, "shards", snapshot)
    counts = (0, 0)
    faults = 0
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bars:
        task = bars.add_task("reading", total=None)

        def report(done: int, total: int) -> None:
            nonlocal counts
            counts = (done, total)
            bars.update(task, completed=done, total=total)

        for fault in verify_home(place, snapshot, report):
            faults += 1
            click.echo(fault)
    click.echo(f"{counts[1]} artifacts read, {faults} problems")
    raise SystemExit(1 if faults else 0)

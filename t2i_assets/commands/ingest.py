"""From the sources of a preset to shards, without the rest of the graph."""

from pathlib import Path

import click

from t2i_assets.commands.options import clear_errors, home_option, preset_option


@click.command()
@home_option
@preset_option
@click.option("--snapshot", default="demo", show_default=True, help="Name of the snapshot to make.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="Assets made at a time.")
@clear_errors
def ingest(home: Path, preset: str, snapshot: str, workers: int) -> None:
    """Crawl the sources of a preset into a snapshot: pages, pairs, shards and duplicates; print the funnel."""
    from rich.console import Console

    from t2i_assets.config import Environment, load_settings
    from t2i_assets.corpus.catalog import build_catalog
    from t2i_assets.corpus.home import Home
    from t2i_assets.demo.run import run_demo
    from t2i_assets.demo.summary import print_ingest
    from t2i_assets.demo.terminal import Display

    load_settings(preset)
    console, place = Console(), Home(home.resolve())
    run_demo(Environment(preset, place.root), snapshot, Display(console), workers, group="crawl")
    build_catalog(place)
    print_ingest(place, snapshot, console)

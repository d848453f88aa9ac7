"""``t2i``: the pipeline from the command line. Each command imports what it needs, so that ``--help`` is instant."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from t2i_assets import __doc__ as about
from t2i_assets.commands.claims import claims
from t2i_assets.commands.export import export
from t2i_assets.commands.ingest import ingest
from t2i_assets.commands.models import models
from t2i_assets.commands.options import clear_errors, home_option, preset_option
from t2i_assets.commands.rights import consent, purge
from t2i_assets.commands.sample import sample
from t2i_assets.commands.upsample import upsample
from t2i_assets.commands.verify import verify
from t2i_assets.commands.vote import vote


@click.group(help=about, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="t2i-assets")
def main() -> None:
    """See ``about``."""


@main.command()
@home_option
@preset_option
@click.option("--snapshot", default="demo", show_default=True, help="Name of the snapshot to crawl.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="Assets made at a time.")
@clear_errors
def demo(home: Path, preset: str, snapshot: str, workers: int) -> None:
    """Run the whole graph on the embedded web site and print the scores."""
    from rich.console import Console

    from t2i_assets.demo.run import run_demo
    from t2i_assets.demo.summary import print_summary
    from t2i_assets.demo.terminal import Display

    console = Console()
    environment = _environment(home, preset)
    fresh = run_demo(environment, snapshot, Display(console), workers)
    print_summary(environment.home, preset, fresh, console)


@main.command()
@home_option
@preset_option
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address; the UI has no login, so keep to loopback."
)
@click.option("--port", default=3000, show_default=True, help="Port.")
@clear_errors
def ui(home: Path, preset: str, host: str, port: int) -> None:
    """Serve the Dagster web UI, with the daemon that runs schedules and sensors."""
    from t2i_assets.instance import prepare, variables

    environment = _environment(home, preset)
    prepare(environment)
    click.echo(f"Dagster web UI: http://{host}:{port}  (artifacts in {environment.home}, preset {preset})")
    command = [sys.executable, "-m", "dagster", "dev", "-m", "t2i_assets.definitions", "-h", host, "-p", str(port)]
    os.execve(sys.executable, command, variables(environment))


@main.command()
@preset_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address.")
@click.option("--port", default=8398, show_default=True, help="Port.")
@clear_errors
def synthweb(preset: str, host: str, port: int) -> None:
    """Serve the embedded web site, to look at it or to crawl it."""
    from t2i_assets.config import load_settings
    from t2i_assets.synthweb.config import SiteConfig
    from t2i_assets.synthweb.server import serve

    site = load_settings(preset).site or SiteConfig()
    click.echo(f"embedded web site: http://{host}:{port}/")
    serve(site, host, port)


@main.command()
@home_option
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default: report.html in the home.")
@click.option(
    "--figures", type=click.Path(path_type=Path, file_okay=False), help="Write the README's pictures there too."
)
@clear_errors
def report(home: Path, out: Path | None, figures: Path | None) -> None:
    """Write the report: one self-contained HTML file."""
    from t2i_assets.corpus.catalog import build_catalog
    from t2i_assets.corpus.home import Home
    from t2i_assets.report import write_figures, write_report

    place = Home(home.resolve())
    out = out or place.report
    build_catalog(place)
    write_report(place, out)
    click.echo(f"report: {out}")
    if figures is not None:
        write_figures(place, figures)
        click.echo(f"figures: {figures}")


@main.command()
@click.argument("sql")
@home_option
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True, help="Output."
)
@clear_errors
def query(sql: str, home: Path, form: str) -> None:
    """Answer SQL over the catalog, read-only: views are described in docs/data-dictionary.md."""
    from t2i_assets.corpus.catalog import format_rows
    from t2i_assets.corpus.catalog import query as answer
    from t2i_assets.corpus.home import Home

    click.echo(format_rows(answer(Home(home.resolve()), sql), form))


@main.command()
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("graph.svg"), show_default=True, help="SVG to write."
)
@clear_errors
def graph(out: Path) -> None:
    """Draw the asset graph."""
    from t2i_assets.definitions import defs
    from t2i_assets.graph import draw_graph

    draw_graph(defs, out)
    click.echo(f"graph: {out}")


@main.command()
@preset_option
@clear_errors
def config(preset: str) -> None:
    """Print every setting of a preset, defaults included, as YAML."""
    import yaml

    from t2i_assets.config import load_settings

    click.echo(yaml.safe_dump(load_settings(preset).model_dump(mode="json"), sort_keys=False, allow_unicode=True))


main.add_command(claims)
main.add_command(verify)
main.add_command(export)
main.add_command(ingest)
main.add_command(purge)
main.add_command(consent)
main.add_command(upsample)
main.add_command(models)
main.add_command(sample)
main.add_command(vote)


def _environment(home: Path, preset: str) -> Any:
    from t2i_assets.config import Environment, load_settings

    load_settings(preset)
    return Environment(preset=preset, home=home.resolve())


if __name__ == "__main__":
    main()

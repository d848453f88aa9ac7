"""Tries the claims of the field on the embedded site and writes what came out."""

from pathlib import Path

import click

from t2i_assets.commands.options import clear_errors, home_option


@click.command()
@home_option
@click.option("--preset", default="claims", show_default=True, help="Preset with a section claims, or a YAML file.")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1, 64), help="Assets made at a time.")
@click.option(
    "--only",
    multiple=True,
    metavar="EXPERIMENT",
    help="Run this experiment: filter, captions, ablation, rejections, sweep, guidance, objectives or priors; may be "
    "repeated. Default: all.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docs"),
    show_default=True,
    help="Where claims.md and claims.json go.",
)
@clear_errors
def claims(home: Path, preset: str, workers: int, only: tuple[str, ...], out: Path) -> None:
    """Run the experiments behind docs/claims.md as ordinary assets and write their verdicts.

    Hours on two cores from scratch; what is made already is left alone, and a killed run goes on where it was. The page
    tells every experiment that has been run in this home.
    """
    from rich.console import Console
    from rich.table import Table

    from t2i_assets.claims.experiments import EXPERIMENTS
    from t2i_assets.claims.figure import FIGURES
    from t2i_assets.claims.pages import PICTURES, load, write_claims
    from t2i_assets.config import Environment, SettingsError, load_settings
    from t2i_assets.corpus.artifacts import list_refs
    from t2i_assets.corpus.catalog import build_catalog
    from t2i_assets.corpus.home import Home
    from t2i_assets.demo.order import Unit
    from t2i_assets.demo.run import run_demo
    from t2i_assets.demo.terminal import Display

    settings = load_settings(preset)
    if settings.claims is None:
        raise SettingsError(f"preset {preset!r} has no section claims: add one, or use --preset claims")
    unknown = set(only) - EXPERIMENTS.keys()
    if unknown:
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: choose from {', '.join(EXPERIMENTS)}")
    console, place = Console(), Home(home.resolve())
    targets = [Unit(f"{name}_finding", None) for name in only or EXPERIMENTS]
    run_demo(Environment(preset, place.root), settings.claims.snapshot, Display(console), workers, targets=targets)
    build_catalog(place)
    made = [refs["_"] for name in EXPERIMENTS if (refs := list_refs(place, f"{name}_finding"))]
    findings = [load(artifact.path / "finding.json") for artifact in made]
    write_claims(findings, settings.claims.interval, out)
    for finding in findings:
        if finding.name in FIGURES:
            FIGURES[finding.name](finding, out / PICTURES[finding.name])
    table = Table("claim", "effect", "verdict", title="Claims", title_justify="left")
    for finding in findings:
        for claim in finding.claims:
            table.add_row(claim.statement, str(claim.effect), claim.verdict)
    console.print(table)
    console.print(f"{out / 'claims.md'} and {out / 'claims.json'} written", soft_wrap=True)

"""``t2i export``: a blend as a data set for other tools."""

from pathlib import Path

import click

from t2i_assets.commands.options import clear_errors, home_option


@click.command()
@home_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["webdataset", "imagefolder", "parquet"]),
    default="webdataset",
    show_default=True,
    help="Layout of the files.",
)
@click.option("--blend", "name", required=True, help="Blend to export.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Directory to write: empty, or not there yet."
)
@click.option("--epochs", default=1, show_default=True, type=click.IntRange(1), help="Draws per image.")
@click.option("--seed", default=0, show_default=True, help="Seed of the draws.")
@click.option("--max-samples", type=click.IntRange(1), help="Images at most; default: all.")
@clear_errors
def export(home: Path, form: str, name: str, out: Path, epochs: int, seed: int, max_samples: int | None) -> None:
    """Write a blend for other tools, with the captions that the trainers would draw."""
    from rich.console import Console
    from rich.progress import Progress

    from t2i_assets.corpus.export.rows import ExportError
    from t2i_assets.corpus.export.run import export_blend
    from t2i_assets.corpus.home import Home

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bars:
        task = bars.add_task("export", total=None)
        try:
            counts = export_blend(
                Home(home.resolve()),
                name,
                form,
                out,
                seed=seed,
                epochs=epochs,
                max_samples=max_samples,
                progress=lambda done, total: bars.update(task, completed=done, total=total),
            )
        except ExportError as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"{counts.samples} images, {counts.samples * counts.epochs} rows: {out}")
    for reason, count in sorted(counts.left_out.items()):
        click.echo(f"left out: {reason}: {count}")

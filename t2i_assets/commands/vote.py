"""``t2i vote``: people compare pictures, two at a time, without knowing whose they are."""

from pathlib import Path
from typing import Any

import click

from t2i_assets.commands.options import clear_errors, home_option

QUESTION = "Which picture shows the text better?"


@click.command()
@home_option
@click.option("--voter", default="me", show_default=True, help="Who votes; each has ballots of its own.")
@click.option("--question", default=QUESTION, show_default=True, help="What is asked; answers to others stay apart.")
@click.option("--style", type=click.Choice(["original", "descriptive"]), help="Prompts of this style alone.")
@click.option("--recipe", "recipes", multiple=True, help="Models of these blends alone; repeat for each. Default: all.")
@click.option("--port", default=8399, show_default=True, help="Port on this machine's loopback; 0 takes a free one.")
@click.option("--elo", is_flag=True, help="Print the ratings that the votes give, and serve nothing.")
@clear_errors
def vote(
    home: Path, voter: str, question: str, style: str | None, recipes: tuple[str, ...], port: int, elo: bool
) -> None:
    """Show two models' pictures of a prompt on a local page, blind and in random order, and keep what people prefer.

    Keys: ← and → (or 1 and 2) choose a picture, the space bar says that neither is better. Every vote is kept at
    once; Ctrl-C ends, and the next start goes on where this one ended. The page answers this machine alone.
    """
    from t2i_assets.corpus.home import Home

    place = Home(home.resolve())
    if elo:
        _print_ratings(place)
    else:
        _serve(place, voter, question, style, recipes, port)


def _serve(home: Any, voter: str, question: str, style: str | None, recipes: tuple[str, ...], port: int) -> None:
    import asyncio
    import contextlib

    from t2i_assets.voting.application import application, serve
    from t2i_assets.voting.ballots import ballots
    from t2i_assets.voting.box import BallotBox

    try:
        box = BallotBox(home, voter)
        asked = ballots(home, voter, question, style, recipes)
    except ValueError as error:
        raise click.ClickException(str(error)) from error

    def ready(address: str) -> None:
        click.echo(f"vote: {address}  ({len(asked)} ballots, {len(box.names())} votes of {voter} so far)")

    async def run() -> None:
        runner = await serve(application(asked, box, question), port, ready)
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())


def _print_ratings(home: Any) -> None:
    import pyarrow as pa

    from t2i_assets.corpus.catalog import format_rows
    from t2i_assets.voting.box import read_votes
    from t2i_assets.voting.tally import tally

    told = tally(read_votes(home))
    if not told:
        raise click.ClickException(f"there are no votes in {home.root}: run `t2i vote` first")
    for group in told:
        click.echo(f"{group.question} ({group.style} prompts, {group.votes} votes of {group.voters})")
        if group.ratings:
            rows = [
                {
                    "recipe": group.recipes[rating.player], "model": rating.player, "elo": rating.elo.value,
                    "low": rating.elo.low, "high": rating.elo.high, "votes": rating.votes, "scenes": rating.clusters,
                }
                for rating in group.ratings
            ]  # fmt: skip
            click.echo(format_rows(pa.Table.from_pylist(rows), "table"))
        if group.note:
            click.echo(f"note: {group.note}")

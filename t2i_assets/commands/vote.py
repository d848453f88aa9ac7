"""``t2i vote``: people compare pictures, two at a time, without knowing whose they are."""

from pathlib import Path
from typing import Any

import click

from t2i_assets.commands.options import clear_errors, home_option

QUESTION = "Which picture shows the text better?"


@click.command()
@home_option
@click.option("--voter", help="Who votes; each has ballots of its own.  [default: me]")
@click.option("--question", help=f"What is asked; answers to others stay apart.  [default: {QUESTION}]")
@click.option("--style", help="Prompts of this style alone: original, descriptive, or one of a prompt file.")
@click.option("--recipe", "recipes", multiple=True, help="Models of these blends alone; repeat for each. Default: all.")
@click.option(
    "--port",
    default=8399,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port on this machine's loopback; 0 takes a free one.",
)
@click.option("--elo", is_flag=True, help="Print the ratings that the votes give, and serve nothing.")
@clear_errors
def vote(
    home: Path,
    voter: str | None,
    question: str | None,
    style: str | None,
    recipes: tuple[str, ...],
    port: int,
    elo: bool,
) -> None:
    """Show two models' pictures of a prompt on a local page, blind and in random order, and keep what people prefer.

    Keys: ← and → (or 1 and 2) choose a picture, the space bar says that neither is better, s skips. Every vote is kept
    at once; Ctrl-C ends, and the next start goes on where this one ended. The page answers this machine alone.

    With --elo the other options choose votes: of one voter, question or style, or between models of these blends.
    """
    from t2i_assets.corpus.home import Home

    place = Home(home.resolve())
    if elo:
        _print_ratings(place, voter, question, style, recipes)
    else:
        _serve(place, voter or "me", question or QUESTION, style, recipes, port)


def _serve(home: Any, voter: str, question: str, style: str | None, recipes: tuple[str, ...], port: int) -> None:
    import asyncio
    import contextlib

    from t2i_assets.corpus.votes import read_votes
    from t2i_assets.voting.application import application, serve
    from t2i_assets.voting.ballots import ballots
    from t2i_assets.voting.box import BallotBox
    from t2i_assets.voting.tally import ratings

    try:
        box = BallotBox(home, voter)
        asked = ballots(home, voter, question, style, recipes)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    done = sum(vote["voter"] == voter for vote in read_votes(home))

    def ready(address: str) -> None:
        click.echo(f"vote: {address}  ({len(asked)} ballots, {done} votes of {voter} so far)")

    async def run() -> None:
        runner = await serve(application(asked, box, question), port, ready)
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run())
    ratings(home)


def _print_ratings(
    home: Any, voter: str | None, question: str | None, style: str | None, recipes: tuple[str, ...]
) -> None:
    import pyarrow as pa

    from t2i_assets.corpus.catalog import format_rows
    from t2i_assets.corpus.votes import read_votes
    from t2i_assets.voting.tally import ratings, tally

    wanted = {"voter": voter, "question": question, "style": style}
    chosen = {name: value for name, value in wanted.items() if value is not None}
    votes = [
        row
        for row in read_votes(home)
        if all(row[name] == value for name, value in chosen.items())
        and (not recipes or {row["left_recipe"], row["right_recipe"]} <= set(recipes))
    ]
    told = tally(votes) if chosen or recipes else ratings(home)
    if not told:
        raise click.ClickException(f"there are no such votes in {home.root}: run `t2i vote` first")
    for group in told:
        click.echo(f"{group.question} ({group.style} prompts, {group.votes} votes of {group.voters})")
        rows = [
            {
                "recipe": standing.recipe, "model": standing.model, "elo": standing.elo.value,
                "low": standing.elo.low, "high": standing.elo.high, "votes": standing.votes, "scenes": standing.scenes,
            }
            for standing in group.standings
            if standing.elo is not None
        ]  # fmt: skip
        if rows:
            click.echo(format_rows(pa.Table.from_pylist(rows), "table"))
        if group.note:
            click.echo(f"note: {group.note}")

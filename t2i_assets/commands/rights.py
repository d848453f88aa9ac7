"""What owners and people may ask for: consent read again, and samples taken out."""

import csv
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from t2i_assets.commands.options import clear_errors, home_option, preset_option

_SHOWN = 50


@click.command()
@home_option
@click.option("--key", "keys", multiple=True, help="Sample to take out; may be given again.")
@click.option("--host", "hosts", multiple=True, help="Host to take out, with its subdomains and its pages.")
@click.option("--url", "urls", multiple=True, help="Image or page to take out.")
@click.option("--reason", default="", help="Why; it stands in the record of the purge.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--list", "only_list", is_flag=True, help="Show the purges so far.")
@clear_errors
def purge(
    home: Path,
    keys: tuple[str, ...],
    hosts: tuple[str, ...],
    urls: tuple[str, ...],
    reason: str,
    dry_run: bool,
    yes: bool,
    only_list: bool,
) -> None:
    """Take samples out of every artifact for good, and mark what was trained on them.

    A purge that was killed is finished first.
    """
    from t2i_assets.corpus.catalog import build_catalog
    from t2i_assets.corpus.home import Home
    from t2i_assets.corpus.purge import carry_out, list_purges, plan_purge

    place = Home(home.resolve())
    if only_list:
        for past in list_purges(place):
            matched = " ".join(f"{rule['kind']}={rule['value']}" for rule in past.plan["rules"])
            state = "done" if past.done else "unfinished"
            click.echo(f"{past.plan['name']}  {state}  {len(past.plan['samples'])} samples  {matched}")
        return
    rules = [("key", key) for key in keys] + [("url", _address(url)) for url in urls]
    rules += [("host", _host(host)) for host in hosts]
    unfinished = [past for past in list_purges(place) if not past.done]
    if not rules and not unfinished:
        raise click.UsageError("name what must go: --key, --host or --url")
    if not dry_run:
        for past in unfinished:
            carry_out(place, past)
            click.echo(f"finished purge {past.plan['name']}")
    if dry_run and not rules:
        return
    if rules:
        wanted = plan_purge(place, rules, reason)
        for row in wanted.plan["samples"]:
            click.echo(f"{row['snapshot']}  {row['key']}  {row['rule']}  {row['image_url']}")
        for row in wanted.plan["tainted"]:
            click.echo(f"tainted: {row['path']} ({row['asset']}), {row['samples']} samples")
        click.echo(f"{len(wanted.plan['samples'])} samples, {len(wanted.plan['tainted'])} tainted artifacts")
        if dry_run:
            return
        if not yes:
            click.confirm("Take them out for good?", abort=True)
        carry_out(place, wanted)
        click.echo(f"purged: {wanted.path}")
    build_catalog(place)


def _address(url: str) -> str:
    """Return a URL as the crawl writes it, so that it matches however it was typed."""
    from t2i_assets.crawl.http.guard import BadUrlError, normalise_url

    if url.startswith("file:"):
        return url
    try:
        return normalise_url(url)
    except BadUrlError as error:
        raise click.BadParameter(f"{url}: {error}", param_hint="--url") from error


def _host(host: str) -> str:
    name = host.lower().rstrip(".")
    if "/" in name or name.count(":") == 1:
        raise click.BadParameter(
            f"{host} is not a host name alone: leave scheme, port and path away", param_hint="--host"
        )
    return name


@click.group()
def consent() -> None:
    """What the owners of the images say."""


@consent.command()
@home_option
@preset_option
@click.option("--snapshot", "snapshots", multiple=True, help="Snapshot to read again; default: all.")
@click.option("--host", help="Samples of this host and its subdomains alone.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write one row per sample to this .csv or .parquet."
)
@click.option("--purge", "then_purge", is_flag=True, help="Take out what was withdrawn, without asking.")
@clear_errors
def recheck(
    home: Path, preset: str, snapshots: tuple[str, ...], host: str | None, out: Path | None, then_purge: bool
) -> None:
    """Read robots.txt, headers and tags of every sample again, and list what must go."""
    from rich.progress import Progress

    from t2i_assets.assets.source import serving
    from t2i_assets.config import load_settings
    from t2i_assets.corpus.artifacts import list_refs, read_ref
    from t2i_assets.corpus.catalog import build_catalog
    from t2i_assets.corpus.home import Home
    from t2i_assets.corpus.purge import carry_out, plan_purge
    from t2i_assets.crawl.recheck import Standing
    from t2i_assets.crawl.recheck import recheck as read_again

    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise click.BadParameter(f"{out} ends neither in .csv nor in .parquet", param_hint="--out")
    settings, place = load_settings(preset), Home(home.resolve())
    for snapshot in snapshots:
        read_ref(place, "shards", snapshot)
    chosen = snapshots or tuple(list_refs(place, "shards"))
    if not chosen:
        raise click.ClickException(f"no snapshot is materialized in {place.root}")
    with serving(settings, settings.crawl) as crawl, Progress(disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("asking", total=None)
        rows = read_again(place, crawl, chosen, host, lambda done, total: bar.update(task, completed=done, total=total))
    if out is not None:
        _write(out, rows)
        click.echo(f"written: {out}")
    withdrawn = [row for row in rows if row["standing"] == Standing.WITHDRAWN]
    for row in withdrawn[:_SHOWN]:
        click.echo(f"{row['snapshot']}  {row['key']}  {row['now']}  {row['image_url']}  ({row['evidence']})")
    if len(withdrawn) > _SHOWN:
        click.echo(f"… and {len(withdrawn) - _SHOWN} more: --out names them all")
    counts = Counter(row["standing"] for row in rows)
    click.echo(f"{len(rows)} samples: " + ", ".join(f"{standing} {counts[standing]}" for standing in Standing))
    if not withdrawn:
        return
    if not then_purge:
        click.echo("to take out what was withdrawn: the same command with --purge")
        return
    rules = ", ".join(sorted({row["now"] for row in withdrawn}))
    wanted = plan_purge(place, [("key", row["key"]) for row in withdrawn], f"consent withdrawn: {rules}")
    carry_out(place, wanted)
    build_catalog(place)
    click.echo(f"purged: {wanted.path}")


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
        return
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["snapshot"])
        writer.writeheader()
        writer.writerows(rows)

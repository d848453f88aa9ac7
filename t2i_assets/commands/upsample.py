"""``t2i upsample``: what the upsampler makes of prompts from the command line."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from t2i_assets.commands.options import clear_errors, home_option, preset_option

FALLBACK = "fallback"


@click.command()
@click.argument("prompts", nargs=-1)
@home_option
@preset_option
@click.option("--seed", type=int, help="Seed of the candidates; default: the preset's.")
@click.option("--candidates", type=click.IntRange(1), help="Texts written for each prompt; default: the preset's.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with status and log-probability.")
@clear_errors
def upsample(
    prompts: tuple[str, ...], home: Path, preset: str, seed: int | None, candidates: int | None, as_json: bool
) -> None:
    """Make short PROMPTS descriptive, a line each; without any, read them from standard input, one a line.

    A prompt of which no candidate says all stays as it is.
    """
    from t2i_assets.config import load_settings
    from t2i_assets.corpus.artifacts import read_ref
    from t2i_assets.corpus.home import Home

    if not prompts:
        if sys.stdin.isatty():
            raise click.UsageError('name a prompt, as in: t2i upsample "a red star"')
        prompts = tuple(line for line in sys.stdin.read().splitlines() if line.strip())
    told = {name: value for name, value in (("seed", seed), ("candidates", candidates)) if value is not None}
    section = load_settings(preset).section("upsample", told)
    upsampler = read_ref(Home(home.resolve()), "upsampler")
    config = {**section.model_dump(mode="json"), "upsampler_digest": upsampler.digest}
    for row in upsample_texts(config, upsampler.path, prompts):
        click.echo(json.dumps(row, ensure_ascii=False) if as_json else row["upsampled"])
        if row["status"] == FALLBACK:
            click.echo(f"left as it is: {row['prompt']}", err=True)


def upsample_texts(config: dict[str, Any], upsampler: Path, prompts: tuple[str, ...]) -> list[dict[str, Any]]:
    """Have the job upsample ``prompts`` in a process of its own; return its rows of UPSAMPLED."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from t2i_assets.corpus.schemas import UPSAMPLED
    from t2i_assets.corpus.tables import read_rows

    with tempfile.TemporaryDirectory() as directory:
        asked, output = Path(directory) / "prompts.parquet", Path(directory) / "output"
        output.mkdir()
        pq.write_table(pa.table({"prompt": pa.array(prompts, pa.string())}), asked)
        job = output / "job.json"
        inputs = {"upsampler": str(upsampler), "prompts": str(asked)}
        job.write_text(json.dumps({"name": "upsample", "config": config, "inputs": inputs, "output": str(output)}))
        command = [sys.executable, "-m", "training.upsample", "--job", str(job)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
            raise click.ClickException(f"training.upsample ended with code {done.returncode}: {said[-1]}")
        return read_rows(output / "upsampled.parquet", UPSAMPLED)

"""``t2i sample``: pictures for prompts from the command line."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from t2i_assets.commands.options import clear_errors, home_option, preset_option

if TYPE_CHECKING:
    from t2i_assets.corpus.home import Home

MODEL, PRIORS = "latent_diffusion", ("diffusion_prior", "autoregressive_prior")
INDEX = "model_index.json"
MOST_SEEDS = 64


class Seeds(click.ParamType):
    """Whole numbers, as ``0-7`` or ``0,3,5``."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", value):
            self.fail(f"{value!r} is not like 0-7 or 0,3,5", param, ctx)
        ranges = [[int(end) for end in part.split("-")] for part in value.split(",")]
        if any(ends[-1] - ends[0] >= MOST_SEEDS for ends in ranges):
            self.fail(f"{value!r} names too many seeds: name 1 to {MOST_SEEDS}", param, ctx)
        seeds = tuple(seed for ends in ranges for seed in range(ends[0], ends[-1] + 1))
        if not 0 < len(seeds) <= MOST_SEEDS:
            self.fail(f"{value!r} names {len(seeds)} seeds: name 1 to {MOST_SEEDS}", param, ctx)
        return seeds


class Size(click.ParamType):
    """Width and height in pixels, as ``96x64``."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        if not (sides := re.fullmatch(r"([1-9]\d{0,3})x([1-9]\d{0,3})", value)):
            self.fail(f"{value!r} is not like 96x64", param, ctx)
        width, height = map(int, sides.groups())
        return height, width


@click.command()
@click.argument("prompts", nargs=-1, required=True)
@home_option
@preset_option
@click.option("--model", help="Diffusion model: a recipe, a digest or a directory; default: text_encoder_recipe.")
@click.option(
    "--condition",
    type=click.Choice(["caption", "text_embedding", "prior"]),
    help="What a model of the unCLIP variant draws from; default: the caption, or the prior that is named.",
)
@click.option("--prior", help="Prior: diffusion_prior, autoregressive_prior, a digest or a directory.")
@click.option("--clip", help="CLIP of the prior, a digest or a directory; default: that of the model.")
@click.option("--caption-beside", is_flag=True, help="Tell the caption beside the image embedding too.")
@click.option("--guidance", type=click.FloatRange(min=0), help="Guidance scale, 1 is none; default: the preset's.")
@click.option("--rescale", type=click.FloatRange(0, 1), help="Guidance rescale; default: the preset's.")
@click.option("--steps", type=click.IntRange(1), help="Denoising steps; default: the preset's.")
@click.option(
    "--sampler", type=click.Choice(["auto", "ddim", "ddpm", "dpm++", "euler"]), help="Sampler; default: the preset's."
)
@click.option("--seeds", type=Seeds(), default="0-7", show_default=True, help="Seeds of the noise, a picture each.")
@click.option("--size", type=Size(), help="Width x height in pixels; default: what the model was trained on most.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("grid.png"), show_default=True,
    help="PNG to write.",
)  # fmt: skip
@clear_errors
def sample(
    prompts: tuple[str, ...],
    home: Path,
    preset: str,
    model: str | None,
    condition: str | None,
    prior: str | None,
    clip: str | None,
    caption_beside: bool,
    guidance: float | None,
    rescale: float | None,
    steps: int | None,
    sampler: str | None,
    seeds: tuple[int, ...],
    size: tuple[int, int] | None,
    out: Path,
) -> None:
    """Draw PROMPTS with a diffusion model: a labelled grid, a row for each prompt, a column for each seed."""
    from t2i_assets.config import load_settings
    from t2i_assets.corpus.home import Home

    condition = condition or ("caption" if prior is None else "prior")
    require_what_is_read(condition, {"--prior": prior, "--clip": clip, "--caption-beside": caption_beside})
    settings, place = load_settings(preset), Home(home.resolve())
    told = {"steps": steps, "guidance_scale": guidance, "guidance_rescale": rescale, "sampler": sampler}
    section = settings.section(
        "generate", {"sampler": {name: value for name, value in told.items() if value is not None}}
    )
    drawn_by = find(place, MODEL, model or settings.text_encoder_recipe)
    if not (drawn_by / INDEX).exists():
        raise click.ClickException(f"{drawn_by} is no saved diffusion model: it has no {INDEX}")
    config = {
        **section.model_dump(mode="json"),
        "prompts": prompts,
        "seeds": seeds,
        "size": size,
        "condition": condition,
        "caption_beside": caption_beside,
    }
    inputs = {"diffusion": str(drawn_by)}
    if condition != "caption":
        inputs["clip"] = str(find(place, "clip_model", clip) if clip else clip_of(place, drawn_by))
    if prior is not None:
        inputs["prior"] = str(find_prior(place, prior, Path(inputs["clip"])))
    draw(config, inputs, out)
    click.echo(f"{len(prompts) * len(seeds)} pictures by {drawn_by}: {out}")


def require_what_is_read(condition: str, given: dict[str, Any]) -> None:
    """Raise click.UsageError where an option is given that the condition does not read, or --prior is missing."""
    if condition == "prior" and not given["--prior"]:
        raise click.UsageError(f"condition prior needs --prior: {', '.join(PRIORS)}, a digest or a directory")
    read = {"caption": (), "text_embedding": ("--clip", "--caption-beside"), "prior": tuple(given)}[condition]
    idle = [option for option, value in given.items() if value and option not in read]
    if idle:
        raise click.UsageError(f"condition {condition} does not read {idle[0]}: leave it out, or set another condition")


def find(home: "Home", asset: str, asked: str) -> Path:
    """Return the directory of a model: what a partition holds now, one that is named, or that of a digest.

    Raises click.ClickException, saying what there is, where no model or several answer to the name.
    """
    from t2i_assets.corpus.artifacts import list_refs

    refs = list_refs(home, asset)
    if asked in refs:
        return refs[asked].path
    if Path(asked).is_dir():
        return Path(asked).resolve()
    found = with_digest(home, asset, asked)
    if len(found) == 1:
        return found[0]
    if found:
        raise click.ClickException(f"{asked!r} begins several digests: {', '.join(path.name for path in found)}")
    known = [f"{name} ({artifact.digest})" for name, artifact in refs.items()]
    raise click.ClickException(
        f"there is no {asset} {asked!r} in {home.root}: name a directory or one of {', '.join(known) or 'none so far'}"
    )


def with_digest(home: "Home", asset: str, beginning: str) -> list[Path]:
    """Return the directories of the models whose digest begins so."""
    if not beginning.isalnum():
        return []
    place = home.model(asset.removesuffix("_model"), beginning)
    return sorted(path.parent for path in place.parent.glob(f"{beginning}*/manifest.json"))


def clip_of(home: "Home", model: Path) -> Path:
    """Return the CLIP whose space a diffusion model knows. Raises click.ClickException where that is not recorded."""
    from t2i_assets.corpus.artifacts import read_artifact

    artifact = read_artifact(model)
    digest = artifact.manifest.inputs.get("clip_model") if artifact else None
    if digest is None or not home.model("clip", digest).is_dir():
        raise click.ClickException(
            f"{model} does not say which CLIP it was trained with, or it is gone: name it by --clip"
        )
    return home.model("clip", digest)


def find_prior(home: "Home", asked: str, clip: Path) -> Path:
    """Return a prior: of a kind the one that lives in the space of ``clip``, else by digest or directory.

    Raises click.ClickException where there is none.
    """
    from t2i_assets.corpus.artifacts import list_refs

    if asked in PRIORS:
        for artifact in list_refs(home, asked).values():
            if artifact.manifest.inputs.get("clip_model") == clip.name:
                return artifact.path
        raise click.ClickException(f"no {asked} in {home.root} was trained on embeddings of the CLIP {clip.name}")
    found = [kind for kind in PRIORS if with_digest(home, kind, asked)]
    if not found and not Path(asked).is_dir():
        known = [f"{kind} {artifact.digest}" for kind in PRIORS for artifact in list_refs(home, kind).values()]
        raise click.ClickException(
            f"there is no prior {asked!r} in {home.root}: name {' or '.join(PRIORS)}, a directory, or the digest of "
            f"one of {', '.join(known) or 'none so far'}"
        )
    return find(home, found[0] if found else PRIORS[0], asked)


def draw(config: dict[str, Any], inputs: dict[str, str], out: Path) -> None:
    """Have the job draw the grid in a process of its own, and move it to ``out``."""
    with tempfile.TemporaryDirectory() as directory:
        job = Path(directory) / "job.json"
        job.write_text(json.dumps({"name": "sample", "config": config, "inputs": inputs, "output": directory}))
        command = [sys.executable, "-m", "training.sample", "--job", str(job)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            said = re.sub(r"^(error: |training\.[\w.]+Error: )", "", said)
            raise click.ClickException(f"training.sample ended with code {done.returncode}: {said}")
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(directory) / "grid.png", out)

"""Job: distances of each style's pictures from real ones, from features that were computed once for all of them.

``python -m evaluation.frechet --job job.json``

Every system is measured against the same real images; the ceiling is what real images of the prompts score, the floor
what they score with their patches shuffled. A distance that a set is too small for is left out, with the reason in its
place: a row METRIC/left_out. Published prompts have no real pictures here, and real ones of other prompts tell nothing
of theirs: their styles are measured where real images are named for them.
"""

from collections.abc import Iterator
from pathlib import Path

from evaluation.config import FrechetConfig, System
from evaluation.features.sample import Sample
from evaluation.features.store import feature_sets
from evaluation.set_distances import LeftOut, Measured, set_distances
from evaluation.systems import Row, read_prompts, shuffled, whose
from t2i_assets.corpus.schemas import EVALS, GENERATED
from t2i_assets.corpus.tables import read_rows, write_table
from training.job import Job, JobInputs, run
from training.report import Reporter

COLLECTIONS: dict[System, str] = {"generated": "generated", "ceiling": "reference", "floor": "shuffled"}


class FrechetInputs(JobInputs):
    """``scorer`` holds features of real pictures; ``features`` those of the model's, whose rows are in ``images``."""

    evaluation_set: Path
    scorer: Path
    images: Path | None = None
    features: Path | None = None


def main(job: Job[FrechetConfig, FrechetInputs], reporter: Reporter) -> None:
    """Write scores.parquet: for each encoder, system and style the distances, their N and the resamples."""
    config = job.config
    prompts = read_prompts(job.inputs.evaluation_set)
    pictured = {prompt["style"] for prompt in prompts if prompt["reference_key"] is not None}
    references = {name: Sample.whole(found) for name, found in feature_sets(job.inputs.scorer / "heldout").items()}
    rows: list[Row] = []
    figures: dict[str, float | str] = {}
    for encoder, real in references.items():
        figures |= {f"{encoder}/features": real.dimension, f"{encoder}/real_images": len(real)}
    done, total = 0, len(config.systems) * len(references)
    for system in config.systems:
        for encoder, real in references.items():
            for style, made in samples(system, encoder, prompts, job.inputs, config.seed).items():
                if style not in pictured and not config.of_any_style:
                    figures[f"{system}/{style}"] = "left out: no real pictures of its prompts (features.real)"
                    continue
                for one in set_distances(made, real, config):
                    rows += _rows(config, system, style, one, made, real)
                    told = round(one.value, 6) if isinstance(one, Measured) else f"left out: {one.reason}"
                    figures[f"{system}/{style}/{one.metric}"] = told
            done += 1
            reporter.log(done, total, distances=len(figures) - 2 * len(references))
    write_table(job.output / "scores.parquet", rows, EVALS)
    reporter.finish(**figures)


def samples(system: System, encoder: str, prompts: list[Row], inputs: FrechetInputs, seed: int) -> dict[str, Sample]:
    """Return the features of a system's pictures by the style of their prompts.

    Raises ValueError where they are not given, or pictures are of prompts that the evaluation set does not have.
    """
    if system == "generated":
        if inputs.features is None or inputs.images is None:
            raise ValueError("system 'generated' needs the inputs 'images' and 'features': pictures and their features")
        known = {prompt["prompt_id"]: prompt for prompt in prompts}
        tables = sorted(inputs.images.glob("[0-9]*.parquet"))
        rows = [row for table in tables for row in read_rows(table, GENERATED, ["key", "prompt_id"])]
        strange = next((row["prompt_id"] for row in rows if row["prompt_id"] not in known), None)
        if strange is not None:
            raise ValueError(f"{inputs.images} shows prompt {strange}, which the evaluation set does not have")
        shown = [(known[row["prompt_id"]], row["key"]) for row in rows]
    else:
        pictured = [prompt for prompt in prompts if prompt["reference_key"] is not None]
        plain = [(prompt, prompt["reference_key"]) for prompt in pictured]
        shown = plain if system == "ceiling" else list(shuffled(pictured, seed))
    directory = inputs.features if system == "generated" and inputs.features else inputs.scorer
    features = feature_sets(directory / COLLECTIONS[system])
    if encoder not in features:
        raise ValueError(f"{directory} has no features by {encoder!r}: it has {', '.join(features) or 'none'}")
    styles = sorted({prompt["style"] for prompt, _ in shown})
    of_style = {style: [(p, key) for p, key in shown if p["style"] == style] for style in styles}
    return {
        style: Sample.of(features[encoder], [key for _, key in pairs], [p["scene_id"] for p, _ in pairs])
        for style, pairs in of_style.items()
    }


def _rows(
    config: FrechetConfig, system: System, style: str, one: Measured | LeftOut, made: Sample, real: Sample
) -> Iterator[Row]:
    """Yield the rows of one number: itself, the images on both sides, the scenes and the resamples of these; or that it
    was left out."""

    def row(metric: str, value: float, reason: str | None = None, resample: int | None = None) -> Row:
        return whose(config, system) | {
            "prompt_id": None,
            "scene_id": None,
            "style": style,
            "category": "all",
            "seed": resample,
            "metric": metric,
            "metric_version": one.version,
            "scorer": made.features.about.weights,
            "value": value,
            "reason": reason,
        }

    if isinstance(one, LeftOut):
        yield row(f"{one.metric}/left_out", float(len(made)), one.reason)
        return
    yield row(one.metric, one.value, one.reason)
    yield row(f"{one.metric}/n", float(len(made)))
    yield row(f"{one.metric}/scenes", float(made.number_of_scenes))
    yield row(f"{one.metric}/real", float(len(real)))
    for number, draw in enumerate(one.resamples):
        yield row(f"{one.metric}/bootstrap", float(draw), resample=number)


if __name__ == "__main__":
    run(main, FrechetConfig, FrechetInputs, needs_torch=False)

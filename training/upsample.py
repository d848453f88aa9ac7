"""Job: make short prompts descriptive; what they say survives, or they stay as they are.

The prompts are a table of the evaluation set, any table with a column ``prompt``, or a text file of one a line.
"""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.schemas import PROMPTS, UPSAMPLED
from t2i_assets.corpus.tables import read_rows, write_table
from training.config import UpsampleConfig
from training.job import Job, JobInputs, run
from training.report import Reporter
from training.upsamplers.backends import load_upsampler
from training.upsamplers.continuation import Sampling
from training.upsamplers.protocol import upsample

STYLE = "upsampled"
PROMPTS_PER_PASS = 256


class UpsampleInputs(JobInputs):
    upsampler: Path
    prompts: Path


def main(job: Job[UpsampleConfig, UpsampleInputs], reporter: Reporter) -> None:
    """Write upsampled.parquet (UPSAMPLED), a row per prompt in order, and for PROMPTS also prompts.parquet.

    In the latter the prompts are of style ``upsampled``; facts, scene and category are those of the original, so
    that a picture is judged by what was asked for.
    """
    config, source = job.config, job.inputs.prompts
    sampling = Sampling(config.candidates, config.top_p, config.temperature, config.max_tokens, config.batch_size)
    upsampler = load_upsampler(job.inputs.upsampler, config.precision)
    asked = read_prompts(source, config.style)
    rows: list[dict[str, Any]] = []
    texts = [row["prompt"] for row in asked]
    for start in range(0, len(texts), PROMPTS_PER_PASS):
        part = texts[start : start + PROMPTS_PER_PASS]
        for done in upsample(upsampler, part, config.seed, sampling, config.survival):
            rows.append(
                {
                    "prompt": done.prompt,
                    "upsampled": done.text,
                    "status": done.status,
                    "seed": config.seed,
                    "model": config.upsampler_digest,
                    "log_probability": done.log_probability,
                }
            )
        kept = sum(row["status"] == "kept" for row in rows)
        reporter.log(len(rows), len(texts), kept=kept / len(rows))
    write_table(job.output / "upsampled.parquet", rows, UPSAMPLED)
    if _is_evaluation_set(source):
        prompts = [_as_prompt(of, row["upsampled"]) for of, row in zip(asked, rows, strict=True)]
        write_table(job.output / "prompts.parquet", prompts, PROMPTS)
    kept = sum(row["status"] == "kept" for row in rows)
    reporter.finish(prompts=len(rows), kept=kept, fallback=len(rows) - kept)


def read_prompts(source: Path, style: str | None) -> list[dict[str, Any]]:
    """Return rows with a ``prompt``; those of the evaluation set of one style, or of all.

    Raises ValueError where a table has no such column or no prompt of the style.
    """
    if source.suffix != ".parquet":
        return [{"prompt": line} for line in source.read_text().splitlines() if line.strip()]
    if not _is_evaluation_set(source):
        names = pq.read_schema(source).names
        if "prompt" not in names:
            raise ValueError(f"{source} has no column 'prompt': its columns are {', '.join(names)}")
        return list(pq.read_table(source, columns=["prompt"]).to_pylist())
    rows = read_rows(source, PROMPTS)
    chosen = [row for row in rows if style in (None, row["style"])]
    if rows and not chosen:
        styles = sorted({row["style"] for row in rows})
        raise ValueError(f"{source} has no prompt of style {style!r}: its styles are {', '.join(styles)}")
    return chosen


def _is_evaluation_set(source: Path) -> bool:
    return source.suffix == ".parquet" and set(PROMPTS.names) <= set(pq.read_schema(source).names)


def _as_prompt(original: dict[str, Any], text: str) -> dict[str, Any]:
    """Return the PROMPTS row of an upsampled prompt: the facts stay those of the original."""
    return {
        **{name: original[name] for name in PROMPTS.names},
        "prompt_id": digest([STYLE, text, original["scene_id"]]),
        "style": STYLE,
        "prompt": text,
    }


if __name__ == "__main__":
    run(main, UpsampleConfig, UpsampleInputs)

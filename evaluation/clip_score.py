"""CLIP scores of pictures and their prompts, by a CLIP that shares no data with the models scored.

``python -m evaluation.clip_score --job job.json``

Raw cosines are stored per picture with the scorer's digest; every published definition is derived from them, see
``evaluation.clip_definitions``. Pictures whose cosines an earlier run stored are not looked at again.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip import CLIP, SimpleTokenizer

from evaluation.caption_metrics.clip import PREFIX
from evaluation.clip_definitions import COSINE, COSINES, PREFIXED_COSINE, REFERENCE_COSINE, clip_scores
from evaluation.config import ClipScoreConfig
from evaluation.rescoring import EarlierScores, Identity, Scores, score_what_changed, version_with_settings
from evaluation.rules import Score
from evaluation.systems import EvaluationInputs, Exhibit, Images, Pairing, evals_row, exhibits, scorer_digest
from t2i_assets.corpus.schemas import EVALS
from t2i_assets.corpus.tables import write_table
from training.device import device_for
from training.job import Job, run
from training.models.clip import load_clip
from training.report import Reporter

VERSION = "clip-cosine-1"


def main(job: Job[ClipScoreConfig, EvaluationInputs], reporter: Reporter) -> None:
    """Write scores.parquet: cosines and CLIP scores of each picture."""
    model, tokenizer = load_clip(job.inputs.scorer)
    model.to(device_for(job.config.device))
    scorer, version = scorer_digest(job.inputs.scorer), version_with_settings(VERSION, job.config)
    identity = Identity(version, scorer)
    earlier = EarlierScores(job.inputs.earlier, [identity])
    rows, told, measured = [], defaultdict(list), 0
    shown = exhibits(job.config, job.inputs, image_size_of(model))
    for step, exhibit in enumerate(shown, start=1):
        scores, fresh = score_what_changed(
            exhibit,
            job.config.model,
            earlier,
            identity=lambda _: identity,
            metrics=measured_of,
            measure=lambda part: cosines(model, tokenizer, part, job.config.batch_size),
        )
        measured += fresh
        for pairing, stored in zip(exhibit.pairings, scores, strict=True):
            derived = clip_scores({name: score.value for name, score in stored.items()})
            for metric, value in {**{name: score.value for name, score in stored.items()}, **derived}.items():
                rows.append(evals_row(job.config, exhibit, pairing, metric, version, scorer, Score(value)))
            for metric, value in derived.items():
                told[f"{exhibit.system}/{pairing.prompt['style']}/{metric}"].append(value)
        reporter.log(step, len(shown), images=len(exhibit.pairings), measured=fresh)
    write_table(job.output / "scores.parquet", rows, EVALS)
    means = {name: round(fmean(values), 4) for name, values in sorted(told.items())}
    reporter.finish(**means, measured=measured, taken_over=sum(len(e.pairings) for e in shown) - measured)


def measured_of(pairing: Pairing) -> tuple[str, ...]:
    """Return the cosines that a pairing has: one without references lacks that with them."""
    return (*COSINES, REFERENCE_COSINE) if pairing.references else COSINES


def cosines(model: CLIP, tokenizer: SimpleTokenizer, exhibit: Exhibit, batch_size: int) -> Sequence[Scores]:
    """Return the cosines of each pairing: picture and prompt, bare and prefixed; prompt and its best reference."""
    images = embed_images(model, exhibit.images, batch_size)[[pairing.image for pairing in exhibit.pairings]]
    prompts = [pairing.prompt["prompt"] for pairing in exhibit.pairings]
    texts = sorted({text for pairing in exhibit.pairings for text in (pairing.prompt["prompt"], *pairing.references)})
    prefixed = [PREFIX + text for text in texts]
    embedded = embed_texts(model, tokenizer, [*texts, *prefixed], batch_size)
    said = dict(zip([*texts, *prefixed], embedded, strict=True))
    found: list[Scores] = []
    for image, prompt, pairing in zip(images, prompts, exhibit.pairings, strict=True):
        caption = said[PREFIX + prompt]
        values = {COSINE: float(image @ said[prompt]), PREFIXED_COSINE: float(image @ caption)}
        if pairing.references:
            values[REFERENCE_COSINE] = max(float(caption @ said[PREFIX + text]) for text in pairing.references)
        found.append({name: Score(value) for name, value in values.items()})
    return found


@torch.no_grad()
def embed_images(model: CLIP, images: Images, batch_size: int) -> NDArray[np.float64]:
    """Return unit-norm embeddings [N, E] of uint8 images [N, 3, S, S], normalised as the model's own files say."""
    preprocess, device = model.visual.preprocess_cfg, _device(model)
    mean, std = (torch.tensor(preprocess[name], device=device)[:, None, None] for name in ("mean", "std"))
    parts = [
        model.encode_image((part.to(device).float() / 255 - mean) / std, normalize=True)
        for part in torch.from_numpy(images).split(batch_size)
    ]
    return torch.cat(parts).double().cpu().numpy()


@torch.no_grad()
def embed_texts(model: CLIP, tokenizer: SimpleTokenizer, texts: list[str], batch_size: int) -> NDArray[np.float64]:
    """Return unit-norm embeddings [N, E]; a text that repeats is embedded once."""
    unique = sorted(set(texts))
    tokens = tokenizer(unique)
    embedded = torch.cat([model.encode_text(p.to(_device(model)), normalize=True) for p in tokens.split(batch_size)])
    place = {text: i for i, text in enumerate(unique)}
    return embedded[[place[text] for text in texts]].double().cpu().numpy()


def _device(model: CLIP) -> torch.device:
    return next(model.parameters()).device


def image_size_of(model: CLIP) -> int:
    """Return the side of the square images that the model looks at."""
    size = model.visual.image_size
    return int(size[0] if isinstance(size, tuple) else size)


if __name__ == "__main__":
    run(main, ClipScoreConfig, EvaluationInputs)

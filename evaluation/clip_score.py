"""CLIP score of pictures and their prompts, by a CLIP that shares no data with the models scored.

``python -m evaluation.clip_score --job job.json``

Three definitions circulate; the score stored per picture is the first, and the raw cosine is a hundredth of it:

* DALL·E 3 (Betker et al. 2023): 100·cos, no clamp, no prefix.
* Hessel et al. (2021): 2.5·max(cos, 0), texts prefixed by "A photo depicts ".
* torchmetrics: 100·cos, clamped at 0 after averaging.
"""

from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip import CLIP, SimpleTokenizer

from evaluation.config import ClipScoreConfig
from evaluation.rules import Score
from evaluation.systems import EvaluationInputs, Exhibit, Images, evals_row, exhibits, scorer_digest
from t2i_assets.corpus.schemas import EVALS
from t2i_assets.corpus.tables import write_table
from training.job import Job, run
from training.models.clip import load_clip
from training.report import Reporter

VERSION = "dalle3-clip-score-1"


def main(job: Job[ClipScoreConfig, EvaluationInputs], reporter: Reporter) -> None:
    """Write scores.parquet: 100·cos(picture, prompt) for each picture."""
    model, tokenizer = load_clip(job.inputs.scorer)
    scorer = scorer_digest(job.inputs.scorer)
    rows, means = [], {}
    shown = exhibits(job.config, job.inputs, image_size_of(model))
    for step, exhibit in enumerate(shown, start=1):
        values = 100 * cosines(model, tokenizer, exhibit, job.config.batch_size)
        for pairing, value in zip(exhibit.pairings, values.tolist(), strict=True):
            rows.append(evals_row(job.config, exhibit, pairing, "clip_score", VERSION, scorer, Score(value)))
        styles = {pairing.prompt["style"] for pairing in exhibit.pairings}
        for style in sorted(styles):
            of_style = [v for p, v in zip(exhibit.pairings, values, strict=True) if p.prompt["style"] == style]
            means[f"{exhibit.system}/{style}/clip_score"] = round(fmean(of_style), 4)
        reporter.log(step, len(shown), images=len(exhibit.pairings), clip_score=float(values.mean()))
    write_table(job.output / "scores.parquet", rows, EVALS)
    reporter.finish(**means)


def cosines(model: CLIP, tokenizer: SimpleTokenizer, exhibit: Exhibit, batch_size: int) -> NDArray[np.float64]:
    """Return the cosine of each pairing's picture and prompt, one per pairing."""
    images = embed_images(model, exhibit.images, batch_size)
    texts = embed_texts(model, tokenizer, [pairing.prompt["prompt"] for pairing in exhibit.pairings], batch_size)
    chosen = images[[pairing.image for pairing in exhibit.pairings]]
    result: NDArray[np.float64] = (chosen * texts).sum(1)
    return result


@torch.no_grad()
def embed_images(model: CLIP, images: Images, batch_size: int) -> NDArray[np.float64]:
    """Return unit-norm embeddings [N, E] of uint8 images [N, 3, S, S], normalised as the model's own files say."""
    preprocess = model.visual.preprocess_cfg
    mean, std = (torch.tensor(preprocess[name])[:, None, None] for name in ("mean", "std"))
    parts = [
        model.encode_image((part.float() / 255 - mean) / std, normalize=True)
        for part in torch.from_numpy(images).split(batch_size)
    ]
    return torch.cat(parts).double().numpy()


@torch.no_grad()
def embed_texts(model: CLIP, tokenizer: SimpleTokenizer, texts: list[str], batch_size: int) -> NDArray[np.float64]:
    """Return unit-norm embeddings [N, E]; a text that repeats is embedded once."""
    unique = sorted(set(texts))
    tokens = tokenizer(unique)
    embedded = torch.cat([model.encode_text(part, normalize=True) for part in tokens.split(batch_size)])
    place = {text: i for i, text in enumerate(unique)}
    return embedded[[place[text] for text in texts]].double().numpy()


def image_size_of(model: CLIP) -> int:
    """Return the side of the square images that the model looks at."""
    size = model.visual.image_size
    return int(size[0] if isinstance(size, tuple) else size)


if __name__ == "__main__":
    run(main, ClipScoreConfig, EvaluationInputs)

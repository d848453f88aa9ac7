"""The judge that a configuration asks for."""

from pathlib import Path

import torch

from evaluation.judges import pixels
from evaluation.judges.config import JudgeChoice
from evaluation.judges.protocol import Judge
from evaluation.models.answerer import load_answerer
from evaluation.models.detector import load_detector
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.named_models import named_model_digest


def open_judge(choice: JudgeChoice, trained: Path, scorer: str, batch_size: int, device: torch.device) -> Judge:
    """Return the judge; ``trained`` is the directory of the embedded domain's own and ``scorer`` its digest.

    Raises ValueError where the judge asked for was never trained, or a name holds another kind of model.
    """
    if choice.kind == "pixels":
        return Judge(pixels.VERSION, pixels.IMAGE_SIZE, detector=pixels.PixelJudge(), sees_depth=True)
    if choice.kind == "pretrained":
        return _pretrained(choice, batch_size, device)
    detector = load_detector(trained, batch_size)
    detector.network.to(device)
    answerer = load_answerer(trained, batch_size) if choice.kind == "trained_vqa" else None
    if answerer is not None:
        answerer.detector.to(device)
        answerer.network.to(device)
    name = scorer if answerer is None else f"{scorer}+answerer"
    return Judge(name, detector.image_size, detector=detector, answerer=answerer)


def _pretrained(choice: JudgeChoice, batch_size: int, device: torch.device) -> Judge:
    from evaluation.judges import blip_vqa, transformers_vision  # transformers takes seconds to import

    settings = choice.model_dump(include={"image_size", "score_threshold", "depth_larger"})
    content = named_model_digest(choice.answerer, choice.detector, choice.depth)
    return Judge(
        f"pretrained-{digest([content, settings])}",
        choice.image_size,
        detector=None
        if choice.detector is None
        else transformers_vision.load_detector(choice.detector, choice.score_threshold, batch_size, device),
        answerer=None if choice.answerer is None else blip_vqa.load_blip_answerer(choice.answerer, batch_size, device),
        depth=None
        if choice.depth is None
        else transformers_vision.load_depth(choice.depth, choice.depth_larger, batch_size, device),
    )

"""CoCa captioners: the pipeline's own, and any CoCa that open_clip loads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import open_clip
import torch
from open_clip import SimpleTokenizer
from open_clip.coca_model import CoCa
from torch import Tensor

from training.config import DecodeConfig
from training.models.clip import image_size, preprocess
from training.models.coca import CONFIG_FILE, MERGES_FILE, load_captioner
from training.models.decode import Caption, write_captions


@dataclass(frozen=True)
class CocaCaptioner:
    """A CoCa in evaluation mode with its tokenizer."""

    model: CoCa
    tokenizer: SimpleTokenizer
    prompt: str = ""

    @property
    def image_size(self) -> int:
        return image_size(self.model)

    def write(self, images: Tensor, names: Sequence[str], seed: int, config: DecodeConfig) -> list[Caption]:
        parameter = next(self.model.parameters())
        pixels = preprocess(self.model, images).to(parameter.device, parameter.dtype)
        return write_captions(self.model, self.tokenizer, pixels, names, seed, config, self.prompt)


def open_own(directory: Path, dtype: torch.dtype, prompt: str) -> CocaCaptioner:
    """Open one style of the pipeline's own captioner."""
    captioner = load_captioner(directory)
    preprocessing = captioner.config["preprocess_cfg"]
    captioner.model.visual.image_mean, captioner.model.visual.image_std = preprocessing["mean"], preprocessing["std"]
    return CocaCaptioner(captioner.model.to(dtype), captioner.tokenizer, prompt)


def open_coca(name: str, pretrained: str | None, dtype: torch.dtype) -> Callable[[str], CocaCaptioner]:
    """Open a CoCa by open_clip's name, 'hf-hub:…', 'local-dir:…' or the path of a directory, saved here or there.

    ``pretrained`` is a tag that open_clip lists or the path of a checkpoint. Raises ValueError where the model is no
    CoCa, has no weights, or does not tokenise as CLIP does.
    """
    directory = Path(name.removeprefix("local-dir:"))
    if (directory / MERGES_FILE).exists():
        captioner = open_own(directory, dtype, "")
        return lambda prompt: replace(captioner, prompt=prompt)
    if (directory / CONFIG_FILE).exists():
        name = f"local-dir:{directory}"
    if pretrained is None and ":" not in name:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ValueError(f"the captioner {name!r} needs weights: name them in 'pretrained' (open_clip lists {tags})")
    model = open_clip.create_model(name, pretrained=pretrained).eval()
    tokenizer = open_clip.get_tokenizer(name)
    if not isinstance(model, CoCa):
        raise ValueError(f"{name!r} is a {type(model).__name__}, not a CoCa: it has no decoder to write captions with")
    if not isinstance(tokenizer, SimpleTokenizer):
        raise ValueError(f"{name!r} has a tokenizer of its own ({type(tokenizer).__name__}), which is not supported")
    return lambda prompt: CocaCaptioner(model.to(dtype), tokenizer, prompt)

"""Caption benchmark: this project's decoder and open_clip's ``CoCa.generate``, in turn, on the same model and images.

Both draw tokens from the same nucleus at the same temperature and write captions of one fixed length, so that both do
the same work; the encoding of the images is part of it. Each side's captions are also given to open_clip's forward pass
and to our cached decoder, whose log-probabilities of the tokens must agree to 1e-4. The headline is captions per
second. Prints a table and writes ``build/bench/caption.json``; ends with an error where either is missed.
"""

import argparse
import gzip
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
import transformers
from open_clip import SimpleTokenizer, coca_model
from open_clip.coca_model import CoCa
from open_clip.tokenizer import default_bpe
from torch import Tensor, nn

from training.config import CaptionerConfig, DecodeConfig, TokenizerConfig
from training.models.cached_coca import CachedCoca
from training.models.coca import build_coca, coca_config
from training.models.decode import write_captions

BUILD = Path("build/bench")
WANTED_RATIO = 5.0
WANTED_AGREEMENT = 1e-4
TOP_P = 0.9


@dataclass(frozen=True)
class Case:
    """A model with random weights, its tokenizer and the batch that it is given."""

    name: str
    model: CoCa
    tokenizer: SimpleTokenizer
    images: Tensor
    tokens: int

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())


@dataclass(frozen=True)
class Run:
    """One side's captions of one batch."""

    wall_s: float
    cpu_s: float
    captions: int

    @property
    def rate(self) -> float:
        return self.captions / self.wall_s


def main() -> None:
    """Run the benchmark as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch, for both sides; a job's default")
    parser.add_argument("--tokens", type=int, default=30, help="tokens of every caption")
    parser.add_argument("--tiny-images", type=int, default=256, help="batch of the pipeline's own architecture")
    parser.add_argument("--large-images", type=int, default=16, help="batch of half a coca_ViT-B-32; 0 leaves it out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    BUILD.mkdir(parents=True, exist_ok=True)
    path = enable_generate()
    print(f"open_clip {open_clip.__version__}, transformers {transformers.__version__}: {path}")
    cases = [tiny(options.tiny_images, options.tokens)]
    if options.large_images:
        cases.append(large(options.large_images, options.tokens))
    results: dict[str, Any] = {"options": vars(options), "path": path, "top_p": TOP_P}
    results |= {case.name: compare(case, options.rounds) for case in cases}
    (BUILD / "caption.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"written to {BUILD / 'caption.json'}")
    sys.exit(0 if all(results[case.name]["reached"] for case in cases) else 1)


def enable_generate() -> str:
    """Make ``CoCa.generate`` run; return in words how.

    It imports its processors and its beam classes together, and where transformers no longer has the latter it
    refuses all generation. Its nucleus sampling needs the former alone, so these are given to it.
    """
    if coca_model._has_transformers:
        return "CoCa.generate as it is"
    needed = ("LogitsProcessorList", "TopPLogitsWarper", "MinLengthLogitsProcessor", "MaxLengthCriteria")
    for name in (*needed, "RepetitionPenaltyLogitsProcessor", "StoppingCriteriaList"):
        setattr(coca_model, name, getattr(transformers, name))
    coca_model.GENERATION_TYPES["top_p"] = transformers.TopPLogitsWarper
    coca_model._has_transformers = True
    return "CoCa.generate's own loop; this transformers lacks its beam classes, which nucleus sampling does not need"


def tiny(images: int, tokens: int) -> Case:
    """Return the pipeline's captioner at its default sizes."""
    config = CaptionerConfig()
    tokenizer = _small_tokenizer(TokenizerConfig().merges, max(config.context_length, tokens + 2))
    torch.manual_seed(0)
    architecture = coca_config(
        vocab_size=tokenizer.vocab_size,
        image_size=config.image_size,
        patch_size=config.patch_size,
        width=config.width,
        image_layers=config.image_layers,
        text_layers=config.text_layers,
        decoder_layers=config.decoder_layers,
        heads=config.heads,
        context_length=max(config.context_length, tokens + 2),
        stem_blocks=config.stem_blocks,
    )
    return _case("tiny", build_coca(architecture), tokenizer, images, config.image_size, tokens)


def large(images: int, tokens: int) -> Case:
    """Return open_clip's coca_ViT-B-32 with six text and six decoder layers instead of twelve each."""
    config = open_clip.get_model_config("coca_ViT-B-32")
    config["text_cfg"]["layers"] = config["multimodal_cfg"]["layers"] = 6
    torch.manual_seed(0)
    model = CoCa(**{name: value for name, value in config.items() if name != "custom_text"})
    nn.init.normal_(model.text_decoder.text_projection, std=model.text_decoder.width**-0.5)
    size = config["vision_cfg"]["image_size"]
    tokenizer = SimpleTokenizer(context_length=model.context_length)
    return _case("coca_ViT-B-32, 6 + 6 layers", model, tokenizer, images, size, tokens)


def compare(case: Case, rounds: int) -> dict[str, Any]:
    """Run both sides in alternating order; print and return what was measured."""
    width, layers = case.model.text_decoder.width, case.model.text_decoder.layers
    shape = f"{case.parameters / 1e6:.1f} M parameters, width {width}, {layers} decoder layers"
    print(f"{case.name}: {shape}; {len(case.images)} images in a batch, {case.tokens} tokens each")
    sides: dict[str, Callable[[Case], Tensor]] = {"ours": ours, "open_clip": theirs}
    for side in sides.values():
        side(Case(case.name, case.model, case.tokenizer, case.images[:2], 3))
    runs: list[dict[str, Run]] = []
    written: dict[str, Tensor] = {}
    for number in range(rounds):
        runs.append({})
        for name in list(sides)[:: 1 if number % 2 == 0 else -1]:
            runs[-1][name], written[name] = _timed(case, sides[name])
        told = ", ".join(f"{name} {run.rate:.2f}/s ({run.cpu_s:.1f} s CPU)" for name, run in runs[-1].items())
        print(f"  round {number + 1}: {told}", flush=True)
    ratios = [turn["open_clip"].wall_s / turn["ours"].wall_s for turn in runs]
    cpu_ratios = [turn["open_clip"].cpu_s / turn["ours"].cpu_s for turn in runs]
    agreement = {name: disagreement(case, tokens) for name, tokens in written.items()}
    reached = statistics.median(ratios) >= WANTED_RATIO and max(agreement.values()) <= WANTED_AGREEMENT
    print(f"  ratio {_spread(ratios)}, wanted {WANTED_RATIO:g}; of CPU time {_spread(cpu_ratios)}")
    print(
        "  largest difference of a token's log-probability, teacher-forced: "
        + ", ".join(f"{value:.1e} on what {name} wrote" for name, value in agreement.items())
        + f", wanted {WANTED_AGREEMENT:g}: {'reached' if reached else 'MISSED'}"
    )
    return {
        "parameters": case.parameters,
        "images": len(case.images),
        "tokens": case.tokens,
        "runs": [{name: asdict(run) for name, run in turn.items()} for turn in runs],
        "captions_per_s": {name: statistics.median(turn[name].rate for turn in runs) for name in sides},
        "ratios": ratios,
        "ratio": statistics.median(ratios),
        "cpu_ratios": cpu_ratios,
        "disagreement": agreement,
        "reached": reached,
    }


def ours(case: Case) -> Tensor:
    """Return the tokens (N, tokens) that our decoder writes."""
    config = DecodeConfig(method="nucleus", top_p=TOP_P, min_tokens=case.tokens, max_tokens=case.tokens)
    names = [str(number) for number in range(len(case.images))]
    written = write_captions(case.model, case.tokenizer, case.images, names, 0, config)
    return torch.tensor([caption.tokens for caption in written])


def theirs(case: Case) -> Tensor:
    """Return the tokens (N, tokens) that ``CoCa.generate`` writes, each by one pass as here.

    Its limits count the start; the criterion spares it a last pass after which it would only set the end. No token is
    taken for the padding, because it is also a word ("!").
    """
    generated = case.model.generate(
        case.images,
        seq_len=case.tokens + 2,
        min_seq_len=case.tokens + 1,
        stopping_criteria=[transformers.MaxLengthCriteria(max_length=case.tokens + 1)],
        generation_type="top_p",
        top_p=TOP_P,
        temperature=1.0,
        sot_token_id=case.tokenizer.sot_token_id,
        eos_token_id=case.tokenizer.eot_token_id,
        pad_token_id=-1,
    )
    return generated[:, 1:]


@torch.no_grad()
def disagreement(case: Case, tokens: Tensor) -> float:
    """Return the largest difference between our decoder's and open_clip's log-probabilities of ``tokens`` (N, T)."""
    start = torch.full((len(tokens), 1), case.tokenizer.sot_token_id)
    given = torch.cat([start, tokens[:, :-1]], dim=1)
    whole = case.model(case.images, given, output_labels=False)["logits"].log_softmax(dim=2)
    expected = whole.gather(2, tokens[:, :, None])[:, :, 0]
    decoder = CachedCoca(case.model, case.model._encode_image(case.images)[1], tokens.shape[1])
    steps = [decoder.step(given[:, n]).log_softmax(dim=1).gather(1, tokens[:, n, None]) for n in range(tokens.shape[1])]
    return float((torch.cat(steps, dim=1) - expected).abs().max())


def _case(name: str, model: CoCa, tokenizer: SimpleTokenizer, images: int, size: int, tokens: int) -> Case:
    pixels = torch.rand(images, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Case(name, model.eval(), tokenizer, pixels, tokens)


def _small_tokenizer(merges: int, context_length: int) -> SimpleTokenizer:
    """Return a tokenizer with the first ``merges`` of open_clip's."""
    lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")[: merges + 1]
    path = BUILD / "merges.txt.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return SimpleTokenizer(bpe_path=str(path), context_length=context_length)


def _timed(case: Case, side: Callable[[Case], Tensor]) -> tuple[Run, Tensor]:
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = side(case)
    run = Run(time.perf_counter() - wall, time.process_time() - cpu, len(tokens))
    if tokens.shape != (len(case.images), case.tokens):
        raise RuntimeError(f"wrote {tuple(tokens.shape)} tokens instead of {(len(case.images), case.tokens)}")
    return run, tokens


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()

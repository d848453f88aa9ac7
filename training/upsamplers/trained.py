"""Back end ``trained``: a small causal language model that has seen nothing but the training captions.

A text is ``prompt <start> descriptive <end>`` in the tokens of the pipeline's own vocabulary; its specials part the
two. The model is transformers' GPT-2 (Radford et al. 2019) in transformers' layout on disk.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from open_clip import SimpleTokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from training.config import UpsamplerConfig
from training.models.decode import detokenize
from training.tokenizer import MERGES, load
from training.upsamplers.continuation import Sampling, continuations, log_likelihood
from training.upsamplers.protocol import Candidate

INITIAL_STD = 0.06
"""GPT-2's 0.02 is meant for a width of 768; at 128 the model would take twice the steps to learn to copy."""


class TrainedUpsampler:
    """A GPT-2 over the pipeline's vocabulary."""

    def __init__(self, model: GPT2LMHeadModel, tokenizer: SimpleTokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    def write(self, prompts: Sequence[str], seed: int, sampling: Sampling) -> list[list[Candidate]]:
        start, end = self.tokenizer.sot_token_id, self.tokenizer.eot_token_id
        prefixes = [[*self.tokenizer.encode(prompt), start] for prompt in prompts]
        written = continuations(self.model, prefixes, prompts, seed, (end,), (start,), sampling)
        return [
            [
                Candidate(
                    respelled(detokenize(self.tokenizer, text.tokens), prompt, self.tokenizer), text.log_probability
                )
                for text in texts
            ]
            for prompt, texts in zip(prompts, written, strict=True)
        ]

    def log_likelihood(self, prompt: str, text: str) -> tuple[float, int]:
        prefix = [*self.tokenizer.encode(prompt), self.tokenizer.sot_token_id]
        tokens = [*self.tokenizer.encode(text), self.tokenizer.eot_token_id]
        return log_likelihood(self.model, prefix, tokens)

    def save(self, directory: Path, tokenizer: Path) -> None:
        """Write the model into ``directory``, with the merges that lie in the directory ``tokenizer``."""
        self.model.save_pretrained(directory)
        shutil.copy(tokenizer / MERGES, directory / MERGES)


def respelled(text: str, prompt: str, tokenizer: SimpleTokenizer) -> str:
    """Return a detokenized ``text`` with the words of the prompt as they stood there: tokens part ``t-shirt``."""
    for word in dict.fromkeys(word.strip(",.;:!?") for word in prompt.lower().split()):
        parted = detokenize(tokenizer, tokenizer.encode(word))
        if parted != word:
            text = re.sub(rf"(?<!\w){re.escape(parted)}(?!\w)", word.replace("\\", r"\\"), text)
    return text


def new_upsampler(config: UpsamplerConfig, tokenizer: SimpleTokenizer) -> TrainedUpsampler:
    """Return an upsampler with random weights."""
    shape = GPT2Config(
        vocab_size=tokenizer.vocab_size,
        n_positions=config.context_length,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        initializer_range=INITIAL_STD,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        activation_function="gelu_pytorch_tanh",
        bos_token_id=tokenizer.sot_token_id,
        eos_token_id=tokenizer.eot_token_id,
    )
    return TrainedUpsampler(GPT2LMHeadModel(shape), tokenizer)


def load_trained(directory: Path) -> TrainedUpsampler:
    """Return the upsampler that ``save`` wrote."""
    model = GPT2LMHeadModel.from_pretrained(directory, local_files_only=True).eval()
    return TrainedUpsampler(model, load(directory, model.config.n_positions))

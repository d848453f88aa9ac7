"""Back end ``transformers``: any causal language model, told by an instruction and examples what to write.

A model whose tokenizer has a chat template gets the examples as turns of a conversation, any other as lines of text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from training.upsamplers.continuation import Sampling, continuations, log_likelihood
from training.upsamplers.protocol import Candidate

SHORT, LONG = "Short prompt:", "Descriptive prompt:"


class PretrainedUpsampler:
    """A causal language model with its instruction and its (short, descriptive) examples."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        instruction: str,
        examples: Sequence[tuple[str, str]],
    ) -> None:
        self.model, self.tokenizer, self.instruction, self.examples = model, tokenizer, instruction, examples
        self._ends = _ends(model, tokenizer)

    def write(self, prompts: Sequence[str], seed: int, sampling: Sampling) -> list[list[Candidate]]:
        prefixes = [self.prefix(prompt) for prompt in prompts]
        written = continuations(self.model, prefixes, prompts, seed, self._ends, (), sampling)
        return [[Candidate(self._text(text.tokens), text.log_probability) for text in texts] for texts in written]

    def log_likelihood(self, prompt: str, text: str) -> tuple[float, int]:
        tokens = self.tokenizer.encode(self._opening + text + "\n", add_special_tokens=False)
        return log_likelihood(self.model, self.prefix(prompt), tokens)

    def prefix(self, prompt: str) -> list[int]:
        """Return the tokens after which the descriptive prompt begins."""
        line = " ".join(prompt.split())
        if self.tokenizer.chat_template is None:
            shown = [f"{SHORT} {short}\n{LONG} {long}" for short, long in self.examples]
            asked = "\n\n".join([self.instruction, *shown, f"{SHORT} {line}\n{LONG}"])
            return list(self.tokenizer.encode(asked))
        turns = [turn for short, long in self.examples for turn in (("user", short), ("assistant", long))]
        turns.append(("user", line))
        turns[0] = ("user", f"{self.instruction}\n\n{turns[0][1]}")
        conversation = [{"role": role, "content": content} for role, content in turns]
        return list(
            self.tokenizer.apply_chat_template(
                conversation, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        )

    @property
    def _opening(self) -> str:
        """What stands between the prefix and the first word: a chat's turn begins with the word itself."""
        return " " if self.tokenizer.chat_template is None else ""

    def _text(self, tokens: Sequence[int]) -> str:
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip().strip("\"'“”").strip()


def load_pretrained(
    told: Mapping[str, Any], examples: Sequence[tuple[str, str]], precision: str
) -> PretrainedUpsampler:
    """Return the upsampler of a record, ``model``, ``revision`` and ``instruction``, shown (short, long) ``examples``.

    Raises OSError where transformers finds no such model.
    """
    name, revision = told["model"], told["revision"] or "main"
    model = AutoModelForCausalLM.from_pretrained(
        name, revision=revision, dtype=torch.bfloat16 if precision == "bf16" else torch.float32
    ).eval()
    tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    return PretrainedUpsampler(model, tokenizer, told["instruction"], examples)


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens that end a text or its line."""
    generation = model.generation_config.eos_token_id if model.generation_config else None
    ends = {tokenizer.eos_token_id, *(generation if isinstance(generation, list) else [generation])} - {None}
    pieces = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    return tuple(sorted(ends | {token for token, piece in enumerate(pieces) if "\n" in piece}))

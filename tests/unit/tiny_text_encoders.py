"""Small CLIPs and T5s with random weights, as transformers and open_clip keep them on disk."""

from pathlib import Path

import torch
from open_clip import SimpleTokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from training.models.clip import build_clip, save_clip
from training.tokenizer import as_transformers, learn_merges, write_merges
from training.tokenizer import load as load_tokenizer

WORDS = ["a red picture", "a blue picture", "a striped red star left of a blue circle"]
LENGTH = 12


def write_merges_of_words(directory: Path) -> SimpleTokenizer:
    """Write the merges of ``WORDS`` and return their tokenizer."""
    write_merges(directory, learn_merges(WORDS, 20, 1))
    return load_tokenizer(directory, LENGTH)


def write_open_clip(directory: Path, quick_gelu: bool = False) -> None:
    """Write a CLIP in open_clip's layout."""
    torch.manual_seed(1)
    tokenizer = write_merges_of_words(directory)
    vision = {"image_size": 16, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": LENGTH, "vocab_size": tokenizer.vocab_size, "width": 32, "heads": 2, "layers": 2}
    told = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, "quick_gelu": quick_gelu}
    model = build_clip(told)
    for weight in model.transformer.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    save_clip(model, told, tokenizer, directory)


def write_transformers_clip(directory: Path) -> None:
    """Write a CLIPTextModelWithProjection and its tokenizer."""
    torch.manual_seed(2)
    tokenizer = as_transformers(write_merges_of_words(directory))
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        projection_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    CLIPTextModelWithProjection(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def write_t5(directory: Path) -> None:
    """Write a T5EncoderModel and a tokenizer that ends a text as T5's does."""
    torch.manual_seed(3)
    pieces = Tokenizer(models.Unigram())
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=40, special_tokens=special, unk_token="<unk>", show_progress=False)
    pieces.train_from_iterator(WORDS, trainer)
    pieces.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    tokenizer.save_pretrained(directory)
    shape = T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
    T5EncoderModel(shape).save_pretrained(directory)

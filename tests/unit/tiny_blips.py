"""BLIP and BLIP-2 checkpoints of random weights, saved as transformers saves them."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    BertTokenizer,
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipImageProcessor,
    BlipProcessor,
    OPTConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
)

WORDS = ["a", "red", "blue", "green", "star", "circle", "square", "on", "left", "of", "the", "and", "two", "photo"]
SIZE = 16
VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def save_blip(directory: Path) -> None:
    """Save a BLIP whose special tokens stand where those of published ones do: [DEC] starts, [SEP] ends."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]"]
    tokenizer = BertTokenizer(vocab={word: n for n, word in enumerate([*special, *WORDS])})
    text = {"vocab_size": len(special) + len(WORDS), "encoder_hidden_size": 16, "max_position_embeddings": 24}
    tokens = {"bos_token_id": 5, "eos_token_id": 2, "pad_token_id": 0, "sep_token_id": 3}
    torch.manual_seed(0)
    config = BlipConfig(text_config={**VISION, **text, **tokens}, vision_config={**VISION, **_grid()})
    model = _sharpened(BlipForConditionalGeneration(config))
    model.save_pretrained(directory)
    BlipProcessor(_image_processor(), tokenizer).save_pretrained(directory)


def save_blip2(directory: Path, language: str) -> None:
    """Save a BLIP-2 on OPT, which continues its prompt, or on T5, which reads it first."""
    special = ["<pad>", "</s>", "<unk>", "\n", "<image>"]
    words = {word: n for n, word in enumerate([*special, *WORDS])}
    backend = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    form = "</s> $A" if language == "opt" else "$A </s>"
    backend.post_processor = processors.TemplateProcessing(single=form, special_tokens=[("</s>", words["</s>"])])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", bos_token="</s>"
    )
    size = {"vocab_size": len(words), "pad_token_id": 0, "bos_token_id": 1}
    text = (
        OPTConfig(**VISION, **size, ffn_dim=32, word_embed_proj_dim=16, max_position_embeddings=40, eos_token_id=3)
        if language == "opt"
        else T5Config(
            **size, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0, eos_token_id=1
        )
    )
    torch.manual_seed(0)
    config = Blip2Config(
        vision_config=Blip2VisionConfig(**VISION, **_grid()).to_dict(),
        qformer_config=Blip2QFormerConfig(**VISION, encoder_hidden_size=16, vocab_size=len(words)).to_dict(),
        text_config=text.to_dict(),
        num_query_tokens=3,
        image_token_index=words["<image>"],
    )
    model = _sharpened(Blip2ForConditionalGeneration(config))
    nn.init.normal_(model.query_tokens)
    model.save_pretrained(directory)
    Blip2Processor(_image_processor(), tokenizer, num_query_tokens=3).save_pretrained(directory)


def _grid() -> dict[str, int]:
    return {"image_size": SIZE, "patch_size": 8}


def _image_processor() -> BlipImageProcessor:
    return BlipImageProcessor(size={"height": SIZE, "width": SIZE}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2] * 3)


def _sharpened(model: PreTrainedModel) -> PreTrainedModel:
    """Give the weights a size at which images and earlier tokens matter."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.6 if "vision" not in name else 0.3)
    return model.eval()

"""BLIP-VQA, detection and depth checkpoints of random weights, saved as transformers saves them."""

from pathlib import Path

import torch
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForQuestionAnswering,
    BlipImageProcessor,
    BlipProcessor,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessor,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessor,
)

WORDS = ["yes", "no", "a", "red", "blue", "green", "bench", "bowl", "star", "circle", "?", "and", "the"]
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIDE = 32


def save_blip_vqa(
    directory: Path, yes: float | None = None, no: float | None = None, tokens_known: bool = True
) -> None:
    """Save a BLIP that answers questions; with ``yes`` and ``no`` these are its logits, whatever it is asked.

    [DEC] and [ENC] are its last tokens, which the tokenizers of published checkpoints do not know.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: place for place, word in enumerate([*special, *WORDS, "[DEC]", "[ENC]"])}
    tokens = {"bos_token_id": vocabulary["[DEC]"], "eos_token_id": 2, "pad_token_id": 0, "sep_token_id": 3}
    text = {"vocab_size": len(vocabulary), "encoder_hidden_size": 16, "max_position_embeddings": 40, **tokens}
    torch.manual_seed(0)
    config = BlipConfig(text_config={**SMALL, **text}, vision_config={**SMALL, "image_size": SIDE, "patch_size": 16})
    model = BlipForQuestionAnswering(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4)  # far from uniform answers
        if yes is not None and no is not None:
            head = model.text_decoder.cls.predictions
            head.transform.LayerNorm.weight.zero_()
            head.transform.LayerNorm.bias.zero_()
            head.bias.zero_()
            head.bias[vocabulary["yes"]], head.bias[vocabulary["no"]] = yes, no
            if head.decoder.bias is not None:
                head.decoder.bias.copy_(head.bias)
    model.save_pretrained(directory)
    pixels = BlipImageProcessor(size={"height": SIDE, "width": SIDE})
    said = {word: place for word, place in vocabulary.items() if tokens_known or word not in ("[DEC]", "[ENC]")}
    BlipProcessor(pixels, BertTokenizer(vocab=said)).save_pretrained(directory)


def save_detector(directory: Path) -> None:
    """Save a YOLOS that knows cars, carpets and dogs."""
    torch.manual_seed(0)
    config = YolosConfig(**SMALL, image_size=[SIDE, SIDE], patch_size=16, num_detection_tokens=5)
    config.id2label = {0: "Car", 1: "Carpet", 2: "Dog"}
    config.label2id = {label: place for place, label in config.id2label.items()}
    YolosForObjectDetection(config).save_pretrained(directory)
    size = {"shortest_edge": SIDE, "longest_edge": SIDE}
    YolosImageProcessor(size=size).save_pretrained(directory)


def save_depth(directory: Path) -> None:
    """Save a DPT."""
    torch.manual_seed(0)
    config = DPTConfig(
        **{**SMALL, "num_hidden_layers": 4},
        image_size=SIDE,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
    )
    DPTForDepthEstimation(config).save_pretrained(directory)
    DPTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(directory)

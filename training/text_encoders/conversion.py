"""open_clip's text tower and tokenizer as transformers loads them, with the same states."""

from open_clip import CLIP, SimpleTokenizer
from open_clip.transformer import QuickGELU
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from training.text_encoders.protocol import TextEncoderError
from training.tokenizer import as_transformers


def to_transformers(clip: CLIP, tokenizer: SimpleTokenizer) -> tuple[CLIPTextModelWithProjection, CLIPTokenizer]:
    """Return the text tower with its projection, in eval mode, and the tokenizer.

    Texts are padded with the end token, as OpenAI's are: nothing before the end sees what comes after it.
    Raises what ``require_convertible`` does.
    """
    require_convertible(clip, tokenizer)
    words = as_transformers(tokenizer)
    layer = clip.transformer.resblocks[0]
    config = CLIPTextConfig(
        vocab_size=clip.token_embedding.num_embeddings,
        hidden_size=clip.token_embedding.embedding_dim,
        intermediate_size=layer.mlp.c_fc.out_features,
        projection_dim=clip.text_projection.shape[1],
        num_hidden_layers=len(clip.transformer.resblocks),
        num_attention_heads=layer.attn.num_heads,
        max_position_embeddings=clip.context_length,
        hidden_act="quick_gelu" if isinstance(layer.mlp.gelu, QuickGELU) else "gelu",
        layer_norm_eps=clip.ln_final.eps,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    model = CLIPTextModelWithProjection(config)
    model.load_state_dict(_weights_of(clip), strict=True)
    return model.eval(), words


def require_convertible(clip: CLIP, tokenizer: SimpleTokenizer) -> None:
    """Raise TextEncoderError unless text tower and tokenizer are CLIP's own."""
    if not isinstance(clip, CLIP) or not isinstance(tokenizer, SimpleTokenizer):
        kind = type(tokenizer if isinstance(clip, CLIP) else clip).__name__
        raise TextEncoderError(
            f"a {kind} of open_clip has no like in transformers' CLIPTextModel: "
            "give its text encoder as backend clip or t5"
        )


def _weights_of(clip: CLIP) -> dict[str, Tensor]:
    weights = {
        "text_model.embeddings.token_embedding.weight": clip.token_embedding.weight,
        "text_model.embeddings.position_embedding.weight": clip.positional_embedding,
        "text_projection.weight": clip.text_projection.T,
        **_named("text_model.final_layer_norm", clip.ln_final),
    }
    for number, layer in enumerate(clip.transformer.resblocks):
        name = f"text_model.encoder.layers.{number}"
        for part, weight, bias in zip(
            "qkv", layer.attn.in_proj_weight.chunk(3), layer.attn.in_proj_bias.chunk(3), strict=True
        ):
            weights |= {f"{name}.self_attn.{part}_proj.weight": weight, f"{name}.self_attn.{part}_proj.bias": bias}
        weights |= {
            **_named(f"{name}.self_attn.out_proj", layer.attn.out_proj),
            **_named(f"{name}.layer_norm1", layer.ln_1),
            **_named(f"{name}.layer_norm2", layer.ln_2),
            **_named(f"{name}.mlp.fc1", layer.mlp.c_fc),
            **_named(f"{name}.mlp.fc2", layer.mlp.c_proj),
        }
    return {name: weight.detach().float().contiguous() for name, weight in weights.items()}


def _named(name: str, layer: nn.LayerNorm | nn.Linear) -> dict[str, Tensor]:
    return {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}

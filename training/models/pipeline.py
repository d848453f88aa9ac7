"""Draws images from texts with latent diffusion, wherever torch, diffusers and transformers are installed.

A copy of this file lies in the directory of every model that needs it, and imports nothing of the project:

    pipeline = DiffusionPipeline.from_pretrained(directory, trust_remote_code=True)
    pipeline("a striped red star left of a blue circle").images[0].save("star.png")
"""

import math
from typing import Any

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    ImagePipelineOutput,
    UNet2DConditionModel,
)
from diffusers.image_processor import VaeImageProcessor
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor
from torch.nn import functional as F


class TextToImagePipeline(DiffusionPipeline):
    """Texts to images: a frozen text encoder, a U-Net on normalised latents and the decoder of an autoencoder.

    Args:
        told: what the U-Net is told of a text: ``full`` (states beside the words' embeddings, zero after the end, and
            the text's embedding) or ``states``.
        image_space: digest of the CLIP whose image embeddings the U-Net is told, where it is told any.
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"

    def __init__(
        self,
        unet: UNet2DConditionModel,
        scheduler: Any,
        vae: AutoencoderKL,
        text_encoder: Any,
        tokenizer: Any,
        told: str = "full",
        image_space: str | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer)
        self.register_to_config(told=told, image_space=image_space)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | list[str],
        num_inference_steps: int = 20,
        guidance_scale: float = 2.0,
        guidance_rescale: float = 0.0,
        image_embeds: Tensor | None = None,
        height: int | None = None,
        width: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> Any:
        """Return an image for each prompt.

        Args:
            prompt: one or several texts; the empty text stands for no condition.
            guidance_scale: 1 is none.
            guidance_rescale: how far a guided prediction gets the unguided one's deviation back.
            image_embeds: for a model that takes them, unit-norm CLIP image embeddings [B, F]; without them it draws
                from the texts alone.
            height: in pixels, as ``width``; what the model was trained on by default.
            generator: one for all images or one for each.
            latents: starting noise [B, C, H, W]; drawn from ``generator`` by default.
            output_type: ``pil``, ``np`` or ``pt`` (images in [0, 1]), or ``latent``.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        device = self._execution_device
        latents = self.starting_noise(len(prompts), height, width, generator, latents).to(device)
        told = self.encode(prompts, image_embeds)
        nothing = self.encode([""] * len(prompts), None)
        self.set_steps(num_inference_steps)
        added = {"generator": generator} if isinstance(self.scheduler, DDPMScheduler) else {}
        for timestep in self.progress_bar(self.scheduler.timesteps):
            prediction = self.unet(latents, timestep, **told).sample
            if guidance_scale != 1:
                free = self.unet(latents, timestep, **nothing).sample
                guided = free + guidance_scale * (prediction - free)
                dimensions = tuple(range(1, guided.ndim))
                deviation = prediction.std(dimensions, keepdim=True) / guided.std(dimensions, keepdim=True)
                prediction = guided * (guidance_rescale * deviation + 1 - guidance_rescale)
            latents = self.scheduler.step(prediction, timestep, latents, **added).prev_sample
        if output_type != "latent":
            decoded = self.vae.decode(latents / self.vae.config.scaling_factor).sample
            latents = VaeImageProcessor().postprocess(decoded, output_type=output_type)
        self.maybe_free_model_hooks()
        return ImagePipelineOutput(images=latents) if return_dict else (latents,)

    def encode(self, prompts: list[str], image_embeds: Tensor | None) -> dict[str, Any]:
        """Return what the U-Net is told, as its keyword arguments."""
        states, embeddings = condition_of(self.text_encoder, self.tokenizer, prompts, self.config.told)
        told: dict[str, Any] = {"encoder_hidden_states": states}
        parts = [embeddings]
        if self.unet.config.encoder_hid_dim_type == "text_image_proj":
            dimensions = self.unet.config.cross_attention_dim
            images = states.new_zeros(len(prompts), dimensions)
            if image_embeds is not None:
                images = image_embeds.to(states) * math.sqrt(dimensions)
            parts.append(images)
            told["added_cond_kwargs"] = {"image_embeds": images}
        if self.unet.config.class_embed_type is not None:
            told["class_labels"] = torch.cat(parts, dim=1)
        return told

    def set_steps(self, steps: int) -> None:
        """Set the scheduler's steps: evenly from noise to data for flow matching, as configured for the others."""
        if isinstance(self.scheduler, FlowMatchEulerDiscreteScheduler):
            self.scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), device=self._execution_device)
        else:
            self.scheduler.set_timesteps(steps, device=self._execution_device)

    def starting_noise(
        self,
        count: int,
        height: int | None,
        width: int | None,
        generator: torch.Generator | list[torch.Generator] | None,
        latents: Tensor | None,
    ) -> Tensor:
        """Return ``latents`` where they are given, else noise for images of the size asked for.

        Raises ValueError where no latents have that size.
        """
        if latents is not None:
            return latents
        scale = 2 ** (len(self.vae.config.block_out_channels) - 1)
        for name, asked in (("height", height), ("width", width)):
            if asked is not None and (asked < scale or asked % scale):
                raise ValueError(f"{name} is {asked} pixels, but must be a multiple of {scale}")
        side = self.unet.config.sample_size
        usual = side if isinstance(side, list | tuple) else (side, side)
        shape = (
            count,
            self.unet.config.in_channels,
            usual[0] if height is None else height // scale,
            usual[1] if width is None else width // scale,
        )
        return randn_tensor(shape, generator=generator, device=self._execution_device, dtype=self.unet.dtype)


@torch.no_grad()
def condition_of(text_encoder: Any, tokenizer: Any, texts: list[str], told: str) -> tuple[Tensor, Tensor]:
    """Return states [B, L, W] and embeddings [B, E] of texts, E = 0 where the U-Net is told states alone.

    The states of a T5, which sees all tokens at once, are zero after the end of the text.
    """
    words = tokenizer(
        texts, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    ).to(text_encoder.device)
    mask = words.attention_mask.bool()[:, :, None]
    if text_encoder.config.model_type == "t5":
        states = text_encoder(words.input_ids, attention_mask=words.attention_mask).last_hidden_state
        return states.masked_fill(~mask, 0), states.new_zeros(len(states), 0)
    said = text_encoder(words.input_ids)
    states = said.last_hidden_state
    if told == "states":
        return states, states.new_zeros(len(states), 0)
    which = F.layer_norm(text_encoder.get_input_embeddings()(words.input_ids), (states.shape[2],))
    embeddings = F.normalize(said.text_embeds, dim=-1) * math.sqrt(said.text_embeds.shape[1])
    return torch.cat([states, which], dim=2).masked_fill(~mask, 0), embeddings

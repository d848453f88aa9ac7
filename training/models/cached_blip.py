"""BLIP's image-grounded text decoder, one position at a time: keys and values of earlier positions are kept."""

from torch import Tensor

from training.models.blip_filter import BlipFilter, Grounding


class CachedBlip:
    """Decodes texts about images (N); gives the logits of ``BlipFilter.next_tokens``."""

    def __init__(self, model: BlipFilter, grounding: Grounding) -> None:
        self.model = model
        self.position = 0
        self.seen = grounding.keys_values
        self.past: list[tuple[Tensor, Tensor] | None] = [None for _ in model.text_layers]

    def step(self, tokens: Tensor) -> Tensor:
        """Return the logits (N, V) that follow ``tokens`` (N,) and all tokens before them."""
        x = (self.model.token_embedding(tokens) + self.model.text_position[self.position])[:, None]
        for number, layer in enumerate(self.model.text_layers):
            x, self.past[number] = layer.go_on(x, self.past[number], self.seen[number])
        self.position += 1
        return (self.model.text_norm(x) @ self.model.token_embedding.weight.T)[:, 0]

    def select(self, rows: Tensor, beams: int = 1) -> None:
        """Go on with ``rows`` (M,), numbers of present ones; each keeps the image of the row it comes from."""
        self.seen = [(keys[rows], values[rows]) for keys, values in self.seen]
        self.past = [None if past is None else (past[0][rows], past[1][rows]) for past in self.past]

"""Self-training: what the captioner says alike of every view teaches it, what it wavers about does not."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from training import self_training
from training.models.coca import Captioner
from training.pairs import Pair, Pairs

PICTURES = Pairs(["a", "b", "c"], torch.arange(3 * 3 * 8 * 8, dtype=torch.uint8).view(3, 3, 8, 8), [Pair(0, "alt")])


def captioner() -> Captioner:
    return cast(Captioner, SimpleNamespace(model=torch.nn.Linear(1, 1), tokenizer=None))


def test_a_picture_that_is_captioned_alike_from_every_view_is_kept_with_that_caption(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.Tensor] = []

    def write(model: Any, tokenizer: Any, images: torch.Tensor, names: list[str], *_: Any) -> list[Any]:
        seen.append(images)
        wavering = {"b": f"view {len(seen)}"}
        return [SimpleNamespace(text=wavering.get(name, f"a {name}")) for name in names]

    monkeypatch.setattr(self_training, "write_captions", write)
    sure = self_training.sure_captions(captioner(), PICTURES, views=3, seed=0, batch_size=4)
    assert sure.keys == ["a", "c"]
    assert [pair.text for pair in sure.pairs] == ["a a", "a c"]
    assert torch.equal(sure.images[1], PICTURES.images[2])
    assert torch.equal(seen[0], PICTURES.images.float() / 127.5 - 1)
    assert not torch.equal(seen[1], seen[0])
    assert not torch.equal(seen[1], seen[2])


def test_views_depend_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []

    def write(model: Any, tokenizer: Any, images: torch.Tensor, names: list[str], *_: Any) -> list[Any]:
        seen.append(images)
        return [SimpleNamespace(text="one") for _ in names]

    monkeypatch.setattr(self_training, "write_captions", write)
    for seed in (1, 1, 2):
        self_training.sure_captions(captioner(), PICTURES, views=2, seed=seed)
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[1], seen[5])

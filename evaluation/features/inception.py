"""The Inception network of the published FID: TensorFlow's of 2015-12-05, in the names of its port to PyTorch.

Architecture: Szegedy et al., "Rethinking the Inception architecture" (2016), as TensorFlow ran it: averages leave the
border out of the count, the last block takes a maximum, and there are 1008 classes. The port's weights
(``pt_inception-2015-12-05-6726825d.pth``) name each convolution ``….conv`` and its normalisation ``….bn``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE, FEATURES, CLASSES = 299, 2048, 1008
EPSILON = 0.001
Kernel = tuple[int, int]


@dataclass(frozen=True)
class Conv:
    """A convolution of a branch: its name, channels out, kernel and stride; the padding keeps the side at stride 1."""

    name: str
    channels: int
    kernel: Kernel = (1, 1)
    stride: int = 1

    @property
    def padding(self) -> Kernel:
        return (self.kernel[0] // 2, self.kernel[1] // 2) if self.stride == 1 else (0, 0)


Branch = Sequence[Conv | tuple[Conv, Conv]]
"""Convolutions one after the other; a pair stands at the end, both on the same input, their outputs side by side."""


@dataclass(frozen=True)
class Block:
    """Branches over one input whose outputs are put side by side, and a pooled one with a convolution or without."""

    branches: tuple[Branch, ...]
    pool: str
    pooled: Conv | None


def _numbered(name: str, *convs: tuple[int, Kernel] | tuple[int, Kernel, int]) -> list[Conv]:
    return [Conv(f"{name}_{number}", *rest) for number, rest in enumerate(convs, start=1)]


def _wide(pooled: int) -> Block:
    """35 x 35 (figure 5 of the paper, with a 5 x 5 branch)."""
    return Block(
        (
            [Conv("branch1x1", 64)],
            _numbered("branch5x5", (48, (1, 1)), (64, (5, 5))),
            _numbered("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3))),
        ),
        "average",
        Conv("branch_pool", pooled),
    )


def _factored(width: int) -> Block:
    """17 x 17 (figure 6): 7 x 7 in two steps."""
    across, down, one = (1, 7), (7, 1), (1, 1)
    return Block(
        (
            [Conv("branch1x1", 192)],
            _numbered("branch7x7", (width, one), (width, across), (192, down)),
            _numbered("branch7x7dbl", (width, one), (width, down), (width, across), (width, down), (192, across)),
        ),
        "average",
        Conv("branch_pool", 192),
    )


def _spread(pool: str) -> Block:
    """8 x 8 (figure 7): the last convolution of a branch in two directions."""

    def both(name: str) -> tuple[Conv, Conv]:
        return Conv(f"{name}a", 384, (1, 3)), Conv(f"{name}b", 384, (3, 1))

    return Block(
        (
            [Conv("branch1x1", 320)],
            [Conv("branch3x3_1", 384), both("branch3x3_2")],
            [Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, (3, 3)), both("branch3x3dbl_3")],
        ),
        pool,
        Conv("branch_pool", 192),
    )


STEM = (
    Conv("Conv2d_1a_3x3", 32, (3, 3), 2),
    Conv("Conv2d_2a_3x3", 32, (3, 3)),
    Conv("Conv2d_2b_3x3", 64, (3, 3)),
    Conv("Conv2d_3b_1x1", 80),
    Conv("Conv2d_4a_3x3", 192, (3, 3)),
)
UNPADDED = frozenset({"Conv2d_2a_3x3", "Conv2d_4a_3x3"})
POOL_AFTER = frozenset({"Conv2d_2b_3x3", "Conv2d_4a_3x3"})
BLOCKS: Mapping[str, Block] = {
    "Mixed_5b": _wide(32),
    "Mixed_5c": _wide(64),
    "Mixed_5d": _wide(64),
    "Mixed_6a": Block(
        (
            [Conv("branch3x3", 384, (3, 3), 2)],
            [*_numbered("branch3x3dbl", (64, (1, 1)), (96, (3, 3)), (96, (3, 3), 2))],
        ),
        "halve",
        None,
    ),
    "Mixed_6b": _factored(128),
    "Mixed_6c": _factored(160),
    "Mixed_6d": _factored(160),
    "Mixed_6e": _factored(192),
    "Mixed_7a": Block(
        (
            _numbered("branch3x3", (192, (1, 1)), (320, (3, 3), 2)),
            _numbered("branch7x7x3", (192, (1, 1)), (192, (1, 7)), (192, (7, 1)), (192, (3, 3), 2)),
        ),
        "halve",
        None,
    ),
    "Mixed_7b": _spread("average"),
    "Mixed_7c": _spread("maximum"),
}
"""The blocks in the order in which the data goes."""


class ConvBnRelu(nn.Module):
    """A convolution, its normalisation by stored statistics, and ReLU: one convolution once they are folded."""

    def __init__(self, channels: int, plan: Conv) -> None:
        super().__init__()
        padding = (0, 0) if plan.name in UNPADDED else plan.padding
        self.conv = nn.Conv2d(channels, plan.channels, plan.kernel, plan.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(plan.channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class InceptionBlock(nn.Module):
    """One block: its convolutions stand in it by name."""

    def __init__(self, channels: int, plan: Block) -> None:
        super().__init__()
        self.plan = plan
        self.channels = 0
        for branch in plan.branches:
            inside = channels
            for step in branch:
                pair = step if isinstance(step, tuple) else (step,)
                for conv in pair:
                    self.add_module(conv.name, ConvBnRelu(inside, conv))
                inside = sum(conv.channels for conv in pair)
            self.channels += inside
        if plan.pooled is not None:
            self.add_module(plan.pooled.name, ConvBnRelu(channels, plan.pooled))
        self.channels += channels if plan.pooled is None else plan.pooled.channels

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self._branch(branch, x) for branch in self.plan.branches]
        pooled = _pool(x, self.plan.pool)
        outputs.append(pooled if self.plan.pooled is None else self.get_submodule(self.plan.pooled.name)(pooled))
        return torch.cat(outputs, dim=1)

    def _branch(self, branch: Branch, x: Tensor) -> Tensor:
        for step in branch:
            if isinstance(step, tuple):
                return torch.cat([self.get_submodule(conv.name)(x) for conv in step], dim=1)
            x = self.get_submodule(step.name)(x)
        return x


class InceptionFid(nn.Module):
    """Pictures [N, 3, 299, 299] in [-1, 1] to pooled features [N, 2048]; ``fc`` turns these into 1008 logits."""

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for conv in STEM:
            self.add_module(conv.name, ConvBnRelu(channels, conv))
            channels = conv.channels
        for name, plan in BLOCKS.items():
            block = InceptionBlock(channels, plan)
            self.add_module(name, block)
            channels = block.channels
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, pictures: Tensor) -> Tensor:
        x = pictures
        for conv in STEM:
            x = self.get_submodule(conv.name)(x)
            if conv.name in POOL_AFTER:
                x = F.max_pool2d(x, 3, stride=2)
        for name in BLOCKS:
            x = self.get_submodule(name)(x)
        return x.mean(dim=(2, 3))


def _pool(x: Tensor, kind: str) -> Tensor:
    if kind == "average":
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    if kind == "maximum":
        return F.max_pool2d(x, 3, stride=1, padding=1)
    return F.max_pool2d(x, 3, stride=2)


def load_inception(state: Mapping[str, Tensor]) -> InceptionFid:
    """Return the network with the weights of the port, in eval mode.

    Raises ValueError, naming the first difference, where the names or shapes are another network's.
    """
    network = InceptionFid().eval()
    ours = {name: weight for name, weight in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    theirs = {name: weight for name, weight in state.items() if not name.endswith("num_batches_tracked")}
    for name in [*ours, *theirs]:
        if name not in theirs or name not in ours or theirs[name].shape != ours[name].shape:
            found = "nothing" if name not in theirs else list(theirs[name].shape)
            wanted = "nothing" if name not in ours else list(ours[name].shape)
            raise ValueError(f"not the weights of FID's Inception: {name} is {found}, expected {wanted}")
    network.load_state_dict(theirs, strict=False)
    return network

"""What turns pictures into features: a network, how pictures come to it, and a digest of both."""

from typing import Protocol

from torch import Tensor

from evaluation.features.preprocessing import Preprocessing
from t2i_assets.corpus.digests import digest


class Encoder(Protocol):
    """A frozen network. Its distances are named by it: ``fd_<name>``; only the published Inception makes an "FID"."""

    @property
    def name(self) -> str: ...

    @property
    def weights_digest(self) -> str:
        """Digest of the weights and of what they are built into."""

    @property
    def preprocessing(self) -> Preprocessing: ...

    @property
    def dimension(self) -> int:
        """Length of a feature vector."""

    @property
    def classifier(self) -> Tensor | None:
        """Weights [classes, dimension] that turn a feature into logits, where the network is a classifier."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return float features [N, dimension] of prepared pictures [N, 3, side, side] in 0..255, on the CPU."""


def features_digest(dataset: str, encoder: Encoder) -> str:
    """Return what names the features of a data set: its digest, the preprocessing and the encoder's weights."""
    return digest([dataset, encoder.preprocessing.model_dump(mode="json"), encoder.weights_digest])

"""What counts as the same picture, by hash, by embedding, and against the evaluation set."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

HASH_BITS = 64


class DuplicateConfig(BaseModel):
    """What counts as the same picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    radius: int = Field(default=4, ge=0, lt=HASH_BITS, description="Most bits of 64 in which perceptual hashes differ.")
    color_distance: float = Field(
        default=6.0, ge=0, description="Largest root mean square difference of 8 x 8 thumbnails, in levels of 255."
    )


class SemanticConfig(BaseModel):
    """What counts as the same content, by image embeddings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cosine: float = Field(
        default=0.995,
        gt=0,
        le=1,
        description="Least cosine of image embeddings. It belongs to the embedder: the embedded site's small captioner "
        "needs a high one, a large CLIP 0.93 to 0.97.",
    )
    samples_per_cluster: int = Field(
        default=1000, ge=64, description="Samples per k-means cluster; only samples of near clusters are compared."
    )
    probes: int = Field(
        default=4,
        ge=1,
        description="Nearest clusters in which a sample is compared; 1 is the paper's, and misses more.",
    )
    seed: int = Field(default=0, description="Seed of k-means.")


Part = Literal["reference", "pool", "heldout"]


class ContaminationConfig(BaseModel):
    """What counts as an image or a prompt of the evaluation set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: tuple[Part, ...] = Field(
        default=("reference", "pool", "heldout"),
        min_length=1,
        description="Images of the evaluation set that no model may train on: the references of the prompts, the pool "
        "that trains the judges, the renders that measure them.",
    )
    images: DuplicateConfig = Field(default=DuplicateConfig(), description="What counts as the same picture.")
    cosine: float = Field(
        default=0.999, gt=0, le=1, description="Least cosine of image embeddings; above what the same words can mean."
    )

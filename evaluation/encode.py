"""Job: features of pictures by every configured encoder, computed once for all distances.

``python -m evaluation.encode --job job.json``

A set of features is known by the digest of its pictures, of the preprocessing and of the encoder's weights. One that
an earlier output holds already is taken from there, and a shard whose table is there is left alone: after a kill, or
with another encoder beside the first, only what is missing is computed.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from evaluation.features.backends import load_encoder
from evaluation.features.config import FeaturesConfig
from evaluation.features.encoder import Encoder, features_digest
from evaluation.features.pictures import Change, places, prepared_batches
from evaluation.features.shuffling import Shuffling
from evaluation.features.store import ABOUT, CLASSIFIER, SHARDS, About, FeatureSet, write_block
from evaluation.models.detector import load_detector
from evaluation.systems import scorer_digest
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.shards import SHARD_GLOB
from training.device import device_for
from training.job import Job, JobInputs, run
from training.report import Reporter

GENERATED, HELD_OUT, REFERENCE, SHUFFLED = "generated", "heldout", "reference", "shuffled"


class EncodeInputs(JobInputs):
    """Pictures that a model drew, or real ones of an evaluation set; ``known`` are earlier outputs of this job."""

    judge: Path
    images: Path | None = None
    evaluation_set: Path | None = None
    known: list[Path] = Field(default_factory=list)


@dataclass(frozen=True)
class Collection:
    """A set of pictures: its name, the digest that it is known by, and its shards."""

    name: str
    digest: str
    tables: tuple[Path, ...]
    shuffling: Shuffling | None = None


def main(job: Job[FeaturesConfig, EncodeInputs], reporter: Reporter) -> None:
    """Write COLLECTION/ENCODER/NNNNN.parquet (FEATURES) and about.json for every collection and encoder."""
    config, inputs = job.config, job.inputs
    device = device_for(config.device)
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    found = collections(config, inputs)
    total = len(config.encoders) * sum(len(collection.tables) for collection in found)
    done = encoded = reused = 0
    dimensions = {}
    for told in config.encoders:
        encoder = load_encoder(told, inputs.judge, cache, device)
        dimensions[encoder.name] = encoder.dimension
        for collection in found:
            output = job.output / collection.name / encoder.name
            about = about_of(collection, encoder)
            reused += take_known(output, about, [known / collection.name / encoder.name for known in inputs.known])
            changes = _changes(collection)
            for table, change in zip(collection.tables, changes, strict=True):
                if not (output / table.name).exists():
                    encoded += encode_shard(encoder, table, output / table.name, config, change)
                done += 1
                reporter.log(done, total, pictures=encoded, pictures_per_second=encoded / max(1e-9, reporter.seconds))
            if encoder.classifier is not None:
                np.save(output / CLASSIFIER, encoder.classifier.cpu().numpy())
            (output / ABOUT).write_text(about.model_dump_json(indent=1))
    reporter.finish(collections=len(found), encoded=encoded, reused=reused, dimensions=dimensions)


def collections(config: FeaturesConfig, inputs: EncodeInputs) -> list[Collection]:
    """Return the sets of pictures that the inputs hold.

    Raises ValueError where there is none, or where a set has no shard.
    """
    found = []
    if inputs.images is not None:
        found.append(_collection(GENERATED, inputs.images, scorer_digest(inputs.images)))
    if inputs.evaluation_set is not None:
        known = scorer_digest(inputs.evaluation_set)
        real = inputs.evaluation_set / HELD_OUT
        if config.real is None:
            found.append(_collection(HELD_OUT, real, digest([known, HELD_OUT])))
        else:
            found.append(_collection(HELD_OUT, Path(config.real), scorer_digest(Path(config.real))))
        references = _collection(REFERENCE, inputs.evaluation_set / REFERENCE, digest([known, REFERENCE]))
        side = load_detector(inputs.judge).image_size
        shuffling = Shuffling(side, config.patch, config.seed)
        mixed = digest([references.digest, side, config.patch, config.seed])
        found += [references, Collection(SHUFFLED, mixed, references.tables, shuffling)]
    if not found:
        raise ValueError("there are no pictures: give 'images' or 'evaluation_set'")
    return found


def about_of(collection: Collection, encoder: Encoder) -> About:
    """Return what the features of a collection are known by."""
    return About(
        digest=features_digest(collection.digest, encoder),
        dataset=collection.digest,
        encoder=encoder.name,
        weights=encoder.weights_digest,
        preprocessing=encoder.preprocessing,
        dimension=encoder.dimension,
    )


def take_known(output: Path, about: About, places: list[Path]) -> bool:
    """Link the features from the first of ``places`` that holds those that ``about`` names; return whether one did."""
    output.mkdir(parents=True, exist_ok=True)
    for place in places:
        if (place / ABOUT).exists() and FeatureSet(place).about.digest == about.digest:
            for shard in place.glob(SHARDS):
                if not (output / shard.name).exists():
                    os.link(shard, output / shard.name)
            return True
    return False


def encode_shard(
    encoder: Encoder, table: Path, output: Path, config: FeaturesConfig, changes: list[Change] | None
) -> int:
    """Write the features of one shard's pictures; return their number."""
    batches = prepared_batches(table, encoder.preprocessing, config.batch_size, config.workers, changes)
    rows = [encoder(batch).numpy() for batch in batches]
    features = np.concatenate(rows) if rows else np.zeros((0, encoder.dimension), np.float32)
    write_block(output, [place.key for place in places(table)], features)
    return len(features)


def _collection(name: str, directory: Path, known: str) -> Collection:
    tables = tuple(sorted(directory.glob(SHARD_GLOB)))
    if not tables:
        raise ValueError(f"there is no shard of pictures in {directory}")
    return Collection(name, known, tables)


def _changes(collection: Collection) -> Iterator[list[Change] | None]:
    """Yield for each shard what is done to each of its pictures; those of one shard do not depend on who is skipped."""
    orders = collection.shuffling.orders() if collection.shuffling else iter(())
    for table in collection.tables:
        shuffling = collection.shuffling
        if shuffling is None:
            yield None
        else:
            yield [partial(shuffling, order=order) for order in islice(orders, len(places(table)))]


if __name__ == "__main__":
    run(main, FeaturesConfig, EncodeInputs)

"""Decontamination: samples whose image or text is one of the evaluation set.

Images are compared as duplicates are: by bytes, by perceptual hash and colours, by embedding. Texts are compared
whole: a sample's text that is a prompt once case, punctuation and spacing are taken away. Nothing shorter, since
web texts that say "a red ball" are what a prompt "a red ball" is meant to ask after; so it is told apart from the
images, and a recipe that wants it gone says so.
"""

import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2i_assets.corpus.duplicates.config import HASH_BITS, ContaminationConfig
from t2i_assets.corpus.duplicates.embeddings import CosineIndex, read_embeddings
from t2i_assets.corpus.duplicates.hamming import near_pairs
from t2i_assets.corpus.duplicates.pictures import Pictures, Thumbnails, color_distances
from t2i_assets.corpus.schemas import CONTAMINATION, PROMPTS, SAMPLES
from t2i_assets.corpus.shards import SHARD_GLOB
from t2i_assets.corpus.tables import read_rows, write_table

KINDS = ("exact", "perceptual", "semantic", "text")


def find_contamination(
    shards_dir: Path,
    evaluation_set: Path,
    snapshot: str,
    out_dir: Path,
    config: ContaminationConfig,
    features_dir: Path | None = None,
    reference_features_dir: Path | None = None,
) -> dict[str, Any]:
    """Compare the samples of ``shards_dir`` with the evaluation set, write CONTAMINATION; return counts by kind.

    A sample has one row for its image, of the strongest kind and the nearest reference, and one for its text.
    With IMAGE_EMBEDDINGS of the samples and of the references of the prompts, these are compared too.
    """
    samples = Pictures.read(shards_dir)
    references = Pictures.read(*(evaluation_set / part for part in config.parts))
    by_key: dict[str, dict[str, Any]] = {}
    found = [_exact(samples, references), _perceptual(samples, references, config)]
    if features_dir is not None and reference_features_dir is not None:
        scored = Pictures.read(evaluation_set / "reference")
        vectors, others = (
            read_embeddings(directory, pictures.keys)
            for directory, pictures in ((features_dir, samples), (reference_features_dir, scored))
        )
        found.append(_semantic(samples, scored, vectors, others, config.cosine))
    for rows in found:
        for row in rows:
            by_key.setdefault(row["key"], row)
    rows = [*by_key.values(), *_texts(shards_dir, evaluation_set)]
    rows.sort(key=lambda row: (row["key"], row["kind"]))
    write_table(out_dir / "00000.parquet", [{"snapshot": snapshot, **row} for row in rows], CONTAMINATION)
    kinds = {kind: sum(row["kind"] == kind for row in rows) for kind in KINDS}
    return {"samples": len(samples), "references": len(references), "contaminated": kinds}


def plain(text: str) -> str:
    """Return the words of a text alone: compatibility forms, case, punctuation and spacing taken away."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(letter if letter.isalnum() else " " for letter in folded).split())


def _exact(samples: Pictures, references: Pictures) -> Iterator[dict[str, Any]]:
    for what, of, other in (
        ("file as fetched", samples.original, references.original),
        ("stored image", samples.stored, references.stored),
    ):
        rank_of = {digest: rank for rank, digest in reversed(list(enumerate(other.tolist())))}
        for rank in np.flatnonzero(np.isin(of, other)).tolist():
            reference = rank_of[of[rank]]
            yield _row(samples, rank, "exact", references, reference, f"the {what} is the same, byte for byte")


def _perceptual(samples: Pictures, references: Pictures, config: ContaminationConfig) -> list[dict[str, Any]]:
    own, others = Thumbnails(samples), Thumbnails(references)
    rows = []
    for a, b in near_pairs(references.hashes, samples.hashes, config.images.radius):
        colors = color_distances(others, a, own, b)
        near = colors <= config.images.color_distance
        for reference, rank, color in zip(a[near].tolist(), b[near].tolist(), colors[near].tolist(), strict=True):
            row = _row(samples, rank, "perceptual", references, reference, "")
            agree = f"perceptual hash differs in {row['distance']} of {HASH_BITS} bits, colours by {color:.1f} of 255"
            rows.append({**row, "detail": agree})
    return sorted(rows, key=lambda row: (row["distance"], row["reference"]))


def _semantic(
    samples: Pictures,
    references: Pictures,
    vectors: NDArray[np.float32],
    reference_vectors: NDArray[np.float32],
    cosine: float,
) -> list[dict[str, Any]]:
    if not len(samples) or not len(references):
        return []
    index = CosineIndex(reference_vectors, samples_per_cluster=len(references), probes=1, seed=0)
    index.add(np.arange(len(references)))
    rows = []
    for numbers, ranks in index.search(vectors, cosine):
        cosines = np.einsum("ij,ij->i", reference_vectors[numbers], vectors[ranks], dtype=np.float64)
        for reference, rank, value in zip(numbers.tolist(), ranks.tolist(), cosines.tolist(), strict=True):
            row = _row(
                samples, rank, "semantic", references, reference, f"image embeddings have a cosine of {value:.4f}"
            )
            rows.append({**row, "cosine": min(1.0, value)})
    return sorted(rows, key=lambda row: (-row["cosine"], row["reference"]))


def _texts(shards_dir: Path, evaluation_set: Path) -> Iterator[dict[str, Any]]:
    prompts = read_rows(evaluation_set / "prompts.parquet", PROMPTS, ["prompt_id", "prompt"])
    asked = {plain(row["prompt"]): row for row in reversed(prompts) if plain(row["prompt"])}
    seen: set[str] = set()
    for sidecar in sorted(shards_dir.glob(SHARD_GLOB)):
        for row in read_rows(sidecar, SAMPLES, ["key", "alt_text", "texts"]):
            texts = [row["alt_text"], *(text["text"] for text in row["texts"] or () if text["text"])]
            text = next((text for text in texts if plain(text) in asked), None)
            if text is None or row["key"] in seen:
                continue
            seen.add(row["key"])
            prompt = asked[plain(text)]
            detail = f"the text {text!r} is the prompt {prompt['prompt']!r}"
            yield {"key": row["key"], "kind": "text", "reference": prompt["prompt_id"], "detail": detail}


def _row(samples: Pictures, rank: int, kind: str, references: Pictures, reference: int, detail: str) -> dict[str, Any]:
    return {
        "key": samples.key(rank),
        "kind": kind,
        "reference": references.key(reference),
        "distance": int(np.bitwise_count(samples.hashes[rank] ^ references.hashes[reference])),
        "detail": detail,
    }

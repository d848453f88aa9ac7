"""What a score rests on, by its category: its rule's version with every setting that the rule reads, and who scored.

A changed setting, parser, judge or CLIP scores again the categories that it touches, and no others.
"""

from collections.abc import Mapping
from typing import Any

from evaluation import geneval, rules
from evaluation.config import CompBenchConfig
from evaluation.reading.prompt import Reader
from evaluation.rescoring import Identity
from t2i_assets.corpus.digests import digest

UNSCORABLE = "faults.unscorable"
NAMES = ("aliases", "faults.names", UNSCORABLE)
ATTRIBUTES = ("faults.rounding",)
PAIRED = (*NAMES, "faults.same_noun", "faults.pick")
SPATIAL = (*PAIRED, "near", "faults.near", "iou_threshold", "spatial_minimum")
DEPTH = (*PAIRED, "faults.substrings", "depth_overlap", "faults.depth_overlap", "faults.depth_axes")
NUMERACY = (*NAMES, "faults.substrings", "same_box")
GENEVAL = ("aliases", UNSCORABLE, "near", "faults.near")
SCORED_BY: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("color", "shape", "texture"), ATTRIBUTES),
    "spatial": SPATIAL,
    "3d_spatial": DEPTH,
    "numeracy": NUMERACY,
    "non_spatial": (),
    "complex": (*ATTRIBUTES, *SPATIAL, *NUMERACY),
    **dict.fromkeys(geneval.GENEVAL_CATEGORIES, (*GENEVAL, "detection_score")),
    geneval.COUNTING: (*GENEVAL, "counting_score"),
}
"""Settings that the rule of a category reads."""
CHUNKS = ("faults.chunks", "faults.most_chunks", "faults.no_chunk")
RELATION = ("faults.nouns", "faults.no_relation", "faults.substrings")
READ_BY: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("color", "shape", "texture"), CHUNKS),
    "spatial": (*RELATION, "faults.on_top_of"),
    "3d_spatial": RELATION,
    "numeracy": ("faults.nouns",),
    "complex": (*CHUNKS, *RELATION, "faults.on_top_of", "faults.complex_nouns"),
}
"""Settings by which a prompt without facts is read."""


class Identities:
    """Who scores, and how: ``clip`` is the digest of the CLIP that scores interactions, where there is one."""

    def __init__(self, config: CompBenchConfig, reader: Reader, judge: str, clip: str | None) -> None:
        self._settings = config.model_dump(mode="json")
        self._reader = reader
        self._judge = judge
        self._clip = clip

    def of(self, category: str, declared: bool) -> Identity:
        """Return the identity of the scores of a category, of prompts whose facts are ``declared`` or read."""
        known: dict[str, Any] = {name: self._setting(name) for name in SCORED_BY[category]}
        if not declared and category in READ_BY:
            known |= {name: self._setting(name) for name in READ_BY[category]}
            known["parser"] = self._reader.parser.identity
        if not declared and category == "numeracy":
            known["counted"] = self._reader.singulars
        if not declared and category == "complex":
            known["clip"] = self._clip
        version = geneval.VERSION if category in geneval.GENEVAL_CATEGORIES else rules.VERSION
        scorer = self._clip if category == "non_spatial" and self._clip is not None else self._judge
        return Identity(f"{version}+{digest(known)}", scorer)

    def _setting(self, name: str) -> Any:
        setting: Any = self._settings
        for part in name.split("."):
            setting = setting[part]
        return setting == "official" if name == UNSCORABLE else setting  # refused or left out, the others score alike

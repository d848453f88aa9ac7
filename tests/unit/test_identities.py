"""What a score rests on: every setting that a rule or the reading looks at stands in its version, and no more."""

import json
from itertools import product
from typing import Any

import numpy as np
import pytest

from evaluation import geneval, rules
from evaluation.config import CompBenchConfig
from evaluation.detection import Detection, Picture
from evaluation.facts import Facts, Relation, Wanted
from evaluation.faults import Faults
from evaluation.identities import READ_BY, SCORED_BY, Identities
from evaluation.judges.fit import unknown_of
from evaluation.judges.pixels import PixelJudge
from evaluation.judges.protocol import Judge
from evaluation.reading.prompt import Reader, UnreadableError
from evaluation.reading.rule_parser import RuleParser
from t2i_assets.corpus.prompt_files import COMPBENCH_CATEGORIES

PARSER, NOUNS = RuleParser(), {"cats": "cat", "boxes": "box"}
CONFIGS = [CompBenchConfig(faults=Faults.model_validate(name)) for name in ("official", "corrected")]
NEAR = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
THINGS = (("cat", (0.0, 0.0, 0.5, 1.0)), ("cat", (0.1, 0.0, 0.5, 0.4)), ("box", (0.0, 0.0, 1.0, 1.0)))
PICTURES = [
    Picture(tuple(Detection({n: 1.0}, {}, {}, box, 0.95) for n, box in things), {}, {"a cat?": 0.5}, NEAR)
    for things in (THINGS[:0], THINGS[:1], THINGS[:2], THINGS, THINGS[::2])
]
WANTED = (Wanted("cat"), Wanted("box"))


class Watched:
    """Stands for settings and writes down which were looked at, under their full names."""

    def __init__(self, settings: Any, looked_at: set[str], prefix: str = "") -> None:
        self._settings, self._looked_at, self._prefix = settings, looked_at, prefix

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._settings, name)
        if isinstance(value, Faults):
            return Watched(value, self._looked_at, "faults.")
        self._looked_at.add(self._prefix + name)
        return value


def facts_for(category: str) -> list[Facts]:
    """Return facts that lead through the branches of a category's rule."""
    kinds = {"3d_spatial": ("in front of", "behind")}.get(category, ("left of", "near", "on top of"))
    pairs = [Facts(WANTED, Relation(kind, 0, 1), chunks=("a cat",)) for kind in kinds]
    twice = [Facts((Wanted("cat"), Wanted("cat")), Relation(kinds[0], 0, 1), chunks=("a cat",))]
    counted = [Facts((Wanted("cat", count=2), Wanted("tv")), chunks=("a cat",))]
    return [*pairs, *twice, *([] if "spatial" in category else counted)]


@pytest.mark.parametrize("category", SCORED_BY)
def test_every_setting_that_a_rule_looks_at_stands_in_its_version(category):
    looked_at: set[str] = set()
    judge = Judge("pixels", 64, detector=PixelJudge(), sees_depth=True)
    score = geneval.score if category in geneval.GENEVAL_CATEGORIES else rules.score
    for config, facts, picture in product(CONFIGS, facts_for(category), PICTURES):
        watched: Any = Watched(config, looked_at)
        if category == "non_spatial":
            rules.score(category, facts, picture, watched, 0.3)
        else:
            score(category, facts, picture, watched)
        unknown_of(judge, category, facts, watched)
    assert looked_at - {"faults.unscorable"} == set(SCORED_BY[category]) - {"faults.unscorable"}
    assert category in ("color", "shape", "texture", "non_spatial") or "faults.unscorable" in SCORED_BY[category]


@pytest.mark.parametrize("category", COMPBENCH_CATEGORIES)
def test_every_setting_by_which_a_text_is_read_stands_in_its_version(category):
    looked_at: set[str] = set()
    for config in CONFIGS:
        watched: Any = Watched(config.faults, looked_at, "faults.")
        for text in ("two cats on top of a box", "a cat near a box", "the left", "a cat, a box"):
            try:
                Reader(PARSER, watched, NOUNS).read(category, text, ["spatial"])
            except UnreadableError:
                continue
    assert looked_at == set(READ_BY.get(category, ()))


def identities(judge: str = "judge", clip: str | None = "clip", nouns: Any = None, **settings: Any) -> dict[Any, Any]:
    config = CompBenchConfig(**settings)
    made = Identities(config, Reader(PARSER, config.faults, nouns), judge, clip)
    return {(category, declared): made.of(category, declared) for category in SCORED_BY for declared in (False, True)}


def changed(**settings: Any) -> set[str]:
    before, after = identities(), identities(**settings)
    return {category for category, declared in before if before[category, declared] != after[category, declared]}


def test_a_setting_changes_the_versions_of_the_categories_that_it_touches_and_no_others():
    assert changed(depth_overlap=0.4) == changed(faults=Faults(depth_axes="official")) == {"3d_spatial"}
    assert changed(near=0.2) == {"spatial", "complex", *geneval.GENEVAL_CATEGORIES}
    assert changed(faults=Faults(chunks="first")) == {"color", "shape", "texture", "complex"}
    assert changed(clip="another") == {"non_spatial", "complex"}
    assert changed(judge="another") == set(SCORED_BY) - {"non_spatial"}
    assert changed(nouns=NOUNS) == {"numeracy"}
    assert changed(batch_size=3, recipe="r", threads=2, faults=Faults(unscorable="corrected")) == set()
    assert changed(faults=Faults(unscorable="official")) == set(SCORED_BY) - {
        "color",
        "shape",
        "texture",
        "non_spatial",
    }
    declared = identities(), identities(faults=Faults(chunks="first"), clip="another", nouns=NOUNS)
    assert all(one == declared[1][key] for key, one in declared[0].items() if key[1] and key[0] != "non_spatial")


def test_versions_are_made_of_plain_values():
    assert json.dumps([identity.version for identity in identities(aliases={"bee": ("wasp",)}).values()])

"""Whether a judge can see what prompts ask for: what it lacks for a category, what of a prompt it has no name for."""

from collections.abc import Iterable, Iterator

from evaluation.config import CompBenchConfig
from evaluation.detection import Vocabulary
from evaluation.facts import Facts
from evaluation.geneval import GENEVAL_CATEGORIES
from evaluation.judges.config import JudgeChoice
from evaluation.judges.protocol import Judge
from evaluation.naming import known_names, labels_of

BOUND = frozenset(("color", "shape", "texture", "complex"))
"""Categories that bind attributes: their chunks are asked, or answered from what is seen."""
PLACED = frozenset(("spatial", "3d_spatial", "numeracy"))
ANSWERER = "name a BLIP-VQA in t2i_compbench.judge.answerer"


def check_fit(judge: Judge, choice: JudgeChoice, asked: Iterable[tuple[str, Facts]]) -> None:
    """Raise ValueError where a category needs what the judge does not have; the message names field and mend."""
    vocabulary = _vocabulary(judge)
    for category, facts in asked:
        if _needs_boxes(category, facts) and judge.detector is None:
            raise ValueError(f"category {category} needs boxes: name a detection model in t2i_compbench.judge.detector")
        if category == "3d_spatial" and judge.depth is None and not judge.sees_depth:
            mend = "name a depth model in t2i_compbench.judge.depth" if choice.kind == "pretrained" else "take pixels"
            raise ValueError(f"category {category} needs depth, which the judge {choice.kind} does not see: {mend}")
        if judge.answerer is not None:
            continue
        if facts.chunks:
            raise ValueError(
                f"category {category} has prompts without facts, whose chunks are asked, and the judge {choice.kind} "
                f"answers no questions: {ANSWERER}, or take trained_vqa for prompts about the embedded domain"
            )
        unseen = next((name for name, _ in _stated(category, facts) if name not in vocabulary), None)
        if unseen is not None:
            raise ValueError(
                f"category {category} needs {unseen}, which the judge {choice.kind} does not see: {ANSWERER}"
            )


def unknown_of(judge: Judge, category: str, facts: Facts, config: CompBenchConfig) -> str | None:
    """Return why the judge cannot know what a prompt asks for; None where it has a name for all of it.

    Officially what a detector has no name for is not there.
    """
    if judge.answerer is not None and category in BOUND:
        for question in facts.questions():
            word = judge.answerer.unknown(question)
            if word is not None:
                return f"the answerer never learned {word!r}, which {question!r} asks for"
    if config.faults.unscorable == "official":
        return None
    vocabulary = _vocabulary(judge)
    for attribute, value in _stated(category, facts):
        asked = judge.answerer is not None and (category in BOUND or attribute not in vocabulary)
        if not asked and value not in vocabulary[attribute]:
            return f"the judge does not know the {attribute} {value!r}"
    if not _needs_boxes(category, facts):
        return None
    for wanted in (*facts.objects, *facts.excluded):
        labels = (
            known_names(wanted.shape, config)
            if category in GENEVAL_CATEGORIES
            else labels_of(wanted.shape, config, counting=category == "numeracy")
        )
        if set(labels).isdisjoint(vocabulary["shape"]):
            return (
                f"the detector has no label for {wanted.shape!r} (t2i_compbench.aliases may name one): take a detector "
                "that has"
            )
    return None


def _needs_boxes(category: str, facts: Facts) -> bool:
    if category == "complex":
        return facts.relation is not None or any(wanted.count > 1 for wanted in facts.objects)
    return category in PLACED or category in GENEVAL_CATEGORIES


def _stated(category: str, facts: Facts) -> Iterator[tuple[str, str]]:
    """Yield the attributes, and their values, that are to be seen in objects and in the background."""
    for wanted in facts.objects if category in BOUND or category in GENEVAL_CATEGORIES else ():
        for attribute, value in wanted.attributes().items():
            if attribute != "shape" or category in BOUND:
                yield attribute, value
    if facts.background is not None and category in BOUND:
        yield "background", facts.background


def _vocabulary(judge: Judge) -> Vocabulary:
    return {} if judge.detector is None else judge.detector.vocabulary

"""Looks at pictures for their prompts and scores them: what the judge sees, by the rule of each prompt's category."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from evaluation import geneval
from evaluation.asking import Asked
from evaluation.config import CompBenchConfig, System
from evaluation.detection import ATTRIBUTES, Picture
from evaluation.facts import Facts
from evaluation.interactions import Cosines, Interactions, states_interaction
from evaluation.judges.crops import with_colors
from evaluation.judges.protocol import Judge
from evaluation.places import DEPTHS
from evaluation.rescoring import Scores
from evaluation.rules import Score, presence, score, spatial
from evaluation.systems import Exhibit, Pairing


@dataclass
class Looking:
    """Looks at the pictures of one system; ``seen`` collects (style, read-out, value) of those that it looked at."""

    judge: Judge
    config: CompBenchConfig
    asked: Asked
    clip: Interactions | None
    seen: list[tuple[str, str, float]] = field(default_factory=list)

    @property
    def _sees(self) -> Collection[str]:
        return () if self.judge.detector is None else self.judge.detector.vocabulary

    def scores(self, part: Exhibit) -> list[Scores]:
        """Return the score of each pairing, by its category."""
        asked = [self.asked[pairing.prompt["prompt_id"]] for pairing in part.pairings]
        images = [pairing.image for pairing in part.pairings]
        facts = [facts for _, facts in asked]
        pictures = self.judge.look(part.images, list(zip(images, facts, strict=True)))
        pictures = self._with_colors(part, asked, pictures)
        cosines = self._cosines(part.system, part.pairings)
        found: list[Scores] = []
        for pairing, (category, of_prompt), picture in zip(part.pairings, asked, pictures, strict=True):
            for name, value in read_outs(of_prompt, picture, self.config, self._sees).items():
                self.seen.append((pairing.prompt["style"], name, value))
            cosine = cosines.get((pairing.prompt["prompt_id"], pairing.seed))
            found.append({category: _score(category, of_prompt, picture, self.config, cosine)})
        return found

    def _with_colors(
        self, part: Exhibit, asked: Sequence[tuple[str, Facts]], pictures: Sequence[Picture]
    ) -> list[Picture]:
        """Return the pictures, those of GenEval with the colours that its prompts ask for."""
        colored = list(pictures)
        places = [place for place, (category, _) in enumerate(asked) if category in geneval.GENEVAL_CATEGORIES]
        of_geneval = [(part.pairings[place].image, *asked[place], pictures[place]) for place in places]
        for place, picture in zip(places, with_colors(self.judge, part.images, of_geneval, self.config), strict=True):
            colored[place] = picture
        return colored

    def _cosines(self, system: System, pairings: Sequence[Pairing]) -> Cosines:
        acting = [p for p in pairings if states_interaction(*self.asked[p.prompt["prompt_id"]])]
        return {} if self.clip is None else self.clip.cosines(system, acting)


def _score(category: str, facts: Facts, picture: Picture, config: CompBenchConfig, cosine: float | None) -> Score:
    if category in geneval.GENEVAL_CATEGORIES:
        return geneval.score(category, facts, picture, config)
    return score(category, facts, picture, config, cosine)


def read_outs(facts: Facts, picture: Picture, config: CompBenchConfig, sees: Collection[str]) -> dict[str, float]:
    """Return how much of each kind of thing that the prompt says is in the picture, each by itself, where it is seen.

    They are no scores, but tell which part of a prompt a model has not learned: ``color`` is the mean over the
    prompt's objects of the probability that something in the picture has that colour, and so on.
    """
    stated = {name: [w.attributes()[name] for w in facts.objects if name in w.attributes()] for name in ATTRIBUTES}
    seen = {name: values for name, values in stated.items() if values and name in sees}
    outs = {name: fmean(presence({name: value}, picture) for value in values) for name, values in seen.items()}
    if facts.background is not None and picture.background:
        outs["background"] = picture.background.get(facts.background, 0.0)
    if facts.relation is not None and facts.relation.kind not in DEPTHS:
        outs["relation"] = spatial(facts, picture, config).value
    if facts.objects:
        outs["count"] = float(len(picture.objects) == sum(wanted.count for wanted in facts.objects))
    return outs

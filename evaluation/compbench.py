"""Score pictures by the rules of T2I-CompBench and GenEval, with the judge that the configuration names.

``python -m evaluation.compbench --job job.json``
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from evaluation import geneval
from evaluation.asking import Asked, what_is_asked
from evaluation.config import CompBenchConfig, System
from evaluation.detection import ATTRIBUTES, Picture
from evaluation.facts import Facts
from evaluation.identities import Identities
from evaluation.interactions import Interactions, states_interaction
from evaluation.judges.crops import with_colors
from evaluation.judges.opening import open_judge
from evaluation.judges.protocol import Judge
from evaluation.places import DEPTHS
from evaluation.reading.prompt import is_declared, open_reader
from evaluation.rescoring import EarlierScores, Identity, Scores, score_what_changed
from evaluation.rules import CATEGORIES, Score, presence, score, spatial
from evaluation.systems import EvaluationInputs, Exhibit, Pairing, Row, evals_row, exhibits, scorer_digest
from t2i_assets.corpus.schemas import EVALS
from t2i_assets.corpus.tables import write_table
from training.device import device_for
from training.job import Job, run
from training.report import Reporter

LEFT_OUT = "left_out.json"
"""Why prompts are not scored, by prompt."""


class CompBenchInputs(EvaluationInputs):
    """``clip`` scores interactions; only prompts that state one need it."""

    clip: Path | None = None


def main(job: Job[CompBenchConfig, CompBenchInputs], reporter: Reporter) -> None:
    """Write scores.parquet: for each picture the score of its prompt's category, with the reason where not full.

    Prompts of a category without a rule (DrawBench) are left to other metrics. Those that cannot be scored stand in
    left_out.json, where the configuration leaves them out. Raises ValueError, before anything is scored, where it does
    not, and where the judge lacks what a category needs.
    """
    config, inputs = job.config, job.inputs
    trained = scorer_digest(inputs.scorer)
    judge = open_judge(config.judge, inputs.scorer, trained, config.batch_size, device_for(config.device))
    reader = open_reader(config.parser, config.faults, config.counted_nouns)
    shown = [_with_rule(exhibit) for exhibit in exhibits(config, inputs, judge.image_size)]
    prompts = {p.prompt["prompt_id"]: p.prompt for exhibit in shown for p in exhibit.pairings}
    asked, left_out = what_is_asked(prompts.values(), reader, judge, config)
    acting = {prompt_id for prompt_id, (category, facts) in asked.items() if states_interaction(category, facts)}
    if acting and inputs.clip is None:
        raise ValueError("prompts that state an interaction are scored by CLIP: give the job the input 'clip'")
    clip = None if inputs.clip is None else Interactions(inputs.clip, config, inputs, reader.parser)
    identities = Identities(config, reader, judge.name, None if inputs.clip is None else scorer_digest(inputs.clip))

    shown = [_only(exhibit, asked) for exhibit in shown]
    known = {
        prompt_id: identities.of(category, declared=is_declared(prompts[prompt_id]))
        for prompt_id, (category, _) in asked.items()
    }

    def identity(pairing: Pairing) -> Identity:
        return known[pairing.prompt["prompt_id"]]

    earlier = EarlierScores(inputs.earlier, set(known.values()))
    rows: list[Row] = []
    told: dict[str, list[float]] = defaultdict(list)
    measured = 0
    for step, exhibit in enumerate(shown, start=1):
        looked = _Looking(judge, config, asked, clip, acting)
        scores, fresh = score_what_changed(exhibit, config.model, earlier, identity, _metrics, looked.scores)
        measured += fresh
        for pairing, of_pairing in zip(exhibit.pairings, scores, strict=True):
            by = identity(pairing)
            for category, result in of_pairing.items():
                rows.append(evals_row(config, exhibit, pairing, category, by.version, by.scorer, result))
                told[f"{exhibit.system}/{pairing.prompt['style']}/{category}"].append(result.value)
        if fresh == len(exhibit.pairings):  # of some pictures alone they would be figures of another set
            for style, name, value in looked.seen:
                told[f"{exhibit.system}/{style}/sees_{name}"].append(value)
        reporter.log(step, len(shown), images=len(exhibit.pairings), measured=fresh)
    write_table(job.output / "scores.parquet", rows, EVALS)
    (job.output / LEFT_OUT).write_text(json.dumps(left_out, indent=1, ensure_ascii=False))
    means = {name: fmean(values) for name, values in sorted(told.items())}
    means |= _benchmark_scores(means)
    reporter.finish(
        **{name: round(mean, 4) for name, mean in means.items()},
        measured=measured,
        taken_over=len(rows) - measured,
        left_out=len(left_out),
    )


@dataclass
class _Looking:
    """Looks at the pictures of one system; ``seen`` collects (style, read-out, value) of those that it looked at."""

    judge: Judge
    config: CompBenchConfig
    asked: Asked
    clip: Interactions | None
    acting: Collection[str]
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
        places = [place for place, (category, _) in enumerate(asked) if category in geneval.CATEGORIES]
        of_geneval = [(part.pairings[place].image, *asked[place], pictures[place]) for place in places]
        for place, picture in zip(places, with_colors(self.judge, part.images, of_geneval, self.config), strict=True):
            colored[place] = picture
        return colored

    def _cosines(self, system: System, pairings: Sequence[Pairing]) -> dict[tuple[str, int | None], float]:
        acting = [pairing for pairing in pairings if pairing.prompt["prompt_id"] in self.acting]
        return {} if self.clip is None else self.clip.cosines(system, acting)


def _score(category: str, facts: Facts, picture: Picture, config: CompBenchConfig, cosine: float | None) -> Score:
    if category in geneval.CATEGORIES:
        return geneval.score(category, facts, picture, config)
    return score(category, facts, picture, config, cosine)


def has_rule(category: str) -> bool:
    """Return whether pictures of a category's prompts are scored here."""
    return category in CATEGORIES or category in geneval.CATEGORIES


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


def _benchmark_scores(means: dict[str, float]) -> dict[str, float]:
    """Return GenEval's score of every system and style that has all of its tasks."""
    tasks: dict[str, dict[str, float]] = defaultdict(dict)
    for name, mean in means.items():
        whose, _, metric = name.rpartition("/")
        tasks[whose][metric] = mean
    scores = {f"{whose}/{geneval.SCORE}": geneval.benchmark_score(of_tasks) for whose, of_tasks in tasks.items()}
    return {name: value for name, value in scores.items() if value is not None}


def _metrics(pairing: Pairing) -> Sequence[str]:
    return (pairing.prompt["category"],)


def _with_rule(exhibit: Exhibit) -> Exhibit:
    kept = {p.prompt["prompt_id"] for p in exhibit.pairings if has_rule(p.prompt["category"])}
    return _only(exhibit, kept)


def _only(exhibit: Exhibit, prompts: Iterable[str]) -> Exhibit:
    """Return the pairings of these prompts."""
    known = set(prompts)
    kept = [pairing for pairing in exhibit.pairings if pairing.prompt["prompt_id"] in known]
    return exhibit if len(kept) == len(exhibit.pairings) else exhibit.only(kept)


if __name__ == "__main__":
    run(main, CompBenchConfig, CompBenchInputs)

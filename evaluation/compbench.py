"""Score pictures by the rules of T2I-CompBench and GenEval, with the judge that the configuration names.

``python -m evaluation.compbench --job job.json``
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from evaluation import geneval
from evaluation.clip_score import embed_images, embed_texts, image_size_of
from evaluation.config import CompBenchConfig
from evaluation.detection import ATTRIBUTES, Picture
from evaluation.facts import Facts
from evaluation.judges.opening import check_fit, open_judge
from evaluation.judges.protocol import Judge
from evaluation.places import DEPTHS
from evaluation.reading.parser import Parser, open_parser
from evaluation.reading.prompt import UnreadableError, facts_of, without_adjectives
from evaluation.rescoring import EarlierScores, Scores, score_what_changed, version_with_settings
from evaluation.rules import CATEGORIES, VERSION, Score, presence, score, spatial
from evaluation.systems import EvaluationInputs, Exhibit, Pairing, Row, evals_row, exhibits, scorer_digest
from t2i_assets.corpus.schemas import EVALS
from t2i_assets.corpus.tables import write_table
from training.device import device_for
from training.job import Job, run
from training.models.clip import load_clip
from training.report import Reporter

Cosines = dict[tuple[str, int | None], float]
"""CLIP's cosine by prompt_id and seed."""


class CompBenchInputs(EvaluationInputs):
    """``clip`` scores interactions; only prompts that state one need it."""

    clip: Path | None = None


def main(job: Job[CompBenchConfig, CompBenchInputs], reporter: Reporter) -> None:
    """Write scores.parquet: for each picture the score of its prompt's category, with the reason where not full.

    Prompts of a category without a rule (DrawBench) are left to other metrics. Raises ValueError where the judge lacks
    what a category needs.
    """
    config = job.config
    trained = scorer_digest(job.inputs.scorer)
    judge = open_judge(config.judge, job.inputs.scorer, trained, config.batch_size, device_for(config.device))
    parser = open_parser(config.parser)
    version = version_with_settings(VERSION, config)
    if job.inputs.clip is not None:
        version += f"+{scorer_digest(job.inputs.clip)}"
    earlier = EarlierScores(job.inputs.earlier, version, judge.name)
    rows: list[Row] = []
    told: dict[str, list[float]] = defaultdict(list)
    measured = 0
    shown = [_with_rule(exhibit) for exhibit in exhibits(config, job.inputs, judge.image_size)]
    check_fit(judge, config.judge, {pairing.prompt["category"] for exhibit in shown for pairing in exhibit.pairings})
    cosines = _cosines(config, job.inputs, parser)
    for step, exhibit in enumerate(shown, start=1):
        looked = _Looking(judge, parser, config, cosines[exhibit.system])
        scores, fresh = score_what_changed(exhibit, config.model, earlier, _metrics, looked.scores)
        measured += fresh
        for pairing, of_pairing in zip(exhibit.pairings, scores, strict=True):
            for category, result in of_pairing.items():
                rows.append(evals_row(config, exhibit, pairing, category, version, judge.name, result))
                told[f"{exhibit.system}/{pairing.prompt['style']}/{category}"].append(result.value)
        for style, name, value in looked.seen:
            told[f"{exhibit.system}/{style}/sees_{name}"].append(value)
        reporter.log(step, len(shown), images=len(exhibit.pairings), measured=fresh)
    write_table(job.output / "scores.parquet", rows, EVALS)
    means = {name: round(fmean(values), 4) for name, values in sorted(told.items())}
    reporter.finish(**means, measured=measured, taken_over=len(rows) - measured)


@dataclass
class _Looking:
    """Looks at the pictures of one system; ``seen`` collects (style, read-out, value) of those that it looked at."""

    judge: Judge
    parser: Parser
    config: CompBenchConfig
    cosines: Cosines
    seen: list[tuple[str, str, float]] = field(default_factory=list)

    def scores(self, part: Exhibit) -> list[Scores]:
        """Return the score of each pairing, by its category."""
        read = [self._read(pairing.prompt) for pairing in part.pairings]
        asked = [facts if isinstance(facts, Facts) else Facts(()) for facts in read]
        pictures = self.judge.look(
            part.images, [(pairing.image, facts) for pairing, facts in zip(part.pairings, asked, strict=True)]
        )
        return [
            {pairing.prompt["category"]: facts if isinstance(facts, Score) else self._score(pairing, facts, picture)}
            for pairing, facts, picture in zip(part.pairings, read, pictures, strict=True)
        ]

    def _read(self, prompt: Row) -> Facts | Score:
        try:
            return facts_of(prompt, self.parser, self.config.faults)
        except UnreadableError as error:
            return Score(0.0, str(error))

    def _score(self, pairing: Pairing, facts: Facts, picture: Picture) -> Score:
        prompt = pairing.prompt
        for name, value in read_outs(facts, picture, self.config).items():
            self.seen.append((prompt["style"], name, value))
        if prompt["category"] in geneval.CATEGORIES:
            return geneval.score(prompt["category"], facts, picture, self.config)
        cosine = self.cosines.get((prompt["prompt_id"], pairing.seed))
        return score(prompt["category"], facts, picture, self.config, cosine)


def has_rule(category: str) -> bool:
    """Return whether pictures of a category's prompts are scored here."""
    return category in CATEGORIES or category in geneval.CATEGORIES


def read_outs(facts: Facts, picture: Picture, config: CompBenchConfig) -> dict[str, float]:
    """Return how much of each kind of thing that the prompt says is in the picture, each by itself.

    They are no scores, but tell which part of a prompt a model has not learned: ``color`` is the mean over the
    prompt's objects of the probability that something in the picture has that colour, and so on.
    """
    stated = {name: [w.attributes()[name] for w in facts.objects if name in w.attributes()] for name in ATTRIBUTES}
    outs = {name: fmean(presence({name: v}, picture) for v in values) for name, values in stated.items() if values}
    if facts.background is not None and picture.background:
        outs["background"] = picture.background.get(facts.background, 0.0)
    if facts.relation is not None and facts.relation.kind not in DEPTHS:
        outs["relation"] = spatial(facts, picture, config).value
    if facts.objects:
        outs["count"] = float(len(picture.objects) == sum(wanted.count for wanted in facts.objects))
    return outs


def _metrics(pairing: Pairing) -> Sequence[str]:
    return (pairing.prompt["category"],)


def _with_rule(exhibit: Exhibit) -> Exhibit:
    kept = [pairing for pairing in exhibit.pairings if has_rule(pairing.prompt["category"])]
    return exhibit if len(kept) == len(exhibit.pairings) else exhibit.only(kept)


def _cosines(config: CompBenchConfig, inputs: CompBenchInputs, parser: Parser) -> dict[str, Cosines]:
    """Return CLIP's cosine of every picture whose prompt states an interaction, by system.

    A complex prompt is compared without its adjectives, as published: they are the attributes' part.
    """
    if inputs.clip is None:
        return {system: {} for system in config.systems}
    model, tokenizer = load_clip(inputs.clip)
    model.to(device_for(config.device))
    found: dict[str, Cosines] = {}
    for exhibit in exhibits(config, inputs, image_size_of(model)):
        acting = [pairing for pairing in exhibit.pairings if pairing.prompt["category"] in ("non_spatial", "complex")]
        part = exhibit.only(acting)
        texts = [_acting_text(pairing.prompt, parser) for pairing in part.pairings]
        if not texts:
            found[exhibit.system] = {}
            continue
        images = embed_images(model, part.images, config.batch_size)[[pairing.image for pairing in part.pairings]]
        values = (images * embed_texts(model, tokenizer, texts, config.batch_size)).sum(1).tolist()
        found[exhibit.system] = {
            (p.prompt["prompt_id"], p.seed): value for p, value in zip(part.pairings, values, strict=True)
        }
    return found


def _acting_text(prompt: Row, parser: Parser) -> str:
    text: str = prompt["prompt"]
    return without_adjectives(parser.parse(text)) if prompt["category"] == "complex" else text


if __name__ == "__main__":
    run(main, CompBenchConfig, CompBenchInputs)

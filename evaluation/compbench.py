"""Score pictures by the rules of T2I-CompBench and GenEval, with the judge that the configuration names.

``python -m evaluation.compbench --job job.json``
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean

from evaluation import geneval
from evaluation.asking import what_is_asked
from evaluation.config import CompBenchConfig
from evaluation.identities import Identities
from evaluation.interactions import Interactions, states_interaction
from evaluation.judges.opening import open_judge
from evaluation.looking import Looking
from evaluation.reading.prompt import is_declared, open_reader
from evaluation.rescoring import EarlierScores, Identity, score_what_changed
from evaluation.systems import EvaluationInputs, Exhibit, Pairing, Row, evals_row, exhibits, scorer_digest
from t2i_assets.corpus.prompt_files import COMPBENCH_CATEGORIES
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
    if inputs.clip is None and any(states_interaction(category, facts) for category, facts in asked.values()):
        raise ValueError("prompts that state an interaction are scored by CLIP: give the job the input 'clip'")
    clip = None if inputs.clip is None else Interactions(inputs.clip, config, inputs, reader.parser)
    identities = Identities(config, reader, judge.name, None if inputs.clip is None else scorer_digest(inputs.clip))
    by = {key: identities.of(category, is_declared(prompts[key])) for key, (category, _) in asked.items()}
    earlier = EarlierScores(inputs.earlier, set(by.values()))

    def identity(pairing: Pairing) -> Identity:
        return by[pairing.prompt["prompt_id"]]

    shown = [_only(exhibit, asked) for exhibit in shown]
    rows: list[Row] = []
    told: dict[str, list[float]] = defaultdict(list)
    measured = 0
    for step, exhibit in enumerate(shown, start=1):
        looked = Looking(judge, config, asked, clip)
        scores, fresh = score_what_changed(exhibit, config.model, earlier, identity, _metrics, looked.scores)
        measured += fresh
        for pairing, of_pairing in zip(exhibit.pairings, scores, strict=True):
            whose = identity(pairing)
            for category, result in of_pairing.items():
                rows.append(evals_row(config, exhibit, pairing, category, whose.version, whose.scorer, result))
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


def _has_rule(category: str) -> bool:
    """Return whether pictures of a category's prompts are scored here."""
    return category in COMPBENCH_CATEGORIES or category in geneval.GENEVAL_CATEGORIES


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
    kept = {p.prompt["prompt_id"] for p in exhibit.pairings if _has_rule(p.prompt["category"])}
    return _only(exhibit, kept)


def _only(exhibit: Exhibit, prompts: Iterable[str]) -> Exhibit:
    """Return the pairings of these prompts."""
    known = set(prompts)
    kept = [pairing for pairing in exhibit.pairings if pairing.prompt["prompt_id"] in known]
    return exhibit if len(kept) == len(exhibit.pairings) else exhibit.only(kept)


if __name__ == "__main__":
    run(main, CompBenchConfig, CompBenchInputs)

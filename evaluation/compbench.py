"""Score pictures by the T2I-CompBench rules, with the trained judge in place of BLIP-VQA and UniDet.

``python -m evaluation.compbench --job job.json``
"""

from collections import defaultdict
from statistics import fmean

from evaluation.config import CompBenchConfig
from evaluation.detection import ATTRIBUTES, Picture
from evaluation.facts import Facts, parse_facts
from evaluation.models.detector import load_detector
from evaluation.rules import VERSION, presence, score, spatial
from evaluation.systems import EvaluationInputs, evals_row, exhibits, scorer_digest
from t2i_assets.corpus.schemas import EVALS
from t2i_assets.corpus.tables import write_table
from training.job import Job, run
from training.report import Reporter


def main(job: Job[CompBenchConfig, EvaluationInputs], reporter: Reporter) -> None:
    """Write scores.parquet: for each picture the score of its prompt's category, with the reason where not full."""
    judge = load_detector(job.inputs.scorer, job.config.batch_size)
    scorer = scorer_digest(job.inputs.scorer)
    rows = []
    told: dict[str, list[float]] = defaultdict(list)
    shown = exhibits(job.config, job.inputs, judge.image_size)
    for step, exhibit in enumerate(shown, start=1):
        pictures = judge.detect(exhibit.images)
        for pairing in exhibit.pairings:
            category, style = pairing.prompt["category"], pairing.prompt["style"]
            facts, picture = parse_facts(pairing.prompt["facts"]), pictures[pairing.image]
            result = score(category, facts, picture, job.config)
            rows.append(evals_row(job.config, exhibit, pairing, category, VERSION, scorer, result))
            told[f"{exhibit.system}/{style}/{category}"].append(result.value)
            for name, value in read_outs(facts, picture, job.config).items():
                told[f"{exhibit.system}/{style}/sees_{name}"].append(value)
        reporter.log(step, len(shown), images=len(exhibit.pairings))
    write_table(job.output / "scores.parquet", rows, EVALS)
    reporter.finish(**{name: round(fmean(values), 4) for name, values in sorted(told.items())})


def read_outs(facts: Facts, picture: Picture, config: CompBenchConfig) -> dict[str, float]:
    """Return how much of each kind of thing that the prompt says is in the picture, each by itself.

    They are no scores, but tell which part of a prompt a model has not learned: ``color`` is the mean over the
    prompt's objects of the probability that something in the picture has that colour, and so on.
    """
    stated = {name: [w.attributes()[name] for w in facts.objects if name in w.attributes()] for name in ATTRIBUTES}
    outs = {name: fmean(presence({name: v}, picture) for v in values) for name, values in stated.items() if values}
    if facts.background is not None:
        outs["background"] = picture.background.get(facts.background, 0.0)
    if facts.relation is not None:
        outs["relation"] = spatial(facts, picture, config).value
    outs["count"] = float(len(picture.objects) == sum(wanted.count for wanted in facts.objects))
    return outs


if __name__ == "__main__":
    run(main, CompBenchConfig, EvaluationInputs)

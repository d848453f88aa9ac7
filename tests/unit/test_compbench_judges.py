"""The scoring job by other judges and over prompts from files; the trained answerer."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation import geneval
from evaluation.compbench import CompBenchInputs, main
from evaluation.config import CompBenchConfig
from evaluation.detection import ATTRIBUTES, picture_of_truth
from evaluation.judge_questions import question, words_of
from evaluation.judges.config import JudgeChoice
from evaluation.models.answerer import (
    AnswererConfig,
    AnswererNetwork,
    TrainedAnswerer,
    load_answerer,
    save_answerer,
)
from evaluation.models.detector import DetectorConfig, DetectorNetwork, save_detector
from t2i_assets.corpus.schemas import EVALS, PROMPTS
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.synthweb.config import DRAWN, EvaluationSetConfig
from t2i_assets.synthweb.evaluation_set import shown, write_evaluation_set
from t2i_assets.synthweb.scenes import BACKGROUNDS, COLORS, SHAPES, TEXTURES, sample_scene
from training.job import Job
from training.report import Reporter

VOCABULARY = {"shape": SHAPES, "color": COLORS, "texture": TEXTURES, "background": BACKGROUNDS}


@pytest.fixture(scope="module")
def evaluation_set(tmp_path_factory) -> Path:
    """Scenes of every category that can be drawn, with prompts in two styles."""
    root = tmp_path_factory.mktemp("evaluation_set")
    write_evaluation_set(EvaluationSetConfig(
        scenes_per_category=4, pool_images=1, heldout_images=1, categories=DRAWN
    ), root)  # fmt: skip
    return root


def scored(evaluation_set: Path, out: Path, config: CompBenchConfig, earlier: list[Path]) -> tuple[list[dict], dict]:
    out.mkdir()
    inputs = CompBenchInputs(evaluation_set=evaluation_set, scorer=evaluation_set, earlier=earlier)
    with Reporter("test", out, {}) as reporter:
        main(Job("test", config, inputs, out), reporter)
    return read_rows(out / "scores.parquet", EVALS), json.loads((out / "run.json").read_text())["final"]


def test_the_pixel_judge_scores_every_category_that_can_be_drawn_from_ceiling_to_floor(evaluation_set, tmp_path):
    config = CompBenchConfig(judge=JudgeChoice(kind="pixels"), systems=("ceiling", "floor"))
    rows, final = scored(evaluation_set, tmp_path / "first", config, [])
    assert {row["category"] for row in rows} == set(DRAWN)
    assert {row["scorer"] for row in rows} == {"pixels-1"}
    assert {row["style"] for row in rows} == {"original", "descriptive"}
    for style in ("original", "descriptive"):
        ceilings = [final[f"ceiling/{style}/{category}"] for category in DRAWN]
        floors = [final[f"floor/{style}/{category}"] for category in DRAWN]
        assert np.mean(ceilings) > 0.95 and np.mean(floors) < 0.5
        tasks = [final[f"floor/{style}/{category}"] for category in geneval.GENEVAL_CATEGORIES]
        assert final[f"floor/{style}/geneval"] == pytest.approx(np.mean(tasks), abs=1e-4)
    assert all(row["reason"] for row in rows if row["value"] < 0.99)
    again, said = scored(evaluation_set, tmp_path / "again", config, [tmp_path / "first" / "scores.parquet"])
    assert said["measured"] == 0 and said["taken_over"] == len(rows)
    assert [row["value"] for row in again] == [row["value"] for row in rows]


def test_categories_without_a_rule_are_left_to_other_metrics(evaluation_set, tmp_path):
    ruled, free, *_ = read_rows(evaluation_set / "prompts.parquet", PROMPTS)
    (tmp_path / "reference").symlink_to(evaluation_set / "reference")
    write_table(tmp_path / "prompts.parquet", [ruled, free | {"category": "drawbench_colors"}], PROMPTS)
    config = CompBenchConfig(judge=JudgeChoice(kind="pixels"), systems=("ceiling",))
    rows, _ = scored(tmp_path, tmp_path / "out", config, [])
    assert [row["prompt_id"] for row in rows] == [ruled["prompt_id"]]


def test_a_judge_that_sees_no_depth_is_refused_before_anything_is_scored(evaluation_set, tmp_path):
    network = DetectorNetwork(DetectorConfig(
        image_size=32, width=8, features=8, blocks=1, score_threshold=0.3, vocabulary=VOCABULARY
    ))  # fmt: skip
    save_detector(network, tmp_path)
    inputs = CompBenchInputs(evaluation_set=evaluation_set, scorer=tmp_path)
    job = Job("test", CompBenchConfig(systems=("ceiling",)), inputs, tmp_path)
    with Reporter("test", tmp_path, {}) as reporter, pytest.raises(ValueError, match="take pixels"):
        main(job, reporter)


def cells_with(network: AnswererNetwork, *words: tuple[str, ...]) -> torch.Tensor:
    """Return cells [1, W, 1, C] of which each has the words named, for a network whose words read one channel each."""
    known = network.config.words
    cells = torch.full((1, len(known), 1, len(words)), -6.0)
    for place, of_cell in enumerate(words):
        for word in of_cell:
            cells[0, known.index(word), 0, place] = 6.0
    return cells


def test_the_answer_is_yes_only_where_one_cell_has_every_word():
    words = words_of(VOCABULARY)
    network = AnswererNetwork(AnswererConfig(words=words, features=len(words)))
    with torch.no_grad():
        network.words.weight.copy_(torch.eye(len(words))[..., None, None])
        network.words.bias.zero_()
    cells = cells_with(network, ("red", "star"), ("blue", "circle"))

    def yes(text: str) -> float:
        return network(cells, network.encode([text])).softmax(1)[0, 1].item()

    assert yes("a red star?") > 0.95 and yes("two blue circles?") > 0.95
    assert yes("a blue star?") < 0.05  # both words are there, but of different things
    with pytest.raises(ValueError, match="never learned the word 'bench'"):
        yes("a red bench?")


def test_questions_have_the_answers_that_the_truth_gives():
    generator, rng = torch.Generator().manual_seed(0), random.Random(0)
    said = []
    for _ in range(200):
        picture = picture_of_truth(json.dumps(shown(sample_scene(rng))))
        text, right = question(picture, VOCABULARY, generator)
        asked = set(text.removesuffix("?").split()) - {"a", "an", "background"}
        if "background" in text:
            true = asked <= set(picture.background)
        else:
            true = any(asked <= {thing.most_likely(name) for name in ATTRIBUTES} for thing in picture.objects)
        assert right == true, (text, str(picture))
        said.append(right)
    assert 0.4 < np.mean(said) < 0.6


def test_an_answerer_is_read_back_and_batches_do_not_change_its_answers(tmp_path):
    torch.manual_seed(0)
    detector = DetectorNetwork(DetectorConfig(
        image_size=32, width=8, features=8, blocks=1, score_threshold=0.3, vocabulary=VOCABULARY
    ))  # fmt: skip
    network = AnswererNetwork(AnswererConfig(words=words_of(VOCABULARY), features=8))
    save_detector(detector, tmp_path)
    with pytest.raises(ValueError, match="holds no answerer"):
        load_answerer(tmp_path)
    save_answerer(network, tmp_path)
    images = np.random.default_rng(0).integers(0, 255, (4, 3, 32, 32), np.uint8)
    questions = [(image, f"a {color} star?") for image in (3, 0, 2) for color in COLORS]
    answers = TrainedAnswerer(detector, network).answer(images, questions)
    np.testing.assert_allclose(load_answerer(tmp_path, batch_size=5).answer(images, questions), answers, atol=1e-6)
    assert ((answers > 0) & (answers < 1)).all()

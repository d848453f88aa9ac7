"""The judge and the scoring jobs, on a small evaluation set of their own, run as the processes they are."""

import io
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from open_clip import create_model_and_transforms
from PIL import Image

from evaluation import caption_clip, clip_score, compbench, encode, frechet
from evaluation.caption_metrics import clip_s, ref_clip_s
from evaluation.config import (
    CaptionClipConfig,
    ClipScoreConfig,
    CompBenchConfig,
    EvaluationConfig,
    FrechetConfig,
    JudgeConfig,
)
from evaluation.detection import Detection, Picture
from evaluation.features.config import FeaturesConfig
from evaluation.features.sample import Sample
from evaluation.features.store import FeatureSet, feature_sets
from evaluation.frechet import FrechetInputs
from evaluation.judge import PoolData, assign, read_pool, vocabulary_of
from evaluation.judge_accuracy import measure
from evaluation.judge_augmentation import augment, blurred
from evaluation.models.detector import DetectorConfig, decode, load_detector
from evaluation.set_distances import LeftOut, set_distances
from evaluation.systems import EvaluationInputs, exhibits, read_prompts, shuffled
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.schemas import CAPTIONS, EVALS, GENERATED, JUDGES, PROMPTS, SCORES
from t2i_assets.corpus.shards import TarWriter, iter_images
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.synthweb.language import descriptive, facts
from t2i_assets.synthweb.scenes import sample_scene
from tests.unit.drawn_pictures import write_pictures
from training import tokenizer
from training.config import ClipConfig, JobConfig, TokenizerConfig
from training.data import load_images
from training.job import Job, JobInputs
from training.models.clip import build_clip, clip_config, load_clip, save_clip
from training.report import Reporter

KIND_OF = {"color": "single", "spatial": "pair", "numeracy": "count"}


@pytest.fixture(scope="module")
def evaluation_set(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("evaluation_set")
    rng = random.Random(0)
    write_pictures(root / "pool", [sample_scene(rng) for _ in range(300)])
    write_pictures(root / "heldout", [sample_scene(rng) for _ in range(60)])
    scenes = [(category, sample_scene(rng, KIND_OF[category])) for category in KIND_OF for _ in range(8)]
    keys = write_pictures(root / "reference", [scene for _, scene in scenes])
    prompts = [
        {
            "prompt_id": digest([style, key]), "scene_id": key, "style": style, "category": category,
            "prompt": descriptive(scene), "facts": json.dumps(facts(scene)), "reference_key": key,
        }
        for (category, scene), key in zip(scenes, keys, strict=True)
        for style in ("original", "descriptive")
    ]  # fmt: skip
    write_table(root / "prompts.parquet", prompts, PROMPTS)
    return root


@pytest.fixture(scope="module")
def generated(evaluation_set, tmp_path_factory) -> Path:
    """Pictures of a perfect model: the references, as PNG of 32 pixels."""
    directory = tmp_path_factory.mktemp("generated")
    references = {row["key"]: data for row, data in iter_images(evaluation_set / "reference")}
    tar, rows = TarWriter(directory / "00000.tar"), []
    for prompt in read_prompts(evaluation_set):
        data = io.BytesIO()
        image = Image.open(io.BytesIO(references[prompt["reference_key"]]))
        image.resize((32, 32), Image.Resampling.BICUBIC).save(data, "PNG")
        key = f"{prompt['prompt_id']}-42"
        offset = tar.add(f"{key}.png", data.getvalue())
        rows.append({"key": key, "prompt_id": prompt["prompt_id"], "seed": 42, "model": "m",
                     "image_offset": offset, "image_bytes": len(data.getvalue())})  # fmt: skip
    tar.close()
    write_table(directory / "00000.parquet", rows, GENERATED)
    return directory


def run_job(main: Callable, output: Path, config: JobConfig, inputs: JobInputs) -> dict:
    output.mkdir(exist_ok=True)
    with Reporter("test", output, {}) as reporter:
        main(Job("test", config, inputs, output), reporter)
    return json.loads((output / "run.json").read_text())["final"]


@pytest.fixture(scope="module")
def scorer(evaluation_set, tmp_path_factory) -> Path:
    """A CLIP that has learned nothing."""
    directory = tmp_path_factory.mktemp("scorer")
    captions, vocabulary, clip = directory / "captions.parquet", directory / "tokenizer", directory / "clip"
    pq.write_table(pa.table({"caption": [prompt["prompt"] for prompt in read_prompts(evaluation_set)]}), captions)
    run_job(tokenizer.main, vocabulary, TokenizerConfig(), tokenizer.TokenizerInputs(captions=[captions]))
    settings = ClipConfig(embed_dim=16, vision_width=16, text_width=32, text_layers=1)
    words = tokenizer.load(vocabulary, settings.context_length)
    model_config = clip_config(settings, words.vocab_size)
    clip.mkdir()
    torch.manual_seed(0)
    save_clip(build_clip(model_config), model_config, words, clip)
    return clip


@pytest.fixture(scope="module")
def judge(evaluation_set, tmp_path_factory) -> Path:
    """A small judge, trained as the process that the orchestrator starts."""
    output = tmp_path_factory.mktemp("judge")
    optimizer = {"steps": 90, "batch_size": 24, "lr": 0.004, "warmup": 10, "ema_decay": 0.9, "clip_norm": 5.0}
    config = {
        "width": 16,
        "features": 32,
        "blocks": 1,
        "precision": "fp32",
        "optimizer": optimizer,
        "disturbed_images": 4,
    }
    config["answerer"] = {"optimizer": {**optimizer, "steps": 30, "lr": 0.02}}
    inputs = {"pool": str(evaluation_set / "pool"), "heldout": str(evaluation_set / "heldout")}
    job = output.with_suffix(".json")
    job.write_text(json.dumps({"config": config, "inputs": inputs, "output": str(output), "name": "judge"}))
    subprocess.run([sys.executable, "-m", "evaluation.judge", "--job", job], check=True)
    return output


WHOSE = {"systems": ("generated", "ceiling", "floor"), "recipe": "blend", "model": "m"}


def test_a_few_steps_teach_the_judge_where_things_are_and_which_colour_they_have(judge):
    final = json.loads((judge / "run.json").read_text())["final"]
    assert final["detection_f1"] > 0.6
    assert final["color"] > 0.6
    assert final["background"] > 0.8
    assert {name.removeprefix("soft/") for name in final if name.startswith("soft/")} <= set(final)
    assert final["heldout_images"] == 60


def test_the_judge_is_measured_beside_the_pixels_and_its_own_answers(judge):
    rows = read_rows(judge / "judges.parquet", JUDGES)
    assert {row["judge"] for row in rows} == {"oracle", "trained", "trained_vqa", "pixels"}
    values = {(row["judge"], row["measure"]): row["value"] for row in rows if row["condition"] == "sharp"}
    assert values["oracle", "ceiling/attributes"] == 1 and values["pixels", "whole"] >= 0.9
    for name in ("trained_vqa", "pixels"):
        assert values[name, "ceiling/attributes"] > values[name, "swapped/attributes"]
    assert values["trained_vqa", "whole"] == values["trained", "whole"]


def test_the_judge_reads_as_many_features_as_it_has_channels_and_nothing_from_no_pictures(judge, evaluation_set):
    images, truth, _ = read_pool(evaluation_set / "heldout", 32)
    detector = load_detector(judge, batch_size=7)
    assert detector.features(images.numpy()).shape == (60, 32)
    assert len(detector.detect(images.numpy())) == len(truth)
    assert detector.detect(images[:0].numpy()) == []
    whole, parts = load_detector(judge).features(images.numpy()), detector.features(images.numpy())
    np.testing.assert_allclose(whole, parts, atol=1e-4)


@pytest.fixture(scope="module")
def inputs(evaluation_set, generated, judge) -> EvaluationInputs:
    return EvaluationInputs(evaluation_set=evaluation_set, scorer=judge, images=generated)


def test_compbench_scores_every_picture_by_its_category_and_gives_reasons(inputs, tmp_path):
    told = compbench.CompBenchInputs(**inputs.model_dump())
    final = run_job(compbench.main, tmp_path, CompBenchConfig(**WHOSE), told)
    rows = read_rows(tmp_path / "scores.parquet", EVALS)
    assert len(rows) == 3 * 48
    assert all(row["metric"] == row["category"] for row in rows)
    assert all(row["value"] >= 0.99 or row["reason"] for row in rows)
    assert {(row["system"], row["recipe"], row["model"], row["seed"]) for row in rows} == {
        ("generated", "blend", "m", 42), ("ceiling", None, None, None), ("floor", None, None, None)
    }  # fmt: skip
    assert final["ceiling/descriptive/sees_color"] > final["floor/descriptive/sees_color"] + 0.1
    assert final["ceiling/descriptive/numeracy"] > final["floor/descriptive/numeracy"]


@pytest.fixture(scope="module")
def measured(inputs, tmp_path_factory) -> FrechetInputs:
    """Features of the pictures and of real ones, by the judge."""
    root = tmp_path_factory.mktemp("features")
    config = FeaturesConfig(batch_size=50)
    drawn = encode.EncodeInputs(judge=inputs.scorer, images=inputs.images)
    real = encode.EncodeInputs(judge=inputs.scorer, evaluation_set=inputs.evaluation_set)
    run_job(encode.main, root / "drawn", config, drawn)
    run_job(encode.main, root / "real", config, real)
    return FrechetInputs(
        evaluation_set=inputs.evaluation_set, scorer=root / "real", images=inputs.images, features=root / "drawn"
    )


def test_the_judges_features_are_those_of_the_pictures_as_it_looks_at_them(inputs, measured):
    real = feature_sets(measured.scorer / "heldout")["judge"]
    keys, images = load_images([inputs.evaluation_set / "heldout"], 32)
    expected = load_detector(inputs.scorer).features(images.numpy())
    np.testing.assert_allclose(real.at(real.places(keys)), expected, atol=1e-4)
    drawn = FeatureSet(measured.features / "generated" / "judge")
    looked_at = exhibits(EvaluationConfig(), inputs, 32)[0].images
    expected = load_detector(inputs.scorer).features(looked_at)
    np.testing.assert_allclose(drawn.at(drawn.places(drawn.keys)), expected, atol=1e-4)


def test_frechet_puts_real_pictures_nearer_than_shuffled_patches_and_numbers_its_resamples(measured, tmp_path):
    final = run_job(frechet.main, tmp_path, FrechetConfig(**WHOSE, resamples=20), measured)
    assert final["ceiling/original/fd_judge"] < final["floor/original/fd_judge"]
    assert final["generated/original/fd_judge"] == pytest.approx(final["ceiling/original/fd_judge"], rel=0.05)
    rows = read_rows(tmp_path / "scores.parquet", EVALS)
    assert {row["prompt_id"] for row in rows} == {None}
    ours = [row for row in rows if row["system"] == "generated" and row["style"] == "original"]
    resamples = [row for row in ours if row["metric"] == "fd_judge/bootstrap"]
    assert sorted(row["seed"] for row in resamples) == list(range(20))
    (plain,) = [row for row in ours if row["metric"] == "fd_judge"]
    assert np.mean([row["value"] for row in resamples]) == pytest.approx(plain["value"])
    real = feature_sets(measured.scorer / "heldout")["judge"].about.dataset
    assert plain["metric_version"] == f"frechet-2/bytes-crop-32/real {real}"
    assert plain["reason"] == "24 images are not more than the 32 features: comparable at equal N only"


def test_pictures_of_prompts_without_real_ones_are_measured_where_real_ones_are_named(measured, tmp_path):
    rows = read_prompts(measured.evaluation_set)
    published = {"style": "geneval", "reference_key": None}
    prompts = [row | published if row["style"] == "descriptive" else row for row in rows]
    write_table(tmp_path / "prompts.parquet", prompts, PROMPTS)
    inputs = measured.model_copy(update={"evaluation_set": tmp_path})
    config = FrechetConfig(distances=("kernel",), resamples=0)
    final = run_job(frechet.main, tmp_path / "a", config, inputs)
    assert final["generated/geneval"].startswith("left out: no real pictures")
    assert {row["style"] for row in read_rows(tmp_path / "a" / "scores.parquet", EVALS)} == {"original"}
    run_job(frechet.main, tmp_path / "b", config.model_copy(update={"of_any_style": True}), inputs)
    assert {row["style"] for row in read_rows(tmp_path / "b" / "scores.parquet", EVALS)} == {"original", "geneval"}


def test_every_distance_that_is_asked_for_comes_with_both_numbers_of_images_and_an_interval(measured, tmp_path):
    asked = ("kernel", "cmmd", "neighbours", "inception_score")
    config = FrechetConfig(distances=asked, resamples=30, **WHOSE)
    run_job(frechet.main, tmp_path, config, measured)
    rows = read_rows(tmp_path / "scores.parquet", EVALS)
    told = {(row["system"], row["metric"]): row for row in rows if row["style"] == "original" and row["seed"] is None}
    found = {name: row["value"] for name, row in told.items()}
    names = {name for _, name in found}
    plain = {"kd_judge", "cmmd_judge", *(f"{n}_judge" for n in ("precision", "recall", "density", "coverage"))}
    assert names == {f"{name}{more}" for name in plain for more in ("", "/n", "/scenes", "/real")}
    for system in ("ceiling", "floor"):
        assert {(found[system, f"{name}/n"], found[system, f"{name}/real"]) for name in plain} == {(24, 60)}
        for name in plain:
            draws = [r["value"] for r in rows if r["metric"] == f"{name}/bootstrap" and r["system"] == system]
            assert len(draws) == 2 * 30
    draws = [r["value"] for r in rows if r["metric"] == "kd_judge/bootstrap" and r["system"] == "ceiling"]
    assert np.std(draws) > 0
    assert found["ceiling", "cmmd_judge"] < found["floor", "cmmd_judge"]
    assert found["ceiling", "coverage_judge"] > found["floor", "coverage_judge"]
    version = {name: told["ceiling", name]["metric_version"].split("/") for name in plain}
    assert version["kd_judge"][-1] == "whole" and version["recall_judge"][-1] == "nearest 5"
    assert version["cmmd_judge"] == version["kd_judge"][:-1]


def test_a_set_that_is_too_small_for_one_distance_has_the_others_and_a_reason(measured, tmp_path):
    config = FrechetConfig(distances=("limit", "neighbours", "kernel"), nearest=24, resamples=0, kernel_subset_size=20)
    final = run_job(frechet.main, tmp_path, config, measured)
    rows = {row["metric"]: row for row in read_rows(tmp_path / "scores.parquet", EVALS) if row["style"] == "original"}
    assert set(rows) == {
        *("kd_judge", "kd_judge/n", "kd_judge/scenes", "kd_judge/real", "fd_judge_infinity/left_out"),
        *(f"{share}_judge/left_out" for share in ("precision", "recall", "density", "coverage")),
    }
    assert rows["recall_judge/left_out"]["reason"] == "neighbourhoods of 24 need more than 24 features, not 24"
    assert "parts of more than 32 features" in final["generated/original/fd_judge_infinity"]
    assert rows["kd_judge"]["metric_version"].endswith("/subsets 100 of 20")


def test_features_that_were_made_differently_are_not_compared(measured, tmp_path):
    changed = tmp_path / "features"
    shutil.copytree(measured.features, changed)
    about = changed / "generated" / "judge" / "about.json"
    about.write_text(about.read_text().replace('"bytes"', '"clean"'))
    with pytest.raises(ValueError, match="not comparable"):
        run_job(frechet.main, tmp_path / "out", FrechetConfig(), measured.model_copy(update={"features": changed}))
    with pytest.raises(ValueError, match="needs the inputs 'images' and 'features'"):
        run_job(frechet.main, tmp_path / "out", FrechetConfig(), measured.model_copy(update={"features": None}))


def test_clip_score_is_a_hundred_cosines_of_what_open_clip_itself_embeds(inputs, scorer, tmp_path):
    prompts = {prompt["prompt_id"]: prompt["prompt"] for prompt in read_prompts(inputs.evaluation_set)}
    run_job(clip_score.main, tmp_path / "out", ClipScoreConfig(**WHOSE), inputs.model_copy(update={"scorer": scorer}))
    every = read_rows(tmp_path / "out" / "scores.parquet", EVALS)
    rows = [r for r in every if (r["system"], r["metric"]) == ("generated", "clip_score")]
    assert len(rows) == 48

    model, _, preprocess = create_model_and_transforms(f"local-dir:{scorer}")
    model.eval()
    words = load_clip(scorer)[1]
    pictures = {row["prompt_id"]: row for row in read_rows(inputs.images / "00000.parquet", GENERATED)}
    tar = (inputs.images / "00000.tar").read_bytes()
    for row in rows[:10]:
        place = pictures[row["prompt_id"]]
        data = tar[place["image_offset"] : place["image_offset"] + place["image_bytes"]]
        with torch.no_grad():
            image = model.encode_image(preprocess(Image.open(io.BytesIO(data)))[None], normalize=True)
            text = model.encode_text(words([prompts[row["prompt_id"]]]), normalize=True)
        assert row["value"] == pytest.approx(100 * float((image * text).sum()), abs=1e-3)


def test_no_prompt_of_the_floor_meets_its_own_scene_and_every_scene_is_used_once(evaluation_set):
    prompts = read_prompts(evaluation_set)
    pairs = list(shuffled(prompts, seed=3))
    assert len(pairs) == len(prompts)
    assert all(key != prompt["reference_key"] for prompt, key in pairs)
    for style in ("original", "descriptive"):
        used = [key for prompt, key in pairs if prompt["style"] == style]
        assert sorted(used) == sorted(prompt["reference_key"] for prompt in prompts if prompt["style"] == style)
    assert [key for _, key in pairs] == [key for _, key in shuffled(prompts, seed=3)]
    assert [key for _, key in pairs] != [key for _, key in shuffled(prompts, seed=4)]
    with pytest.raises(ValueError, match="has one scene"):
        list(shuffled(prompts[:1], seed=0))


def test_generated_pictures_must_be_given_and_belong_to_the_prompts(evaluation_set, generated, tmp_path):
    inputs = EvaluationInputs(evaluation_set=evaluation_set, scorer=evaluation_set)
    with pytest.raises(ValueError, match="needs the input 'images'"):
        exhibits(EvaluationConfig(), inputs, 32)
    rows = read_rows(generated / "00000.parquet", GENERATED)
    rows[3]["prompt_id"] = "of-another-set"
    write_table(tmp_path / "00000.parquet", rows, GENERATED)
    (tmp_path / "00000.tar").write_bytes((generated / "00000.tar").read_bytes())
    with pytest.raises(ValueError, match="shows prompt of-another-set"):
        exhibits(ClipScoreConfig(), inputs.model_copy(update={"images": tmp_path}), 32)


def test_augmentation_moves_boxes_with_their_objects():
    config = JudgeConfig(blur_sigma=0, noise_std=0, max_shift=3)
    images = torch.zeros(40, 3, 32, 32)
    images[:, :, 10:20, 6:14] = 0.8
    boxes = torch.tensor([6, 10, 14, 20]).div(32).expand(40, 1, 4)
    moved, moved_boxes = augment(images, boxes, config, torch.Generator().manual_seed(0))
    for image, box in zip(moved, moved_boxes, strict=True):
        y, x = torch.nonzero(image[0] > 0.4, as_tuple=True)
        seen = [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]
        assert seen == (box[0] * 32).round().int().tolist()
    assert len({tuple(box) for box in moved_boxes[:, 0].tolist()}) > 10


def test_every_object_owns_the_cells_around_its_centre_and_no_cell_is_both():
    boxes = torch.tensor([[[0.1, 0.1, 0.4, 0.4], [0.6, 0.6, 0.9, 0.9], [0.0, 0.0, 0.0, 0.0]]])
    owner, empty = assign(boxes, torch.tensor([[True, True, False]]), grid=8)
    assert owner[0, 1, 1] == 0 and owner[0, 5, 5] == 1
    assert set(owner.unique().tolist()) == {-1, 0, 1}
    assert empty[0, 0, 7] and not (empty & (owner >= 0)).any()


def test_blurring_keeps_the_mean_and_takes_away_contrast():
    images = np.random.default_rng(0).integers(0, 255, (3, 3, 32, 32), np.uint8)
    soft = blurred(images, 0.7)
    assert soft.mean() == pytest.approx(images.mean(), abs=1)
    assert soft.std() < 0.7 * images.std()


VOCABULARY = {"shape": ("circle", "star"), "color": ("blue", "red"), "texture": ("solid",), "background": ("white",)}


def test_decoding_reports_one_object_for_neighbouring_cells_and_none_below_the_threshold():
    config = DetectorConfig(image_size=32, width=8, features=8, blocks=1, score_threshold=0.3, vocabulary=VOCABULARY)
    outputs = {"score": torch.full((1, 1, 8, 8), -5.0), "box": torch.full((1, 4, 8, 8), 1.5)}
    outputs |= {name: torch.zeros(1, len(VOCABULARY[name]), 8, 8) for name in ("shape", "color", "texture")}
    outputs["background"] = torch.zeros(1, 1)
    outputs["score"][0, 0, 2, 2] = 3.0
    outputs["score"][0, 0, 2, 3] = 2.0  # its own box overlaps the first by half
    outputs["score"][0, 0, 6, 6] = 1.0
    outputs["score"][0, 0, 6, 1] = -1.0  # 0.27
    outputs["shape"][0, 1, 2, 2] = 4.0
    (picture,) = decode(outputs, config)
    assert [round(thing.score, 2) for thing in picture.objects] == [0.95, 0.73]
    assert picture.objects[0].most_likely("shape") == "star"
    assert picture.objects[0].box == pytest.approx((1 / 8, 1 / 8, 4 / 8, 4 / 8))
    assert sum(picture.objects[0].color.values()) == pytest.approx(1)


def test_accuracy_is_one_for_the_truth_and_counts_each_kind_of_mistake_by_itself():
    def thing(color: str, left: float) -> Detection:
        return Detection({"star": 1.0}, {color: 1.0}, {"solid": 1.0}, (left, 0.3, left + 0.2, 0.5))

    true = Picture((thing("red", 0.1), thing("blue", 0.6)), {"white": 1.0})
    assert set(measure([true], [true]).values()) == {1.0}
    repainted = Picture((thing("blue", 0.1), thing("blue", 0.6)), {"black": 1.0})
    wrong = measure([repainted], [true])
    assert (wrong["color"], wrong["shape"], wrong["background"], wrong["relation"]) == (0.5, 1.0, 0.0, 1.0)
    missed = measure([Picture((thing("red", 0.1),), {"white": 1.0})], [true])
    assert missed["detection_f1"] == pytest.approx(2 / 3)
    assert (missed["count"], missed["relation"], missed["whole"], missed["color"]) == (0.0, 0.0, 0.0, 1.0)


def test_the_pool_is_read_with_its_boxes_and_vocabulary(evaluation_set):
    images, truth, keys = read_pool(evaluation_set / "pool", 32)
    vocabulary = vocabulary_of(truth)
    assert vocabulary["shape"] == ("circle", "square", "star", "triangle")
    assert vocabulary["background"] == ("black", "gray", "white")
    config = DetectorConfig(image_size=32, width=8, features=8, blocks=1, score_threshold=0.3, vocabulary=vocabulary)
    batch = PoolData(images, truth, keys, config).batch(np.array([5, 2]), np.array([0, 0]))
    assert batch["keys"] == [keys[5], keys[2]]
    assert (batch["shape"] >= 0).sum(1).tolist() == [len(truth[5].objects), len(truth[2].objects)]
    assert batch["boxes"][0, 0].tolist() == pytest.approx(truth[5].objects[0].box, abs=1e-6)


def test_resamples_of_two_models_draw_the_same_scenes(measured):
    found = {name: feature_sets(measured.scorer / name)["judge"] for name in ("heldout", "shuffled")}
    one, other = found["shuffled"].keys[:22], [found["shuffled"].keys[22], *found["shuffled"].keys[1:22]]
    scenes = [f"s{i // 2}" for i in range(22)]
    whole, config = Sample.whole(found["heldout"]), FrechetConfig(resamples=30)
    first, second = (list(set_distances(Sample.of(found["shuffled"], k, scenes), whole, config)) for k in (one, other))
    for a, b in zip(first, second, strict=True):
        assert a.resamples.std() > 2 * (a.resamples - b.resamples).std() > 0
    for alone in set_distances(Sample.of(found["shuffled"], one, ["s"] * 22), whole, config):
        assert not len(alone.resamples)


def test_too_few_real_images_are_told_as_too_few_of_the_models_are(measured):
    real = feature_sets(measured.scorer / "heldout")["judge"]
    every, few = Sample.whole(real), Sample.of(real, real.keys[:20], real.keys[:20])
    (found,) = set_distances(every, few, FrechetConfig(distances=("frechet",), resamples=0))
    assert found.reason == "20 real images are not more than the 32 features: comparable at equal N only"
    (found,) = set_distances(Sample.of(real, real.keys[:1], ["s"]), every, FrechetConfig(distances=("frechet",)))
    assert isinstance(found, LeftOut) and "needs two features" in found.reason


def test_a_caption_is_scored_by_its_picture_and_by_the_exact_captions_of_its_style(evaluation_set, scorer, tmp_path):
    model, tokens = load_clip(scorer)
    keys, pictures = load_images([evaluation_set / "heldout"], clip_score.image_size_of(model))
    images = dict(zip(keys[:8], pictures[:8], strict=True))
    heldout = tmp_path / "heldout"
    shutil.copytree(evaluation_set / "heldout", heldout)

    def rows(texts: dict[str, str], style: str) -> list[dict]:
        common = {"source": "test", "decode": json.dumps({"style": style})}
        return [{"caption_id": f"{style}/{key}", "key": key, "caption": text, **common} for key, text in texts.items()]

    exact = {key: f"a red circle number {number}" for number, key in enumerate(images)}
    short = dict.fromkeys(images, "a blue star")
    write_table(heldout / "captions.parquet", rows(exact, "descriptive") + rows(short, "short"), CAPTIONS)
    said = exact | {key: "a blue star" for key in list(images)[:1]}
    (tmp_path / "captions").mkdir()
    write_table(tmp_path / "captions" / "00000.parquet", rows(said, "descriptive"), CAPTIONS)
    inputs = caption_clip.CaptionClipInputs(captions=tmp_path / "captions", heldout=heldout, scorer=scorer)
    config = CaptionClipConfig(batch_size=3, scorer_digest="s")
    final = run_job(caption_clip.main, tmp_path / "out", config, inputs)

    found = {(r["key"], r["kind"]): r["value"] for r in read_rows(tmp_path / "out" / "scores.parquet", SCORES)}
    for key, text in said.items():
        picture = clip_score.embed_images(model, images[key][None].numpy(), 1)[0]
        ours, theirs = clip_score.embed_texts(
            model, tokens, [f"A photo depicts {text}", f"A photo depicts {exact[key]}"], 2
        )
        assert found[key, "clip_s"] == pytest.approx(clip_s(float(picture @ ours)), abs=1e-5)
        assert found[key, "ref_clip_s"] == pytest.approx(
            ref_clip_s(float(picture @ ours), [float(ours @ theirs)]), abs=1e-5
        )
    assert len(found) == 2 * len(said)
    assert len({value for value in found.values() if value > 0}) > 2
    assert final["captions"] == len(said)

"""CLIP scores of pictures: stored cosines, what is derived of them, and that only what changed is scored again."""

import io
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from evaluation import clip_score, compbench
from evaluation.clip_definitions import clip_scores, torchmetrics_clip_score
from evaluation.compbench import CompBenchInputs
from evaluation.config import ClipScoreConfig, CompBenchConfig
from evaluation.faults import Faults
from evaluation.rescoring import version_with_settings
from evaluation.systems import EvaluationInputs, read_generated, read_prompts, scorer_digest
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.schemas import EVALS, GENERATED, PROMPTS
from t2i_assets.corpus.shards import TarWriter
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.synthweb.language import descriptive, facts, short
from t2i_assets.synthweb.scenes import sample_scene
from tests.unit.drawn_pictures import write_pictures
from training import tokenizer
from training.config import ClipConfig, TokenizerConfig
from training.job import Job
from training.models.clip import build_clip, clip_config, load_clip, save_clip
from training.report import Reporter

SCENES = 6
WHOSE = {"systems": ("generated", "ceiling", "floor"), "recipe": "blend", "model": "m"}


@pytest.fixture(scope="module")
def evaluation_set(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("evaluation_set")
    rng = random.Random(0)
    scenes = [sample_scene(rng, "pair") for _ in range(SCENES)]
    prompts = [
        {
            "prompt_id": digest([style, key]), "scene_id": key, "style": style, "category": "color",
            "prompt": say(scene), "facts": json.dumps(facts(scene)), "reference_key": key,
        }
        for scene, key in zip(scenes, write_pictures(root / "reference", scenes), strict=True)
        for style, say in (("original", short), ("descriptive", descriptive))
    ]  # fmt: skip
    write_table(root / "prompts.parquet", prompts, PROMPTS)
    return root


def write_noise(directory: Path, prompts: list[dict], seed: int = 0, other: str | None = None) -> Path:
    """Write a picture of noise for each prompt; that of the prompt ``other`` is drawn from another seed."""
    directory.mkdir()
    tar, rows = TarWriter(directory / "00000.tar"), []
    for number, prompt in enumerate(prompts):
        own = 1000 if prompt["prompt_id"] == other else seed
        pixels = np.random.default_rng([own, number]).integers(0, 256, (32, 32, 3), np.uint8)
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "PNG")
        key = f"{prompt['prompt_id']}-42"
        offset = tar.add(f"{key}.png", data.getvalue())
        rows.append({"key": key, "prompt_id": prompt["prompt_id"], "seed": 42, "model": "m",
                     "image_offset": offset, "image_bytes": len(data.getvalue())})  # fmt: skip
    tar.close()
    write_table(directory / "00000.parquet", rows, GENERATED)
    return directory


def run(main, output: Path, config, inputs) -> dict:
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
    run(tokenizer.main, vocabulary, TokenizerConfig(), tokenizer.TokenizerInputs(captions=[captions]))
    settings = ClipConfig(embed_dim=16, vision_width=16, text_width=32, text_layers=1)
    words = tokenizer.load(vocabulary, settings.context_length)
    model_config = clip_config(settings, words.vocab_size)
    clip.mkdir()
    torch.manual_seed(0)
    save_clip(build_clip(model_config), model_config, words, clip)
    return clip


@pytest.fixture(scope="module")
def inputs(evaluation_set, scorer, tmp_path_factory) -> EvaluationInputs:
    images = write_noise(tmp_path_factory.mktemp("drawn") / "images", read_prompts(evaluation_set))
    return EvaluationInputs(evaluation_set=evaluation_set, scorer=scorer, images=images)


@pytest.fixture(scope="module")
def scored(inputs, tmp_path_factory) -> Path:
    """The table of a first run, in which everything was measured."""
    output = tmp_path_factory.mktemp("scored")
    final = run(clip_score.main, output, ClipScoreConfig(**WHOSE), inputs)
    assert (final["measured"], final["taken_over"]) == (6 * SCENES, 0)
    return output / "scores.parquet"


class AsTorchmetricsWantsIt:
    """Our CLIP behind the names by which torchmetrics calls a model and its processor."""

    config = None

    def __init__(self, scorer: Path, sign: int = 1) -> None:
        self.model, self.tokenizer = load_clip(scorer)
        self.sign = sign

    def to(self, device: object) -> "AsTorchmetricsWantsIt":
        return self

    def __call__(self, text=None, images=None, **_) -> dict:
        if text is not None:
            tokens = self.tokenizer(text)
            return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        mean, std = (torch.tensor(self.model.visual.preprocess_cfg[n])[:, None, None] for n in ("mean", "std"))
        return {"pixel_values": torch.stack([(image.float() / 255 - mean) / std for image in images])}

    @torch.no_grad()
    def get_image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model.encode_image(pixels)

    @torch.no_grad()
    def get_text_features(self, tokens: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return self.sign * self.model.encode_text(tokens)


def generated(table: Path, metric: str) -> dict[str, float]:
    rows = read_rows(table, EVALS)
    return {r["prompt_id"]: r["value"] for r in rows if r["system"] == "generated" and r["metric"] == metric}


def test_the_mean_agrees_with_torchmetrics_on_the_same_model(inputs, scorer, scored):
    from torchmetrics.multimodal.clip_score import CLIPScore

    pictures, rows = read_generated(inputs.images, 32)
    prompts = {prompt["prompt_id"]: prompt["prompt"] for prompt in read_prompts(inputs.evaluation_set)}
    texts = [prompts[row["prompt_id"]] for row in rows]
    cosines = [generated(scored, "clip_cosine")[row["prompt_id"]] for row in rows]
    assert abs(np.mean(cosines)) > 0.01
    for sign in (1, -1):  # one of the two has a negative mean, which is clamped
        theirs = AsTorchmetricsWantsIt(scorer, sign)
        metric = CLIPScore(model_name_or_path=lambda theirs=theirs: (theirs, theirs))
        for start in range(0, len(rows), 5):
            metric.update(torch.from_numpy(pictures[start : start + 5]), texts[start : start + 5])
        ours = torchmetrics_clip_score([sign * cosine for cosine in cosines])
        assert ours == pytest.approx(float(metric.compute()), abs=1e-4)
    one = CLIPScore(model_name_or_path=lambda: (theirs, theirs))
    one.update(torch.from_numpy(pictures[:1]), texts[:1])
    assert torchmetrics_clip_score([-cosines[0]]) == pytest.approx(float(one.compute()), abs=1e-4)


def test_pictures_of_one_colour_and_empty_prompts_have_the_score_that_torchmetrics_gives(scorer):
    from torchmetrics.functional.multimodal.clip_score import clip_score as of_torchmetrics

    flat = np.full((3, 3, 32, 32), 255, np.uint8) * np.array([0, 1, 1], np.uint8)[:, None, None, None]
    texts = ["", "a red circle", "a red circle"]
    model, tokenizer = load_clip(scorer)
    ours = (clip_score.embed_images(model, flat, 2) * clip_score.embed_texts(model, tokenizer, texts, 2)).sum(1)
    assert ours[1] == pytest.approx(ours[2], abs=1e-6)
    for one in range(3):
        theirs = AsTorchmetricsWantsIt(scorer)
        value = float(of_torchmetrics(torch.from_numpy(flat[one]), texts[one], lambda theirs=theirs: (theirs, theirs)))
        assert torchmetrics_clip_score([ours[one]]) == pytest.approx(value, abs=1e-4)


def test_every_definition_follows_from_the_stored_cosines(scored):
    cosine, prefixed = generated(scored, "clip_cosine"), generated(scored, "clip_cosine_photo")
    reference = generated(scored, "reference_cosine")
    assert len(cosine) == len(prefixed) == len(reference) == 2 * SCENES
    assert any(abs(cosine[p] - prefixed[p]) > 1e-4 for p in cosine)
    for prompt, value in generated(scored, "clip_score").items():
        assert value == pytest.approx(100 * cosine[prompt])
    for prompt, value in generated(scored, "clip_s").items():
        assert value == pytest.approx(2.5 * max(prefixed[prompt], 0))
    for prompt, value in generated(scored, "ref_clip_s").items():
        two = [2.5 * max(prefixed[prompt], 0), max(reference[prompt], 0)]
        assert value == pytest.approx(2 / sum(1 / part for part in two) if all(two) else 0)


def test_a_picture_without_another_caption_of_its_scene_has_no_reference_score():
    assert set(clip_scores({"clip_cosine": -0.5, "clip_cosine_photo": -0.4})) == {"clip_score", "clip_s"}
    assert clip_scores({"clip_cosine": -0.5, "clip_cosine_photo": -0.4}) == {"clip_score": -50, "clip_s": 0}


def test_every_score_names_the_picture_that_it_is_of(inputs, scored):
    rows = read_rows(scored, EVALS)
    drawn = {row["key"]: row["prompt_id"] for row in read_rows(inputs.images / "00000.parquet", GENERATED)}
    references = {prompt["reference_key"] for prompt in read_prompts(inputs.evaluation_set)}
    assert all(drawn[row["image_key"]] == row["prompt_id"] for row in rows if row["system"] == "generated")
    assert {row["image_key"] for row in rows if row["system"] != "generated"} == references
    assert len({row["picture"] for row in rows}) == 3 * SCENES


def rescored(inputs: EvaluationInputs, table: Path, output: Path, **told) -> tuple[dict, list[dict]]:
    config = ClipScoreConfig(**{**WHOSE, **told})
    final = run(clip_score.main, output, config, inputs.model_copy(update={"earlier": [table]}))
    return final, read_rows(output / "scores.parquet", EVALS)


def test_nothing_is_scored_again_where_nothing_changed(inputs, scored, tmp_path):
    final, rows = rescored(inputs, scored, tmp_path / "again")
    assert (final["measured"], final["taken_over"]) == (0, 6 * SCENES)
    assert rows == read_rows(scored, EVALS)


def test_one_picture_drawn_anew_is_the_only_one_scored_again(inputs, scored, tmp_path):
    prompts = read_prompts(inputs.evaluation_set)
    images = write_noise(tmp_path / "images", prompts, other=prompts[3]["prompt_id"])
    final, rows = rescored(inputs.model_copy(update={"images": images}), scored, tmp_path / "out")
    assert final["measured"] == 1
    before = {(r["system"], r["prompt_id"], r["metric"]): r["value"] for r in read_rows(scored, EVALS)}
    changed = {r["prompt_id"] for r in rows if before[r["system"], r["prompt_id"], r["metric"]] != r["value"]}
    assert changed == {prompts[3]["prompt_id"]}
    alone = run(clip_score.main, tmp_path, ClipScoreConfig(**WHOSE), inputs.model_copy(update={"images": images}))
    assert alone["measured"] == 6 * SCENES
    whole = read_rows(tmp_path / "scores.parquet", EVALS)
    assert [r["value"] for r in rows] == pytest.approx([r["value"] for r in whole], abs=1e-5)


def test_another_caption_of_a_scene_scores_its_scene_again_and_a_new_prompt_is_added(inputs, scored, tmp_path):
    changed = tmp_path / "evaluation_set"
    shutil.copytree(inputs.evaluation_set, changed)
    prompts = read_prompts(changed)
    prompts[0] |= {"prompt_id": "reworded", "prompt": "two things"}
    write_table(changed / "prompts.parquet", prompts, PROMPTS)
    images = write_noise(tmp_path / "images", prompts)
    told = inputs.model_copy(update={"evaluation_set": changed, "images": images})
    final, _ = rescored(told, scored, tmp_path / "out")
    assert final["measured"] == 3 * 2  # both prompts of the scene, in each of the three systems


def test_another_model_or_scorer_takes_nothing_over(inputs, scored, scorer, tmp_path):
    final, _ = rescored(inputs, scored, tmp_path / "model", model="another")
    assert (final["measured"], final["taken_over"]) == (2 * SCENES, 4 * SCENES)  # real pictures belong to no model
    other = tmp_path / "scorer"
    shutil.copytree(scorer, other)
    (other / "note").write_text("another digest")
    final, _ = rescored(inputs.model_copy(update={"scorer": other}), scored, tmp_path / "scored")
    assert final["taken_over"] == 0


def test_tables_from_before_pictures_had_digests_are_passed_over(inputs, scored, tmp_path):
    old = tmp_path / "old.parquet"
    pq.write_table(pq.read_table(scored).drop_columns(["picture", "asked", "image_key"]), old)
    assert rescored(inputs, old, tmp_path / "out")[0]["taken_over"] == 0


def test_a_version_tells_the_settings_that_change_scores_and_no_others():
    plain = version_with_settings("rules-1", CompBenchConfig())
    assert plain.startswith("rules-1+") and version_with_settings("cosine-1", ClipScoreConfig()) == "cosine-1"
    assert version_with_settings("rules-1", CompBenchConfig(batch_size=3, threads=2, model="m")) == plain
    near = version_with_settings("rules-1", CompBenchConfig(near=0.5))
    assert len({plain, near, version_with_settings("rules-1", CompBenchConfig(near=0.4))}) == 3


def test_judged_scores_are_taken_over_too_until_what_they_rest_on_changes(inputs, scorer, tmp_path):
    config = CompBenchConfig(**WHOSE, judge={"kind": "pixels"})
    asked = CompBenchInputs(evaluation_set=inputs.evaluation_set, scorer=scorer, images=inputs.images)
    final = run(compbench.main, tmp_path / "first", config, asked)
    assert (final["measured"], final["taken_over"]) == (6 * SCENES, 0)
    first = tmp_path / "first" / "scores.parquet"

    again = asked.model_copy(update={"earlier": [first]})
    final = run(compbench.main, tmp_path / "again", config, again)
    assert (final["measured"], final["taken_over"]) == (0, 6 * SCENES)
    assert read_rows(tmp_path / "again" / "scores.parquet", EVALS) == read_rows(first, EVALS)

    stricter = CompBenchConfig(**WHOSE, judge={"kind": "pixels"}, near=0.2)
    assert run(compbench.main, tmp_path / "near", stricter, again)["measured"] == 0  # nothing here is near anything
    final = run(compbench.main, tmp_path / "clip", config, again.model_copy(update={"clip": scorer}))
    assert final["measured"] == 0  # nor does any prompt state an interaction
    rounded = CompBenchConfig(**WHOSE, judge={"kind": "pixels"}, faults={"rounding": "official"})
    assert run(compbench.main, tmp_path / "rounded", rounded, again)["taken_over"] == 0


def no_clip(*told) -> None:
    raise AssertionError("no picture needs CLIP")


def test_interactions_are_scored_by_clip_which_is_opened_for_them_alone(inputs, scorer, tmp_path, monkeypatch):
    told = read_prompts(inputs.evaluation_set)[0]
    acting = {"prompt_id": "acting", "category": "non_spatial", "prompt": "a red star and a blue star", "facts": "{}"}
    bee = {"prompt_id": "bee", "category": "spatial", "prompt": "a bee near a star", "facts": "{}"}
    write_table(tmp_path / "prompts.parquet", [told, told | acting, told | bee], PROMPTS)
    (tmp_path / "reference").symlink_to(inputs.evaluation_set / "reference")
    faults = {"unscorable": "corrected"}
    config = CompBenchConfig(systems=("ceiling",), judge={"kind": "pixels"}, faults=faults)
    asked = CompBenchInputs(evaluation_set=tmp_path, scorer=scorer)
    with pytest.raises(ValueError, match="give the job the input 'clip'"):
        run(compbench.main, tmp_path / "without", config, asked)
    final = run(compbench.main, tmp_path / "first", config, asked.model_copy(update={"clip": scorer}))
    assert (final["measured"], final["left_out"]) == (2, 1)
    assert list(json.loads((tmp_path / "first" / "left_out.json").read_text())) == ["a bee near a star"]
    rows = {row["prompt_id"]: row for row in read_rows(tmp_path / "first" / "scores.parquet", EVALS)}
    assert rows["acting"]["scorer"] == scorer_digest(scorer) and rows[told["prompt_id"]]["scorer"] == "pixels-1"
    assert rows["acting"]["reason"] == f"cosine {rows['acting']['value']:.3f}"

    monkeypatch.setattr("evaluation.interactions.load_clip", no_clip)
    earlier = {"clip": scorer, "earlier": [tmp_path / "first" / "scores.parquet"]}
    rounded = config.model_copy(update={"faults": Faults(**faults, rounding="official")})
    final = run(compbench.main, tmp_path / "again", rounded, asked.model_copy(update=earlier))
    assert (final["measured"], final["taken_over"]) == (1, 1)
    assert not any("/sees_" in name for name in final)  # they would be of one picture of the two

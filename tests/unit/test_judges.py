"""Judges: what they see of known scenes, and the arithmetic of those that are asked."""

import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from evaluation.config import CompBenchConfig
from evaluation.detection import Picture, picture_of_truth
from evaluation.facts import Facts, Relation, Wanted, parse_facts
from evaluation.judge_accuracy import measure
from evaluation.judges import pixels
from evaluation.judges.blip_vqa import BlipAnswerer, load_blip_answerer
from evaluation.judges.config import JudgeChoice, pretrained_place
from evaluation.judges.opening import open_judge
from evaluation.judges.oracle import oracle
from evaluation.judges.protocol import Judge
from evaluation.rules import attribute_binding, spatial_3d
from t2i_assets.synthweb import draw as drawing
from t2i_assets.synthweb.evaluation_set import shown
from t2i_assets.synthweb.language import facts as facts_of
from t2i_assets.synthweb.scenes import BACKGROUNDS, Scene, sample_occlusion, sample_scene
from tests.unit.tiny_judges import SIDE, save_blip_vqa, save_depth, save_detector

CONFIG = CompBenchConfig()
CPU = torch.device("cpu")
YES, NO = 1.2, -0.3
CHUNKS = Facts((), chunks=("a green bench", "the blue bowl"))


def pictures_of(scenes: list[Scene]) -> np.ndarray:
    """Return the scenes as images of 64 pixels, uint8 [N, 3, 64, 64]."""
    drawn = [drawing.draw(scene, 128).resize((64, 64), Image.Resampling.BICUBIC) for scene in scenes]
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in drawn])


def truth_of(scenes: list[Scene]) -> list[Picture]:
    return [picture_of_truth(json.dumps(shown(scene))) for scene in scenes]


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    rng = random.Random(5)
    return [sample_scene(rng) for _ in range(100)]


def test_the_pixel_judge_reads_the_whole_picture_of_nearly_every_render(scenes):
    found = measure(pixels.PixelJudge().detect(pictures_of(scenes)), truth_of(scenes))
    assert found["whole"] >= 0.95
    assert min(found[name] for name in ("detection_f1", "shape", "color", "texture", "background")) >= 0.97


def test_the_pixel_judge_knows_the_very_palette_that_scenes_are_drawn_with():
    assert pixels.PALETTE == drawing.PALETTE
    assert pixels.BACKGROUNDS == drawing.BACKGROUND_COLORS
    for color in drawing.PALETTE.values():
        tint = np.asarray(color, np.float32)
        for background in BACKGROUNDS:
            np.testing.assert_allclose(
                pixels.second_tone(tint, background), drawing.second_tone(tint, background), rtol=1e-6
            )


def test_the_pixel_judge_sees_nothing_in_a_plain_picture_and_nothing_for_certain_in_noise():
    plain = np.full((1, 3, 64, 64), 146, np.uint8)
    (picture,) = pixels.PixelJudge().detect(plain)
    assert picture.objects == () and picture.background["gray"] == 1
    noise = np.random.default_rng(0).integers(0, 255, (4, 3, 64, 64), np.uint8)
    for picture in pixels.PixelJudge().detect(noise):
        assert all(0 <= thing.score <= 1 for thing in picture.objects)


def test_the_pixel_judge_sees_which_of_two_covers_the_other():
    rng = random.Random(1)
    scenes = [sample_occlusion(rng) for _ in range(40)]
    judged = pixels.PixelJudge().detect(pictures_of(scenes))
    full = swapped = 0
    for scene, picture in zip(scenes, judged, strict=True):
        facts = parse_facts(json.dumps(facts_of(scene)))
        full += spatial_3d(facts, picture, CONFIG).value > 0.95
        other = {"in front of": "behind", "behind": "in front of"}[facts.relation.kind]
        turned = replace(facts, relation=replace(facts.relation, kind=other))
        swapped += spatial_3d(turned, picture, CONFIG).value > 0.55
    assert full >= 38 and swapped <= 2


def test_an_oracle_knows_its_own_pictures_only(scenes):
    images = pictures_of(scenes[:5])
    judge = oracle(images, truth_of(scenes[:5]))
    facts = [parse_facts(json.dumps(facts_of(scene))) for scene in scenes[:5]]
    seen = judge.look(images, list(enumerate(facts)))
    assert all(attribute_binding(f, p, CONFIG).value == 1 for f, p in zip(facts, seen, strict=True))
    with pytest.raises(KeyError):
        judge.look(255 - images, [(0, facts[0])])


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (3, 3, SIDE, SIDE), np.uint8)


def test_blip_vqa_answers_by_yes_over_yes_and_no_and_a_score_is_the_product_over_chunks(tmp_path, images):
    save_blip_vqa(tmp_path, yes=YES, no=NO)
    judge = Judge("blip", SIDE, answerer=load_blip_answerer(str(tmp_path), 2, CPU))
    (picture,) = judge.look(images, [(1, CHUNKS)])
    p = math.exp(YES) / (math.exp(YES) + math.exp(NO))
    assert picture.answers == pytest.approx({"a green bench?": p, "the blue bowl?": p})
    assert attribute_binding(CHUNKS, picture, CONFIG).value == pytest.approx(p * p)
    rounded = CONFIG.model_copy(update={"faults": CONFIG.faults.model_copy(update={"rounding": "official"})})
    assert attribute_binding(CHUNKS, picture, rounded).value == round(round(p, 4) ** 2, 4)


def test_blip_vqa_gives_the_first_token_probabilities_of_transformers_itself(tmp_path, images):
    save_blip_vqa(tmp_path)
    answerer = load_blip_answerer(str(tmp_path), 3, CPU)
    questions = [(0, "a red star?"), (2, "a bench?"), (1, "the red circle and the blue bowl?"), (0, "a bowl?")]
    together = answerer.answer(images, questions)
    model, processor = answerer.model, answerer.processor
    words = processor.tokenizer.get_vocab()
    expected = []
    for image, question in questions:
        pixel_values = processor.image_processor(images=images[image].transpose(1, 2, 0), return_tensors="pt")
        tokens = processor.tokenizer(question, return_tensors="pt", return_token_type_ids=False)
        tokens["input_ids"][:, 0] = words["[ENC]"]
        with torch.no_grad():
            output = model.generate(
                **tokens, **pixel_values, max_new_tokens=1, output_scores=True, return_dict_in_generate=True
            )
        p = output.scores[0][0].softmax(-1)
        expected.append(float(p[words["yes"]] / (p[words["yes"]] + p[words["no"]])))
    np.testing.assert_allclose(together, expected, atol=1e-5)
    assert np.ptp(together) > 1e-3


def test_questions_open_with_the_token_after_dec_where_the_tokenizer_knows_neither(tmp_path, images):
    save_blip_vqa(tmp_path / "known")
    save_blip_vqa(tmp_path / "unknown", tokens_known=False)
    known, unknown = (load_blip_answerer(str(tmp_path / name), 2, CPU) for name in ("known", "unknown"))
    assert unknown.processor.tokenizer.get_vocab().get("[ENC]") is None
    questions = [(0, "a red star?"), (2, "a blue bowl?")]
    np.testing.assert_allclose(unknown.answer(images, questions), known.answer(images, questions), atol=1e-6)
    unknown.model.config.text_config.vocab_size -= 1
    with pytest.raises(ValueError, match=r"has no token \[ENC\]"):
        BlipAnswerer(unknown.model, unknown.processor, 2)


def test_a_blip_that_does_not_answer_is_refused_by_name(tmp_path):
    save_blip_vqa(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["BlipForImageTextRetrieval"]}))
    with pytest.raises(ValueError, match="it must be a BlipForQuestionAnswering"):
        load_blip_answerer(str(tmp_path), 2, CPU)


def test_pretrained_models_see_named_boxes_and_depth(tmp_path, images):
    for name, save in (("blip", save_blip_vqa), ("detector", save_detector), ("depth", save_depth)):
        save(tmp_path / name)
    choice = JudgeChoice(
        kind="pretrained",
        answerer=str(tmp_path / "blip"),
        detector=str(tmp_path / "detector"),
        depth=str(tmp_path / "depth"),
        image_size=SIDE,
        score_threshold=0.01,
    )
    judge = open_judge(choice, tmp_path, "", 2, CPU)
    assert set(judge.detector.vocabulary["shape"]) == {"car", "carpet", "dog"}
    related = Facts((Wanted("car"), Wanted("dog")), Relation("behind", 0, 1))
    seen = judge.look(images, [(0, CHUNKS), (2, related)])
    assert all(picture.depth.shape == (SIDE, SIDE) for picture in seen)
    assert all(picture.depth.min() == 0 and picture.depth.max() == 1 for picture in seen)
    for picture in seen:
        assert picture.objects
        assert {thing.most_likely("shape") for thing in picture.objects} <= {"car", "carpet", "dog"}
        scores = [thing.score for thing in picture.objects]
        assert scores == sorted(scores, reverse=True) and scores[-1] > 0.01
        assert all(
            0 <= low <= high <= 1 for t in picture.objects for low, high in zip(t.box[:2], t.box[2:], strict=True)
        )
    farther = open_judge(choice.model_copy(update={"depth_larger": "farther"}), tmp_path, "", 2, CPU)
    np.testing.assert_allclose(farther.look(images, [(0, CHUNKS)])[0].depth, 1 - seen[0].depth, atol=1e-5)
    assert judge.name == open_judge(choice, tmp_path, "", 1, CPU).name


def test_models_of_a_hub_may_be_pinned_to_a_revision(tmp_path):
    assert pretrained_place("facebook/detr@abc") == {
        "pretrained_model_name_or_path": "facebook/detr", "revision": "abc"
    }  # fmt: skip
    (tmp_path / "mine@home").mkdir()
    assert list(pretrained_place(str(tmp_path / "mine@home"))) == ["pretrained_model_name_or_path"]
    assert list(pretrained_place("facebook/detr")) == ["pretrained_model_name_or_path"]


def test_a_choice_of_models_fits_its_kind():
    with pytest.raises(ValueError, match="needs an answerer, a detector or both"):
        JudgeChoice(kind="pretrained")
    with pytest.raises(ValueError, match="set kind to pretrained"):
        JudgeChoice(kind="pixels", detector="some/detector")

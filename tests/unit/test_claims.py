"""Claims: intervals over seeds and pictures, verdicts that follow from them, and pages that tell both."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.caption_metrics import evaluate_captions
from evaluation.leaderboard import COMPOSITIONAL_CATEGORIES
from t2i_assets.claims import ablation, captions, diffusion, drawings, filtering, pages, sweep
from t2i_assets.claims.budget import budget
from t2i_assets.claims.claim import Claim
from t2i_assets.claims.config import ABLATION, ClaimsConfig
from t2i_assets.claims.figure import FIGURES
from t2i_assets.claims.pages import PICTURES
from t2i_assets.claims.scored import PROMPT_STYLES, Scores
from t2i_assets.claims.statistics import Effect, area_under_curve, estimate, mean_of, ratio_of
from t2i_assets.config import Settings
from t2i_assets.corpus.verdicts import VerdictRules
from t2i_assets.synthweb.language import descriptive, say_all, write
from t2i_assets.synthweb.scenes import sample_scene
from training.config import DiffusionConfig, GenerateConfig

CONFIG = ClaimsConfig(resamples=300)
EVEN = np.ones


def test_the_recipes_of_the_sweep_differ_in_captions_and_seed_alone() -> None:
    config = ClaimsConfig(diffusion_seeds=2)
    recipes = config.sweep()
    assert len(recipes) == 2 * (1 + 2 * 6)
    assert recipes["sweep_original_seed0"].weights == {"original": 1.0}
    assert recipes["sweep_short_100_seed1"].weights == {"synthetic_short": 1.0}
    assert recipes["sweep_descriptive_95_seed1"].replicate == 1
    left = {recipe.model_dump_json(exclude={"name", "weights", "replicate"}) for recipe in recipes.values()}
    assert len(left) == 1
    arms = config.ablation()
    assert [arms[f"ablation_{arm}_seed2"].filtered for arm in ABLATION] == [False, True, False, True]


def test_a_preset_with_claims_has_their_recipes() -> None:
    assert set(Settings(claims=None).recipes) == set(Settings().blends)
    settings = Settings(claims=ClaimsConfig(clip_seeds=1))
    assert settings.recipe("ablation_both_seed0").weights["original"] == 0.5


def test_a_mean_and_a_ratio_are_what_they_are_called() -> None:
    values = np.array([[1.0, 2.0, np.nan], [3.0, 4.0, 5.0]])
    assert mean_of(values)(EVEN(2), EVEN(3)) == 3.0
    assert mean_of(values)(np.array([2.0, 0.0]), np.array([1.0, 0.0, 1.0])) == 1.0
    assert ratio_of(np.array([[1.0, 0.0]]), np.array([[2.0, 2.0]]))(EVEN(1), EVEN(2)) == 0.25


def test_the_area_counts_pairs_in_the_right_order() -> None:
    generator = np.random.default_rng(1)
    values = generator.integers(0, 6, (2, 40)).astype(float)
    right = generator.random((2, 40)) < 0.4
    pairs = [
        np.mean([(a > b) + 0.5 * (a == b) for a in row[flags] for b in row[~flags]])
        for row, flags in zip(values, right, strict=True)
    ]
    assert area_under_curve(values, right)(EVEN(2), EVEN(40)) == pytest.approx(np.mean(pairs))
    weights = generator.integers(0, 3, 40).astype(float)
    repeated = np.repeat(values[:1], weights.astype(int), axis=1), np.repeat(right[:1], weights.astype(int), axis=1)
    weighed = area_under_curve(values[:1], right[:1])(EVEN(1), weights)
    assert weighed == pytest.approx(area_under_curve(*repeated)(EVEN(1), EVEN(int(weights.sum()))))


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    config = ClaimsConfig(resamples=200)
    hits = 0
    for _ in range(120):
        seeds, pictures = generator.normal(0, 1, (8, 1)), generator.normal(0, 1, (1, 30))
        effect = estimate(mean_of(seeds + pictures), 8, 30, config)
        hits += effect.low <= 0 <= effect.high
    assert 0.85 <= hits / 120 <= 1.0


def test_an_interval_tells_of_seeds_that_disagree() -> None:
    agreeing, torn = np.zeros((2, 50)), np.array([[-1.0], [1.0]]) * np.ones((2, 50))
    assert estimate(mean_of(agreeing), 2, 50, CONFIG) == Effect(0.0, 0.0, 0.0)
    effect = estimate(mean_of(torn), 2, 50, CONFIG)
    assert (effect.low, effect.high) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("low", "high", "bound", "verdict"),
    [
        (0.1, 0.3, 0.0, "confirmed"),
        (-0.1, 0.3, 0.0, "undecided"),
        (-0.3, -0.1, 0.0, "refuted"),
        (0.0, 0.0, 0.0, "undecided"),
        (0.91, 0.95, 0.9, "confirmed"),
        (0.85, 0.95, 0.9, "undecided"),
        (0.7, 0.8, 0.9, "refuted"),
    ],
)
def test_the_verdict_follows_from_the_interval(low: float, high: float, bound: float, verdict: str) -> None:
    claim = Claim("c", "It helps", "s", "a against b", "m", Effect((low + high) / 2, low, high), 2, "9 scenes", bound)
    assert claim.verdict == verdict


def scores(arm: tuple[str, float], seed: int, gain: float) -> list[dict[str, Any]]:
    """EVALS rows of one model whose scores rise with the share of synthetic captions times ``gain``."""
    noise = random.Random(f"{arm}/{seed}")
    rows: list[dict[str, Any]] = []
    for style in PROMPT_STYLES:
        for number in range(60):
            category = COMPOSITIONAL_CATEGORIES[number % len(COMPOSITIONAL_CATEGORIES)]
            base = random.Random(number).gauss(0.5, 0.2) + gain * arm[1] + noise.gauss(0, 0.02)
            common = {"scene_id": f"{category}-{number}", "style": style, "category": category, "seed": 0}
            rows += [{**common, "metric": "clip_score", "value": 100 * base}]
            rows += [{**common, "metric": category, "value": base}]
        distance = 5 - gain * arm[1]
        common = {"scene_id": None, "style": style, "category": "all"}
        rows.append({**common, "seed": None, "metric": "fd_judge", "value": distance})
        rows += [
            {**common, "seed": n, "metric": "fd_judge/bootstrap", "value": distance + random.Random(n).gauss(0, 0.3)}
            for n in range(50)
        ]
    return rows


@pytest.mark.parametrize(("gain", "verdict"), [(0.3, "confirmed"), (-0.3, "refuted")])
def test_a_sweep_finds_the_effect_that_is_there(gain: float, verdict: str) -> None:
    arms = [("descriptive", share) for share in (0.0, 0.65, 0.95, 1.0)]
    tables = {arm: [scores(arm, seed, gain) for seed in range(2)] for arm in arms}
    found = sweep.finding(Scores(tables, CONFIG))
    verdicts = {claim.name: claim.verdict for claim in found.claims}
    assert verdicts["descriptive_captions_help"] == verdict
    assert verdicts["descriptive_captions_compose"] == verdict
    assert verdicts["descriptive_captions_look_real"] == verdict
    assert "descriptive_beats_short" not in verdicts, "an arm that was not run gives no claim"
    assert [row["captions"] for row in found.rows] == [sweep.told(arm) for arm in arms]


def test_a_sweep_without_effect_stays_undecided() -> None:
    arms = [("descriptive", 0.0), ("descriptive", 0.95)]
    tables = {arm: [scores(("same", 0.0), seed, 0.0) for seed in range(2)] for arm in arms}
    (claim, *_) = sweep.finding(Scores(tables, CONFIG)).claims
    assert claim.verdict == "undecided"
    assert claim.effect.value == 0


def test_the_default_arms_try_every_claim() -> None:
    arms = [(style, share) for style in CONFIG.styles for share in CONFIG.shares if share or style == CONFIG.styles[0]]
    found = sweep.finding(Scores({arm: [scores(arm, 0, 0.3)] for arm in arms}, CONFIG))
    assert len(found.claims) == 8
    assert any("not over trainings" in note for note in found.notes)


def test_a_missing_score_is_named() -> None:
    rows = [row for row in scores(("descriptive", 0.0), 0, 0.0) if row["scene_id"] != "color-0"]
    whole = scores(("descriptive", 0.0), 0, 0.0)
    with pytest.raises(ValueError, match="clip_score of descriptive prompts is missing for 1 scenes"):
        Scores({("descriptive", 0.0): [whole], ("descriptive", 0.95): [rows]}, CONFIG)


def hits(arm: str, seed: int) -> list[dict[str, Any]]:
    chance = {"none": 0.3, "filter": 0.3, "captioner": 0.6, "both": 0.8}[arm]
    draw = random.Random(f"{arm}/{seed}")
    return [
        {"scene_id": f"p{n}", "style": style, "metric": f"{way}_recall_at_1", "value": float(draw.random() < chance)}
        for style in ablation.CAPTION_STYLES
        for way in ablation.DIRECTIONS
        for n in range(80)
    ]


def test_the_ablation_compares_arms_in_pairs() -> None:
    found = ablation.retrieval({arm: [hits(arm, seed) for seed in range(3)] for arm in ABLATION}, CONFIG)
    verdicts = {claim.name: claim.verdict for claim in found.claims}
    assert verdicts["captioner_alone_helps"] == verdicts["capfilt_helps"] == "confirmed"
    assert verdicts["filter_helps_captioner"] == "confirmed"
    assert verdicts["filter_alone_helps"] == "undecided"


def test_captions_are_measured_fact_by_fact() -> None:
    generator = random.Random(3)
    scenes = {f"k{n}": sample_scene(generator) for n in range(40)}
    exact = {key: descriptive(scene) for key, scene in scenes.items()}
    shown = {key: captions.facts_shown(scene) for key, scene in scenes.items()}
    swap = {"red": "blue", "blue": "red"}
    wrong = {key: " ".join(swap.get(word, word) for word in text.split()) for key, text in exact.items()}
    right, sick = (captions.written(name, [texts], shown, exact) for name, texts in (("r", exact), ("w", wrong)))
    alt = captions.written("alt", [{key: f"a {scene.things[0].shape}" for key, scene in scenes.items()}], shown, {})
    found = captions.finding([right], alt, CONFIG)
    assert {claim.verdict for claim in found.claims} == {"confirmed"}
    assert found.rows[0]["color"].value == 1.0
    assert found.rows[0]["CIDEr-D"].value == pytest.approx(10.0)
    assert [found.rows[0][name].value for name in ("BLEU-4", "ROUGE-L")] == pytest.approx([1.0, 1.0])
    assert not {"CIDEr-D", "BLEU-4", "ROUGE-L", "CLIPScore"} & set(found.rows[1])
    assert np.isnan(found.rows[1]["color"].value), "what no text states has no precision"
    poor = captions.finding([sick], alt, CONFIG).rows[0]
    assert poor["color"].value < 0.9
    assert poor["shape"].value == 1.0
    assert captions.is_right(exact["k0"], shown["k0"])
    assert not captions.is_right("lorem ipsum", shown["k0"])


def test_captions_are_told_by_every_metric_of_the_field() -> None:
    generator = random.Random(5)
    scenes = {f"k{n}": sample_scene(generator) for n in range(30)}
    exact = {key: descriptive(scene) for key, scene in scenes.items()}
    shown = {key: captions.facts_shown(scene) for key, scene in scenes.items()}
    halves = {key: text if key < "k2" else " ".join(text.split()[:4]) for key, text in exact.items()}
    said = [
        [{"key": key, "kind": kind, "value": value} for key in scenes for kind, value in values.items()]
        for values in ({"clip_s": 0.5, "ref_clip_s": 0.6}, {"clip_s": 0.7, "ref_clip_s": 0.8})
    ]
    ours = captions.written("ours", [exact, halves], shown, exact, said)
    found = captions.finding([ours], ours, CONFIG)
    (row, _) = found.rows
    assert set(row) == set(found.columns)
    assert (row["CLIPScore"].value, row["RefCLIPScore"].value) == pytest.approx((0.6, 0.7))
    assert (row["CLIPScore"].low, row["CLIPScore"].high) == pytest.approx((0.5, 0.7))
    both = {f"{seed}{key}": text for seed, texts in enumerate((exact, halves)) for key, text in texts.items()}
    whole = evaluate_captions(both, {name: [exact[name[1:]]] for name in both}).of_the_set()
    assert row["BLEU-4"].value == pytest.approx(whole["bleu_4"])
    assert row["ROUGE-L"].value == pytest.approx(whole["rouge_l"])
    assert row["BLEU-4"].low < row["BLEU-4"].value < row["BLEU-4"].high


def test_a_filter_is_measured_against_the_truth() -> None:
    texts = [{"caption_id": f"c{n}", "key": f"k{n}", "source": "alt", "caption": "a red star"} for n in range(40)]
    good = {f"c{n}" for n in range(0, 40, 2)}

    def itm(flip: int) -> list[dict[str, Any]]:
        return [
            {"caption_id": row["caption_id"], "kind": "itm", "value": 0.9 if (row["caption_id"] in good) else 0.1}
            for row in texts
        ][flip:] + [{"caption_id": f"c{n}", "kind": "itm", "value": 0.7} for n in range(flip)]

    judged = filtering.against_truth(
        [texts, texts], [itm(0), itm(4)], lambda row: row["caption_id"] in good, {}, VerdictRules()
    )
    found = filtering.finding(judged, judged, 0.5, CONFIG)
    first = found.rows[0]
    assert first["wrong before"].value == 0.5
    assert first["wrong after"].value == pytest.approx(2 / 42), "the second seed keeps two wrong ones of 22"
    assert first["recall"].value == pytest.approx(38 / 40)
    assert found.claims[0].effect.value > 0.95


def test_a_filter_that_rejects_nothing_leaves_cells_empty() -> None:
    texts = [{"caption_id": f"c{n}", "key": f"k{n}", "source": "alt", "caption": "a red star"} for n in range(9)]
    scores = [{"caption_id": row["caption_id"], "kind": "itm", "value": 0.7} for row in texts]
    judged = filtering.against_truth([texts], [scores], lambda row: row["caption_id"] != "c1", {}, VerdictRules())
    found = filtering.finding(judged, judged, 0.5, CONFIG)
    assert np.isnan(found.rows[0]["precision"].value)
    assert found.rows[0]["recall"].value == 0
    told = pages.as_json(found)["rows"][0]["precision"]
    assert told == {"value": None, "low": None, "high": None}
    page = pages.as_markdown([found], 0.95)
    assert "nan" not in page
    assert "|  |" in page


def test_what_cannot_be_measured_is_undecided() -> None:
    effect = estimate(ratio_of(np.zeros((1, 3)), np.zeros((1, 3))), 1, 3, CONFIG)
    claim = Claim("c", "It helps", "s", "a against b", "m", effect, 1, "3 scenes")
    assert claim.verdict == "undecided"
    assert str(effect) == "nothing to measure"


def test_the_budget_counts_every_phase_of_training() -> None:
    settings = Settings(claims=ClaimsConfig(capfilt_seeds=2))
    told = budget(settings, {"captioner": "capfilt_seeds", "caption_filter": "capfilt_seeds", "judge": None})
    phases = [settings.captioner.pretrain, settings.captioner.descriptive, settings.captioner.self_training]
    assert all(f" {phase.steps:,}" in told for phase in phases)
    assert f"self-training {settings.captioner.self_training.steps}" in told
    assert f"caption {settings.caption_filter.caption.steps}" in told
    assert "pretrain 0" not in told, "a phase that is left out costs nothing"
    assert told.count("(2 seeds)") == 2
    assert told.count("(1 seed)") == 1


def test_pages_tell_what_was_found_and_read_it_back() -> None:
    found = ablation.retrieval({arm: [hits(arm, seed) for seed in range(2)] for arm in ABLATION}, CONFIG)
    assert pages.from_json(pages.as_json(found)) == found
    page = pages.as_markdown([replace(found, budget="Few steps.")], 0.95)
    assert "Few steps." in page
    assert "The captioner alone helps retrieval" in page
    assert "**confirmed**" in page
    assert "95% interval" in page


def test_the_exact_caption_is_what_can_be_said() -> None:
    scene = sample_scene(random.Random(4), "trio")
    assert captions.facts_of(write(say_all(scene))) == captions.facts_shown(scene)


def test_strong_guidance_is_told_from_a_little() -> None:
    arms = {1.0: ("descriptive", 0.2), 2.0: ("descriptive", 0.8), 8.0: ("descriptive", 0.0)}
    tables = {scale: [scores(arm, seed, 0.5) for seed in range(2)] for scale, arm in arms.items()}
    found = diffusion.guidance_finding(Scores(tables, CONFIG))
    assert [row["guidance scale"] for row in found.rows] == ["1", "2", "8"]
    assert {claim.name: claim.verdict for claim in found.claims} == {
        "guidance_follows_captions": "confirmed",
        "guidance_composes": "confirmed",
        "strong_guidance_costs_realism": "confirmed",
    }


def test_objectives_are_compared_at_the_same_steps() -> None:
    gains = {"epsilon": 0.5, "v": 0.9, "flow": 0.2}
    tables = {arm: [scores(("descriptive", gain), seed, 0.5) for seed in range(2)] for arm, gain in gains.items()}
    verdicts = [claim.verdict for claim in diffusion.objectives_finding(Scores(tables, CONFIG)).claims]
    assert verdicts == ["confirmed", "confirmed", "refuted"]


def test_a_prior_stands_beside_its_cosine_and_what_it_replaces() -> None:
    gains = dict(zip(drawings.CONDITIONS, (0.1, 0.5, 0.9, 0.7, 0.5, 0.9, 0.7), strict=True))
    tables = {arm: [scores(("descriptive", gain), seed, 0.5) for seed in range(2)] for arm, gain in gains.items()}
    figures = {
        kind: [{"val/cosine": cosine, "val/cosine_of_text_embedding": 0.8}] * 2
        for kind, cosine in zip(drawings.PRIORS, (0.95, 0.9), strict=True)
    }
    found = diffusion.priors_finding(Scores(tables, CONFIG), figures)
    assert {claim.verdict for claim in found.claims} == {"confirmed"}
    assert [row["cosine to true image embedding"] for row in found.rows] == [None, *["0.800", "0.950", "0.900"] * 2]


def test_every_drawing_has_its_model_and_its_prior() -> None:
    config = ClaimsConfig(drawing_seeds=2, guidance_scales=(1.0, 1.5))
    models, told = drawings.models(config), drawings.drawings(config, {"steps": 5, "guidance_scale": 2.0})
    assert {drawing.model for drawing in told.values()} == set(models)
    for kind in drawings.PRIORS:
        drawing = told[f"unclip_{kind}-1"]
        assert (drawing.prior, drawing.seed, models[drawing.model][0]) == (kind, 1, 1)
        assert drawings.priors(config)[f"{kind}-1"] == (kind, 1)
    assert told["guidance_1p5-0"].generate == {"sampler": {"steps": 5, "guidance_scale": 1.5}}
    for drawing in told.values():
        GenerateConfig.model_validate(drawing.generate)
    for _, differs in models.values():
        DiffusionConfig.model_validate(differs)


def test_findings_are_drawn_alike_every_time(tmp_path: Path) -> None:
    scales = {scale: [scores(("descriptive", scale / 8), 0, 0.5)] for scale in (1.0, 2.0, 8.0)}
    arms = {("descriptive", share): [scores(("descriptive", share), 0, 0.5)] for share in (0.0, 0.95)}
    found = [sweep.finding(Scores(arms, CONFIG)), diffusion.guidance_finding(Scores(scales, CONFIG))]
    for finding in found:
        for again in ("first", "second"):
            FIGURES[finding.name](finding, tmp_path / again / PICTURES[finding.name])
        first, second = ((tmp_path / again / PICTURES[finding.name]).read_text() for again in ("first", "second"))
        assert first == second
        assert "CLIP score" in first
    assert all(picture in pages.as_markdown(found, 0.95) for picture in PICTURES.values())

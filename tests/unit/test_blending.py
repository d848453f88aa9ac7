"""Blends: what can be drawn for each sample, and that the ratio holds over the corpus."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from t2i_assets.corpus.blending import (
    CAPTION_SOURCE,
    DEFAULT_RECIPES,
    EVERYONE,
    BlendRecipe,
    Corpus,
    EmptyBlendError,
    blend,
    blend_tables,
    table_of,
)
from t2i_assets.corpus.digests import caption_id
from t2i_assets.corpus.schemas import BLENDS
from t2i_assets.corpus.tables import as_table

RECIPE = {recipe.name: recipe for recipe in DEFAULT_RECIPES}


def caption(key: str, source: str, text: str = "text") -> dict[str, Any]:
    return {"caption_id": caption_id(key, source, text), "key": key, "source": source, "caption": text}


def verdict(caption: dict[str, Any], reason: str = "kept") -> dict[str, Any]:
    return {**caption, "kept": reason == "kept", "reason": reason}


def samples(count: int) -> list[dict[str, str]]:
    return [{"key": f"k{number}", "snapshot": "demo"} for number in range(count)]


def drawn(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    weights: dict[str, dict[str, float]] = defaultdict(dict)
    for row in as_table(rows, BLENDS).to_pylist():
        weights[row["key"]][row["source"]] = weights[row["key"]].get(row["source"], 0) + row["weight"]
    return weights


def test_samples_with_an_original_make_up_for_those_without() -> None:
    captions = [caption(f"k{n}", "synthetic_descriptive") for n in range(100)]
    captions += [caption(f"k{n}", "alt") for n in range(20)]
    rows, summary = blend(RECIPE["blend_95_5"], captions, map(verdict, captions), samples(100), [])
    weights = drawn(rows)
    assert weights["k0"]["alt"] == pytest.approx(0.05 * 100 / 20)
    assert weights["k50"] == {"synthetic_descriptive": pytest.approx(1.0)}
    assert summary["expected"] == pytest.approx({"synthetic_descriptive": 0.95, "original": 0.05})
    assert summary["samples_with"] == {"synthetic_descriptive": 100, "original": 20}


def test_where_originals_are_too_few_they_are_always_drawn() -> None:
    captions = [caption(f"k{n}", "synthetic_descriptive") for n in range(100)] + [caption("k0", "alt")]
    rows, summary = blend(RECIPE["blend_95_5"], captions, map(verdict, captions), samples(100), [])
    assert drawn(rows)["k0"] == {"alt": pytest.approx(1.0, abs=1e-6)}
    assert summary["expected"]["original"] == pytest.approx(0.01, abs=1e-6)


def test_a_sample_whose_synthetic_caption_was_rejected_falls_back_and_counts_toward_the_ratio() -> None:
    captions = [caption(f"k{n}", source) for n in range(100) for source in ("synthetic_descriptive", "alt")]
    bad = {caption_id("k0", "synthetic_descriptive", "text"), caption_id("k1", "synthetic_descriptive", "text")}
    verdicts = [verdict(c, "itm_below_threshold" if c["caption_id"] in bad else "kept") for c in captions]
    rows, summary = blend(RECIPE["blend_95_5"], captions, verdicts, samples(100), [])
    weights = drawn(rows)
    assert weights["k0"] == {"alt": pytest.approx(1.0)}
    assert weights["k5"]["alt"] == pytest.approx((0.05 * 100 - 2) / 98)
    assert summary["expected"]["original"] == pytest.approx(0.05)
    assert summary["rejected_captions"] == {"synthetic_descriptive": {"itm_below_threshold": 2}}


def test_a_sample_with_nothing_to_draw_is_left_out_and_counted() -> None:
    captions = [caption("k0", "synthetic_descriptive"), caption("k1", "synthetic_short")]
    rows, summary = blend(RECIPE["blend_95_5"], captions, map(verdict, captions), samples(3), [])
    assert {row["key"] for row in rows} == {"k0"}
    assert summary["left_out"]["no_caption"] == 2
    assert sum(summary["left_out"].values()) == 2


def test_an_unfiltered_recipe_takes_raw_alt_texts_without_verdicts() -> None:
    captions = [caption("k0", "alt", "IMG_1.jpg"), caption("k0", "synthetic_descriptive")]
    rows, _ = blend(RECIPE["alt_only"], captions, [], samples(1), [])
    assert [(row["caption"], row["weight"]) for row in rows] == [("IMG_1.jpg", 1.0)]


def test_a_filtered_recipe_draws_no_caption_without_a_verdict() -> None:
    with pytest.raises(EmptyBlendError, match="no_verdict"):
        blend(RECIPE["blend_95_5"], [caption("k0", "alt")], [], samples(1), [])


def test_of_near_duplicates_only_the_kept_one_takes_part() -> None:
    captions = [caption(f"k{n}", "alt") for n in range(3)]
    duplicates = [{"key": "k0", "kept": True, "kind": "exact"}, {"key": "k1", "kept": False, "kind": "exact"}]
    rows, summary = blend(RECIPE["alt_only"], captions, [], samples(3), duplicates)
    assert {row["key"] for row in rows} == {"k0", "k2"}
    assert summary["left_out"]["duplicate"] == 1


ALT_ONLY = RECIPE["alt_only"]
CAPTIONS = [caption(f"k{n}", "alt") for n in range(6)]
SAME_CONTENT = [{"key": "k0", "kept": True, "kind": "semantic"}, {"key": "k1", "kept": False, "kind": "semantic"}]
AGREEMENTS = [{"key": f"k{n}", "kind": kind} for n, kind in enumerate(("exact", "perceptual", "semantic", "text"), 2)]


def test_semantic_duplicates_take_part_unless_the_recipe_drops_them_and_are_counted_either_way() -> None:
    rows, summary = blend(ALT_ONLY, CAPTIONS, [], samples(6), SAME_CONTENT)
    assert len(rows) == 6
    assert summary["would_go"]["semantic_duplicate"] == 1
    recipe = ALT_ONLY.model_copy(update={"drop_semantic": True})
    rows, summary = blend(recipe, CAPTIONS, [], samples(6), SAME_CONTENT)
    assert {row["key"] for row in rows} == {"k0", "k2", "k3", "k4", "k5"}
    assert summary["left_out"]["semantic_duplicate"] == 1


def test_images_of_the_evaluation_set_are_left_out_and_texts_that_are_prompts_stay() -> None:
    rows, summary = blend(ALT_ONLY, CAPTIONS, [], samples(6), [], AGREEMENTS)
    assert {row["key"] for row in rows} == {"k0", "k1", "k4", "k5"}
    assert summary["left_out"] == {
        "duplicate": 0,
        "contaminated_exact": 1,
        "contaminated_perceptual": 1,
        "no_caption": 0,
    }
    assert {reason: count for reason, count in summary["would_go"].items() if count} == {
        "contaminated_semantic": 1,
        "contaminated_text": 1,
    }


@pytest.mark.parametrize("kind", ["exact", "perceptual", "semantic", "text"])
def test_a_recipe_says_which_agreements_it_minds(kind: str) -> None:
    recipe = BlendRecipe.model_validate({**ALT_ONLY.model_dump(), "decontaminate": [kind]})
    rows, summary = blend(recipe, CAPTIONS, [], samples(6), [], AGREEMENTS)
    gone = {row["key"] for row in AGREEMENTS if row["kind"] == kind}
    assert {row["key"] for row in rows} == {f"k{n}" for n in range(6)} - gone
    assert summary["left_out"][f"contaminated_{kind}"] == 1


def test_a_sample_with_several_reasons_is_counted_as_left_out_once() -> None:
    duplicates = [{"key": "k2", "kept": False, "kind": "perceptual"}]
    rows, summary = blend(ALT_ONLY, CAPTIONS, [], samples(6), duplicates, AGREEMENTS)
    assert len(rows) + sum(summary["left_out"].values()) == 6


def test_several_captions_of_one_source_share_its_probability() -> None:
    captions = [caption("k0", "human", "one"), caption("k0", "human", "two")]
    rows, _ = blend(BlendRecipe(name="h", weights={"human": 1.0}, filtered=False), captions, [], samples(1), [])
    assert [row["weight"] for row in rows] == [0.5, 0.5]


HALF = {"original": 0.5, "synthetic_short": 0.5}


def corpus(captions: list[dict[str, Any]], count: int) -> Corpus:
    columns = {name: [row[name] for row in captions] for name in ("caption_id", "key", "source", "caption")}
    verdicts = {"caption_id": columns["caption_id"], "kept": [True] * len(captions), "reason": ["kept"] * len(captions)}
    nothing = pa.table({"key": pa.array([], pa.string()), "kind": pa.array([], pa.string())})
    return Corpus(
        pa.table(columns),
        pa.table(verdicts),
        pa.Table.from_pylist(samples(count)),
        nothing.append_column("kept", pa.array([], pa.bool_())),
        nothing,
    )


def test_a_consumer_with_weights_of_its_own_has_a_table_of_its_own() -> None:
    captions = [caption(f"k{n}", s) for n in range(20) for s in ("alt", "synthetic_short", "synthetic_descriptive")]
    recipe = RECIPE["blend_95_5"].model_copy(update={"consumers": {"clip": HALF}})
    tables, summary = blend_tables(recipe, corpus(captions, 21))
    assert set(tables) == {EVERYONE, "clip"}
    assert set(tables[EVERYONE]["source"].to_pylist()) == {"alt", "synthetic_descriptive"}
    assert set(tables["clip"]["source"].to_pylist()) == {"alt", "synthetic_short"}
    assert summary["expected"] == pytest.approx({"synthetic_descriptive": 0.95, "original": 0.05})
    assert summary["consumers"]["clip"]["expected"] == pytest.approx(HALF)
    assert summary["samples"] == summary["consumers"]["clip"]["samples"] == 20
    assert summary["left_out"]["no_caption"] == summary["consumers"]["clip"]["no_caption"] == 1


def test_a_consumer_draws_from_its_own_table_or_from_everyones(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    assert table_of(tmp_path, "clip") == tmp_path / "clip"
    assert table_of(tmp_path, "diffusion") == table_of(tmp_path, EVERYONE) == tmp_path


def test_a_consumer_without_a_caption_to_draw_is_named() -> None:
    recipe = RECIPE["blend_95_5"].model_copy(update={"consumers": {"priors": {"human": 1.0}}})
    with pytest.raises(EmptyBlendError, match="blend_95_5, priors"):
        blend_tables(recipe, corpus([caption("k0", "alt")], 1))


def test_the_weights_of_a_consumer_sum_to_one_too() -> None:
    with pytest.raises(ValidationError, match="for clip must be at least 0 and sum to 1"):
        BlendRecipe(name="x", weights={"original": 1.0}, consumers={"clip": {"original": 0.9}})


def test_human_samples_are_included_only_by_a_recipe_that_draws_human_captions() -> None:
    with pytest.raises(ValidationError, match="no weights draw their captions"):
        BlendRecipe(name="x", weights={"original": 1.0}, include_human_samples=True)
    by_consumer = {"clip": {"human": 1.0}}
    assert BlendRecipe(name="x", weights={"original": 1.0}, include_human_samples=True, consumers=by_consumer)


def test_a_sample_of_two_snapshots_is_one_sample_of_the_first() -> None:
    captions = [caption("k0", "alt"), caption("k0", "alt")]
    both = [{"key": "k0", "snapshot": "first"}, {"key": "k0", "snapshot": "second"}]
    rows, summary = blend(RECIPE["alt_only"], captions, [], both, [])
    assert [(row["snapshot"], row["weight"]) for row in rows] == [("first", 1.0)]
    assert summary["samples"] == 1


def test_weights_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ValidationError, match="sum to 1"):
        BlendRecipe(name="x", weights={"original": 0.9})


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.sets(st.sampled_from(sorted(CAPTION_SOURCE)), min_size=1), min_size=1, max_size=40),
    st.lists(st.integers(0, 20), min_size=4, max_size=4).filter(any),
)
def test_weights_of_a_sample_sum_to_one_and_no_source_that_all_samples_have_misses_its_ratio(
    available: list[set[str]], parts: list[int]
) -> None:
    shares = {source: part / sum(parts) for source, part in zip(sorted(CAPTION_SOURCE), parts, strict=True)}
    recipe = BlendRecipe(name="any", weights=shares, filtered=False)
    captions = [caption(f"k{n}", CAPTION_SOURCE[s]) for n, have in enumerate(available) for s in sorted(have)]
    wanted = {source for source, share in shares.items() if share}
    usable = [have & wanted for have in available if have & wanted]
    if not usable:
        with pytest.raises(EmptyBlendError):
            blend(recipe, captions, [], samples(len(available)), [])
        return
    rows, summary = blend(recipe, captions, [], samples(len(available)), [])
    assert summary["samples"] == len(usable)
    assert all(sum(weights.values()) == pytest.approx(1) for weights in drawn(rows).values())
    assert sum(summary["expected"].values()) == pytest.approx(1)
    if all(have == wanted for have in usable):
        assert summary["expected"] == pytest.approx({source: shares[source] for source in wanted})

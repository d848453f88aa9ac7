"""The caption report over a small home: what it compares, what its checks warn of, and what they say."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from t2i_assets.assets.capfilt import filtered_captions
from t2i_assets.assets.caption_report import caption_report
from t2i_assets.checks.captions import captions_without_tics, disagreement, filter_does_not_agree_too_much, tics
from t2i_assets.checks.config import CaptionReportConfig
from t2i_assets.corpus.artifacts import Manifest, publish, read_ref
from t2i_assets.corpus.filter_agreement import Agreement, filter_agreement
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import CAPTION_TICS, CAPTIONS, SCORES, VERDICTS
from t2i_assets.corpus.source_tics import SourceTics, reference_of, source_tics
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.resources import Pipeline
from tests.sample_home import SNAPSHOT, make_home


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("home"), samples=40, until="filtered_captions")


@pytest.fixture
def home(original: Home, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(original.root, tmp_path / "home")))


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("snapshot", [SNAPSHOT])
        yield instance


def run(
    instance: dg.DagsterInstance, home: Home, *assets: dg.AssetsDefinition, preset: str = "smoke"
) -> dg.ExecuteInProcessResult:
    """Materialize assets, then run their checks."""
    return dg.materialize(
        [*assets, captions_without_tics, filter_does_not_agree_too_much],
        selection=dg.AssetSelection.assets(*assets),
        resources={"pipeline": Pipeline(preset=preset, home=str(home.root))},
        partition_key=SNAPSHOT,
        instance=instance,
    )


def read_report(home: Home) -> list[SourceTics]:
    return source_tics(read_rows(read_ref(home, "caption_report", SNAPSHOT).path / "tics.parquet", CAPTION_TICS))


def test_every_source_stands_side_by_side_in_the_ui(home: Home, instance: dg.DagsterInstance) -> None:
    made = run(instance, home, caption_report)
    assert [source.label for source in read_report(home)] == [
        "alt", "human short", "human descriptive", "synthetic_short", "synthetic_descriptive"
    ]  # fmt: skip
    [event] = made.asset_materializations_for_node("caption_report")
    table = event.metadata["tics"].value
    assert (
        "| **alt** | **human short** | **human descriptive** | **synthetic_short** | **synthetic_descriptive** |"
        in table
    )
    assert "| captions | 40 | " in table
    assert event.metadata["lengths in words"].value.startswith("![captions by number of words")


def test_a_text_cannot_break_out_of_the_table(home: Home, instance: dg.DagsterInstance) -> None:
    path = read_ref(home, "synthetic_captions", SNAPSHOT).path / "00000.parquet"
    rows = [{**row, "caption": "x | <script> [a](b)"} for row in read_rows(path, CAPTIONS)]
    write_table(path, rows, CAPTIONS)
    [event] = run(instance, home, caption_report).asset_materializations_for_node("caption_report")
    table = event.metadata["tics"].value
    assert "x &#124; &#60;script&#62; &#91;a&#93;&#40;b&#41; 100.0%" in table
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_what_other_captioners_wrote_about_these_images_is_compared(home: Home, instance: dg.DagsterInstance) -> None:
    now = read_ref(home, "synthetic_captions", SNAPSHOT)
    about = now.manifest
    for number, inputs in enumerate(({**about.inputs, "captioner": "older"}, {**about.inputs, "shards": "others"})):
        digest = f"{number}" * 16
        manifest = about.model_copy(update={"digest": digest, "inputs": inputs})
        _publish_captions(home, now.path, manifest, digest)
    run(instance, home, caption_report)
    sources = read_report(home)
    assert [source.label for source in sources if not source.current] == [
        f"synthetic_{style} of 00000000 (top_p 0.9)" for style in ("short", "descriptive")
    ]
    manifest = read_ref(home, "caption_report", SNAPSHOT).manifest
    assert {name for name in manifest.inputs if name.startswith("other")} == {"other_captions/" + "0" * 16}
    assert [m.source for m in tics(sources, CaptionReportConfig())].count("synthetic_short") == 8


def _publish_captions(home: Home, like: Path, manifest: Manifest, captioner: str) -> None:
    rows = [{**row, "captioner": captioner} for row in read_rows(like / "00000.parquet", CAPTIONS)]

    def write(out: Path) -> None:
        write_table(out / "00000.parquet", rows, CAPTIONS)

    publish(home.captions(captioner, "0" * 16, SNAPSHOT), manifest, write)


def test_a_new_bound_makes_nothing_again(home: Home, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    run(instance, home, caption_report)
    strict = tmp_path / "strict.yaml"
    strict.write_text(yaml.safe_dump({"caption_report": {"max_opening": 0.0, "min_rejected": 1.0}}))
    again = run(instance, home, caption_report, preset=str(strict))
    [event] = again.asset_materializations_for_node("caption_report")
    assert event.metadata["reused"].value is True


def test_checks_warn_in_words_and_block_nothing(home: Home, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lenient, strict = tmp_path / "lenient.yaml", tmp_path / "strict.yaml"
    strict.write_text(yaml.safe_dump({"caption_report": {"max_opening": 0.001, "min_rejected": 0.9}}))
    lenient.write_text(yaml.safe_dump({"caption_report": {"max_opening": 1, "max_repeats_over_people": 1,
                                                          "max_case_from_people": 1,
                                                          "max_ending_from_people": 1, "min_pairs_to_people": 0,
                                                          "min_rejected": 0, "min_rejected_to_alt": 0}}))  # fmt: skip
    for preset, passed in ((strict, False), (lenient, True)):
        made = run(instance, home, filtered_captions, caption_report, preset=str(preset))
        found = made.get_asset_check_evaluations()
        assert made.success
        assert [check.passed for check in found] == [passed] * 2
        assert {check.severity for check in found} == {dg.AssetCheckSeverity.WARN}
        said = {check.check_name: check.description or "" for check in found}
        if passed:
            assert all("within their bounds" in text for text in said.values())
        else:
            assert "bound: at most 0.1 %" in said["captions_without_tics"]
            assert "the filter rejects" in said["filter_does_not_agree_too_much"]
            assert "bound: at least 90.0 %" in said["filter_does_not_agree_too_much"]


VARIETY = "the variety of pairs of words as a part of people's is 40.0 %"
SENTENCES = {"case": [("sentence", 0.9), ("lower", 0.1)], "ending": [(".", 0.8), ("no mark", 0.2)]}


def source(**changes: Any) -> SourceTics:
    fine = SourceTics(
        "synthetic_short",
        "c0ffee",
        {"style": "short"},
        True,
        {"cut_off": 0.0, "compared_repeats": 0.3, "compared_distinct_2": 0.2},
        {"opening_3": [("a red fox", 0.02)], **SENTENCES},
        {3: 0.5, 8: 0.5},
    )
    return replace(fine, **changes)


PEOPLE = SourceTics(
    "human", None, {"style": "short"}, True, {"compared_repeats": 0.25, "compared_distinct_2": 0.25}, SENTENCES
)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"texts": {"opening_3": [("the image shows", 0.7)]}}, "“the image shows …” opens 70.0 %"),
        ({"texts": {}}, None),
        ({"figures": {"cut_off": 0.1, "compared_repeats": 0.3}}, "cut off are 10.0 %"),
        ({"figures": {"cut_off": 0.0, "compared_repeats": 0.5}}, "repeats, beyond people's 25.0 %, are 25.0 %"),
        ({"texts": SENTENCES | {"case": [("lower", 1.0)]}}, "the case differs from people's in 90.0 %"),
        ({"texts": SENTENCES | {"ending": [("no mark", 1.0)]}}, "the ending differs from people's in 80.0 %"),
        ({"figures": {"cut_off": 0.0, "compared_repeats": 0.3, "compared_distinct_2": 0.1}}, VARIETY),
        ({"lengths": {0: 0.04, 1: 0.02, 9: 0.94}}, "fewer than 2 words have 6.0 %"),
        ({"lengths": {9: 0.9, 65: 0.05, 90: 0.05}}, "more than 64 words have 10.0 %"),
    ],
)
def test_each_tic_has_its_bound(changes: dict[str, Any], said: str | None) -> None:
    outside = [str(figure) for figure in tics([PEOPLE, source(**changes)], CaptionReportConfig()) if not figure.within]
    assert [text.split(" (bound")[0].removeprefix("synthetic_short: ") for text in outside] == ([said] if said else [])


def test_only_what_stands_now_is_bounded_and_people_never_are() -> None:
    bad: dict[str, Any] = {"texts": {"opening_3": [("the image shows", 0.7)]}}
    assert list(tics([source(current=False, **bad), replace(PEOPLE, **bad)], CaptionReportConfig())) == []


def test_people_of_the_same_style_are_the_measure() -> None:
    descriptive = replace(PEOPLE, decode={"style": "descriptive"})
    assert reference_of(source(), [PEOPLE, descriptive]) == [PEOPLE]
    assert reference_of(source(), [descriptive]) == [descriptive]
    assert reference_of(source(), []) == []
    assert len(list(tics([source()], CaptionReportConfig()))) == 4


ALT = Agreement("alt", 100, 0.6, 0.1, (0.1, 0.4, 0.8))


@pytest.mark.parametrize(
    ("rejected", "certain", "outside"),
    [
        (0.25, 0.2, []),
        (0.08, 0.2, ["the filter rejects 8.0 %"]),
        (0.25, 0.95, ["it is certain (ITM 0.99 and more) of 95.0 %"]),
        (0.0, 0.2, ["the filter rejects 0.0 %", "its rejection rate as a part of that of alt texts (60.0 %) is 0.0 %"]),
    ],
)
def test_a_filter_that_agrees_too_much_is_told(rejected: float, certain: float, outside: list[str]) -> None:
    asked = Agreement("synthetic_short", 100, rejected, certain, (0.9, 0.95, 1.0))
    figures = list(disagreement([ALT, asked], CaptionReportConfig()))
    assert [str(f).split(" (bound")[0] for f in figures if not f.within] == [f"synthetic_short: {o}" for o in outside]


def test_agreement_counts_what_the_filter_was_asked(tmp_path: Path) -> None:
    judged = [
        ("one", "alt", "kept", 0.999), ("two", "alt", "itm_below_threshold", 0.2), ("three", "alt", "file_name", 0.1),
        ("four", "synthetic_short", "clip_below_threshold", 0.9), ("five", "synthetic_short", "kept", 0.995),
        ("six", "synthetic_descriptive", "too_long", 0.9),
    ]  # fmt: skip
    verdicts = [
        {"caption_id": name, "key": "k", "source": source, "kept": reason == "kept", "reason": reason}
        for name, source, reason, _ in judged
    ]
    scores = [
        {"caption_id": name, "key": "k", "scorer": "s", "kind": kind, "value": value}
        for name, _, _, value in judged
        for kind in ("itm", "itc")
    ]
    paths = [tmp_path / "verdicts.parquet", tmp_path / "scores.parquet"]
    write_table(paths[0], verdicts, VERDICTS)
    write_table(paths[1], scores, SCORES)
    alt, short = filter_agreement(paths[:1], paths[1:], 0.99)
    assert (alt.source, alt.asked, alt.rejected, alt.certain) == ("alt", 2, 0.5, 0.5)
    assert (short.source, short.asked, short.rejected, short.certain) == ("synthetic_short", 2, 0.5, 0.5)
    assert alt.quartiles == pytest.approx((0.39975, 0.5995, 0.79925))


def test_rows_are_put_together_again() -> None:
    row = {"source": "human", "captioner": None, "decode": json.dumps({"style": "short"}), "current": True}
    rows = [
        {**row, "tic": "words_mean", "rank": None, "text": None, "value": 4.0},
        {**row, "tic": "length", "rank": 3, "text": None, "value": 0.5},
        {**row, "tic": "opening_1", "rank": 1, "text": "a", "value": 0.9},
        {**row, "tic": "opening_1", "rank": 2, "text": "two", "value": 0.1},
    ]
    [people] = source_tics(rows)
    assert people.label == "human short"
    assert (people.figures, people.lengths) == ({"words_mean": 4.0}, {3: 0.5})
    assert people.commonest("opening_1") == ("a", 0.9)
    assert people.commonest("repeated_text") is None

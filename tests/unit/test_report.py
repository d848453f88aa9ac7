"""The report is one file that says what the home holds, honestly, and says what is missing."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from t2i_assets.corpus.artifacts import MissingArtifactError, read_ref
from t2i_assets.corpus.catalog import build_catalog
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import BLENDS, CAPTIONS, EVALS, LEADERBOARD, PROMPTS
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.report import write_figures, write_report
from t2i_assets.report.charts import Curve, curves
from t2i_assets.report.evidence import evidence
from t2i_assets.report.extremes import extremes, leads_to
from t2i_assets.report.scores import described, prompts_of, result
from t2i_assets.synthweb.config import EMBEDDED_CATEGORIES
from t2i_assets.synthweb.language import read
from t2i_assets.synthweb.scenes import BACKGROUNDS, Kind, Scene, Thing
from t2i_assets.synthweb.truth import TRUTH, scene_json
from t2i_assets.voting.ballots import ballots
from t2i_assets.voting.box import BallotBox
from tests.sample_home import SNAPSHOT, make_home

MISSING = "not materialized yet"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("home"), samples=24, scenes=18)


@contextmanager
def changed(path: Path, rows: list[dict], schema: pa.Schema) -> Iterator[None]:
    """Have other rows in a table of the shared home: views read files, so no other home or catalog is needed."""
    before = path.read_bytes()
    write_table(path, rows, schema)
    try:
        yield
    finally:
        path.write_bytes(before)


def written(home: Home, tmp_path: Path) -> str:
    write_report(home, tmp_path / "report.html")
    return (tmp_path / "report.html").read_text()


@pytest.fixture(scope="module")
def page(home: Home, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(home, tmp_path_factory.mktemp("report"))


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


class _References(HTMLParser):
    """Collects what a browser would fetch, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.fetched += [named[name] or "" for name in ("src", "srcset", "data") if name in named]
        if tag in ("link", "script"):
            self.fetched.append(named.get("href") or tag)
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_file_without_scripts(page: str) -> None:
    references = _References()
    references.feed(page)
    assert references.open == []
    assert len(references.fetched) > 50
    assert [uri for uri in references.fetched if not uri.startswith("data:")] == []
    assert "url(" not in page.split("</style>")[0]
    assert MISSING not in page


def test_the_report_shows_both_recipes_and_every_category(page: str) -> None:
    html = words(page)
    for word in ("blend_95_5", "alt_only", "Colour", "Spatial", "Numeracy", "floor", "ceiling", "low ITM", "captioner"):
        assert word in html
    assert "The interval excludes 0" in html
    assert "draws more of what was asked than the model trained on alt_only" in html


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.05, 0.4, "cannot be told apart from"),
        (None, None, "Too few scenes for an interval"),
        (-0.4, -0.1, "draws less of what was asked than"),
    ],
)
def test_the_headline_claims_no_more_than_the_interval(
    home: Home, tmp_path: Path, low: float | None, high: float | None, said: str
) -> None:
    board = read_ref(home, "leaderboard").path / "leaderboard.parquet"
    rows = read_rows(board, LEADERBOARD)
    for row in rows:
        if row["baseline"] and row["metric"] == "compositional":
            row |= {"value": 0.1 if low is None else (low + (high or 0)) / 2, "low": low, "high": high}
    with changed(board, rows, LEADERBOARD):
        html = words(written(home, tmp_path))
    assert said in html
    assert "The interval excludes 0" not in html or "less of" in said


def test_a_model_at_the_floor_is_said_to_be_there(home: Home, page: str, tmp_path: Path) -> None:
    assert "descriptive prompts the score of blend_95_5 is not clearly above the floor" not in page
    board = read_ref(home, "leaderboard").path / "leaderboard.parquet"
    rows = read_rows(board, LEADERBOARD)
    for row in rows:
        if row["system"] == "floor" and row["metric"] == "compositional":
            row["high"] = 0.9
    with changed(board, rows, LEADERBOARD):
        html = written(home, tmp_path)
    assert "descriptive prompts the score of blend_95_5 is not clearly above the floor" in html


def test_the_best_and_worst_prompts_of_every_category_are_shown_with_the_judges_reason(home: Home, page: str) -> None:
    section = page.split('<section id="behind">')[1].split("</section>")[0]
    scored = {(row["prompt_id"], row["metric"]): row for row in _scores(home, "blend_95_5")}
    prompts = {
        row["prompt_id"]: row for row in read_rows(read_ref(home, "evaluation_set").path / "prompts.parquet", PROMPTS)
    }
    for style in ("descriptive", "original"):
        for category in EMBEDDED_CATEGORIES:
            [card] = re.findall(
                rf'id="behind-{style}-blend_95_5-{category}".*?(?=<div class="behind|$)', section, re.DOTALL
            )
            of_score = sorted(
                (row["value"], row["prompt_id"])
                for (_, metric), row in scored.items()
                if metric == category and row["style"] == style
            )
            best = sorted(of_score, key=lambda pair: (-pair[0], pair[1]))
            for which, shown in (("best", best[:2]), ("worst", best[2:])):
                texts = [prompts[prompt]["prompt"] for _, prompt in shown]
                assert re.findall(rf'alt="{which}: ([^"]+)"', card) == texts
            assert card.count("no red star was found") == sum(value == 0 for value, _ in of_score)
            assert card.count('src="data:image/png') == len(of_score) == 3


def test_pictures_that_scored_worst_stand_beside_a_caption_that_the_model_learned_from(
    home: Home, tmp_path: Path
) -> None:
    with evidence(home) as found:
        shown = {(one.style, one.recipe, one.metric): one for one in extremes(found, each=1)}
    one = shown["descriptive", "alt_only", "clip_score"]
    [best], [worst] = one.pictures["best"], one.pictures["worst"]
    assert best.value > worst.value
    assert one.prompts == 18
    learned = one.learned[worst.prompt_id]
    assert 0 < learned.shared <= learned.words
    assert learned.source == "alt"
    captions = {row["caption"] for row in read_rows(read_ref(home, "caption_blend", "alt_only").path, BLENDS)}
    assert learned.caption in captions


def test_one_click_leads_from_a_score_to_its_pictures_model_and_blend(home: Home, page: str) -> None:
    places = set(re.findall(r'id="([^"]+)"', page))
    clicks = set(re.findall(r'href="#([^"]+)"', page)) & places
    for recipe in ("blend_95_5", "alt_only"):
        for metric in ("color", "complex", "clip_score", "sets"):
            assert f"behind-descriptive-{recipe}-{metric}" in clicks
        assert read_ref(home, "latent_diffusion", recipe).digest in clicks
        assert read_ref(home, "caption_blend", recipe).digest in clicks


def _scores(home: Home, recipe: str) -> list[dict]:
    return read_rows(read_ref(home, "t2i_compbench", recipe).path / "scores.parquet", EVALS)


def test_votes_of_people_are_shown_as_ratings_with_a_warning_where_they_are_few(home: Home, tmp_path: Path) -> None:
    box = BallotBox(home, "ann")
    for number, ballot in enumerate(ballots(home, "ann", "Which?", "descriptive")):
        box.put(ballot, "Which?", ("left", "right")[(ballot.left.recipe == "alt_only") != (number % 6 == 0)])
    html = written(home, tmp_path)
    shutil.rmtree(home.votes)
    section = words(html.split('<section id="votes">')[1].split("</section>")[0])
    assert "Which? Descriptive prompts, 18 votes of 1" in section
    assert re.search(r"blend_95_5 140 .* 18 18 \w+ alt_only \N{MINUS SIGN}140 ", section)  # 15 wins to 3
    assert "Votes on 18 scenes: too few to tell models apart." in section


def test_scores_of_few_scenes_are_marked(home: Home, page: str, tmp_path: Path) -> None:
    section = page.split('<section id="scores">')[1].split("</section>")[0]
    assert '<abbr title="3 scenes: an interval from fewer than 30' in section
    board = read_ref(home, "leaderboard").path / "leaderboard.parquet"
    with changed(board, [{**row, "warning": None} for row in read_rows(board, LEADERBOARD)], LEADERBOARD):
        assert "<abbr" not in written(home, tmp_path)


def test_scores_by_another_version_stand_on_a_line_of_their_own_and_benchmarks_under_their_names(
    home: Home,
) -> None:
    board = read_ref(home, "leaderboard").path / "leaderboard.parquet"
    rows = read_rows(board, LEADERBOARD)
    for row in rows:
        if row["metric"] == "color" and row["recipe"] == "alt_only":
            row["metric_version"] = "rules-0"
    for metric, value in (("geneval", 0.4375), ("geneval_color_attr", 0.25)):
        of_benchmark = {"system": "generated", "recipe": "alt_only", "style": "geneval", "metric": metric, "n": 6}
        rows.append({**dict.fromkeys(rows[0]), **of_benchmark, "metric_version": "1", "scorer": "j", "value": value})
    judged = read_ref(home, "t2i_compbench", "alt_only").path / "scores.parquet"
    of_task, why = {"style": "geneval", "metric": "geneval_color_attr"}, "expected 1 red star, found 1 blue"
    failures = [
        {**row, **of_task, "reason": row["reason"] and why}
        for row in read_rows(judged, EVALS)
        if (row["metric"], row["style"]) == ("color", "original")
    ]
    with changed(board, rows, LEADERBOARD), changed(judged, failures, EVALS), evidence(home) as found:
        scores, behind = result(found), extremes(found, each=1)
    assert scores is not None
    lines = [line for line in scores.lines["descriptive"] if line.metric.name == "color"]
    assert {(*line.recipes, line.floor is None) for line in lines} == {("alt_only", True), ("blend_95_5", False)}
    assert all(not line.differences or "blend_95_5" in line.recipes for line in lines)
    assert [f"by {version} with" in line.metric.about for line in lines for version in ("1", "rules-0")].count(
        True
    ) == 2
    assert [line.metric.label for line in scores.lines["geneval"]] == ["GenEval", "Color attr (GenEval)"]
    assert [prompts_of(style) for style in ("geneval", "original")] == ["Prompts of GenEval", "Original prompts"]
    [task] = [one for one in behind if one.style == "geneval"]
    [failed] = task.pictures["worst"]
    assert (task.label, failed.value, failed.reason) == ("Color attr (GenEval)", 0, why)
    assert leads_to(behind, scores)["geneval", "alt_only", "geneval"] == task.anchor


def test_every_source_writes_side_by_side(page: str) -> None:
    section = page.split('<section id="texts">')[1].split("</section>")[0]
    [head] = re.findall(r"<thead>.*?</thead>", section, re.DOTALL)
    assert re.findall(r"<i></i>([^<]+)", head) == [
        "Alt text", "Human, short", "Human, descriptive", "Synthetic, short", "Synthetic, descriptive"
    ]  # fmt: skip
    rows = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)]
    captions = next(row for row in rows if row and row[0].startswith("captions"))
    assert [cell.strip() for cell in captions[1:]] == ["24", "6", "6", "24", "24"]
    assert section.count('class="card source-') == 5
    assert section.count("ITM probability;") == 3


def test_what_texts_tell_is_held_against_the_scenes(home: Home, tmp_path: Path) -> None:
    captions = read_rows(read_ref(home, "synthetic_captions", SNAPSHOT).path / "00000.parquet", CAPTIONS)
    told_all = sorted((row["key"], row["caption"]) for row in captions if row["source"] == "synthetic_descriptive")
    rows = [_known(key, text, wrong=number % 4 == 0) for number, (key, text) in enumerate(told_all)]
    truth = home.root / "synthweb"
    truth.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, TRUTH), truth / "truth.parquet")
    section = written(home, tmp_path).split('<section id="truth">')[1].split("</section>")[0]
    shutil.rmtree(truth)
    every = next(words(row) for row in re.findall(r"<tr>.*?</tr>", section, re.DOTALL) if "descriptive, all" in row)
    assert every.startswith("Synthetic, descriptive, all 24 100 % 100 %")
    assert every.endswith("75 % 75 % 0 % 0 %")
    assert "Synthetic, short, kept" in words(section)


def _known(key: str, caption: str, wrong: bool) -> dict[str, str | None]:
    """Return a row of the truth: the scene that the caption describes, or one before another background."""
    said = read(caption)
    assert said is not None
    things = tuple(
        Thing(m.color or "", m.shape, m.texture or "", 0.5, 0.5, 0.2) for m in said.objects for _ in range(m.count)
    )
    kind: Kind = "count" if len(said.objects) < len(things) else "single" if len(things) == 1 else "pair"
    background = next(color for color in BACKGROUNDS if (color == said.background) != wrong)
    row: dict[str, str | None] = {name: "" for name in TRUTH.names}
    return row | {"key": key, "scene": scene_json(Scene(things, said.relation, background, kind, 0)), "alt_right": None}


@pytest.mark.parametrize(
    ("until", "missing", "present"),
    [
        ("pages", 9, "pages fetched"),
        ("synthetic_captions", 7, "descriptive"),
        ("caption_blend", 5, "blend_95_5"),
        ("generated_images", 3, "Descriptive prompts"),
    ],
)
def test_what_is_missing_is_said_and_stops_nothing(tmp_path: Path, until: str, missing: int, present: str) -> None:
    home = make_home(tmp_path / "home", samples=12, scenes=6, until=until)
    html = written(home, tmp_path)
    assert html.count(MISSING) == missing
    assert present in html


def test_an_empty_home_has_a_report_too(tmp_path: Path) -> None:
    assert written(Home(tmp_path / "empty"), tmp_path).count(MISSING) >= 8


def test_texts_from_the_web_are_text(home: Home, tmp_path: Path) -> None:
    path = read_ref(home, "synthetic_captions", SNAPSHOT).path / "00000.parquet"
    rows = [{**row, "caption": "<script>alert(1)</script>"} for row in read_rows(path, CAPTIONS)]
    with changed(path, rows, CAPTIONS):
        html = written(home, tmp_path)
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_the_same_home_gives_the_same_report(home: Home, page: str, tmp_path: Path) -> None:
    assert written(home, tmp_path) == page


def test_the_readme_picture_shows_a_row_per_recipe_and_the_real_image(home: Home, tmp_path: Path) -> None:
    build_catalog(home)
    [path] = write_figures(home, tmp_path / "figures")
    picture = Image.open(path).convert("RGB")
    assert path.name == "generated.png"
    assert picture.width > 6 * 128
    assert picture.height > 3 * 128
    assert len(picture.getcolors(1 << 24) or []) > 200


def test_without_generated_images_the_readme_picture_says_what_to_make(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", samples=6, until="pages")
    build_catalog(home)
    with pytest.raises(MissingArtifactError, match="generated_images"):
        write_figures(home, tmp_path / "figures")


def test_curves_skip_what_is_not_finite_and_span_decades() -> None:
    points = [(0.0, 100.0), (1.0, float("nan")), (2.0, 0.1)]
    svg = curves([Curve("loss", "line", points)])
    [line] = re.findall(r'points="([^"]+)"', svg)
    assert len(line.split()) == 2
    assert ">1<" in svg
    assert curves([Curve("loss", "line", [])]) == ""
    assert "points" in curves([Curve("flat", "line", [(0.0, 2.0), (9.0, 2.0)])])


@pytest.mark.parametrize(
    ("name", "label", "higher_is_better"),
    [
        *(("fd_judge", "FD (judge)", False), ("fd_dino", "FD (dino)", False), ("fid", "FID", False)),
        *(
            ("fid_infinity", "FID∞", False),
            ("fd_judge_infinity", "FD∞ (judge)", False),
            ("cmmd_clip", "CMMD (clip)", False),
        ),
        *(("recall_judge", "Recall (judge)", True), ("inception_score", "Inception score", True)),
        *(("color", "Colour", True), ("geneval_counting", "Counting (GenEval)", True)),
    ],
)
def test_metrics_of_any_encoder_are_told_with_the_right_direction(
    name: str, label: str, higher_is_better: bool
) -> None:
    metric = described(name)
    assert (metric.name, metric.label, metric.higher_is_better) == (name, label, higher_is_better)

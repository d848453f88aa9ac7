"""The catalog answers over whatever stands on disk, read-only, wherever the home lies."""

import csv
import io
import json
import shutil
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from t2i_assets.corpus.artifacts import publish, read_ref
from t2i_assets.corpus.catalog import MissingCatalogError, QueryError, build_catalog, format_rows, query
from t2i_assets.corpus.dictionary import data_dictionary
from t2i_assets.corpus.digests import caption_id
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import CAPTIONS, SCORES
from t2i_assets.corpus.shards import read_image
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.corpus.views import VIEWS
from tests.sample_home import SNAPSHOT, make_home


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = make_home(tmp_path_factory.mktemp("home"))
    build_catalog(home)
    return home


def rows(home: Home, sql: str) -> list[dict]:
    return query(home, sql).to_pylist()


def test_an_empty_home_has_every_view_without_rows(tmp_path: Path) -> None:
    counts = build_catalog(Home(tmp_path))
    assert counts == {view.name: 0 for view in VIEWS}
    assert {"pages", "images", "samples", "captions", "scores"} <= counts.keys()
    assert {"verdicts", "blends", "models", "evals", "funnel"} <= counts.keys()


def test_counts_are_those_of_the_files(home: Home) -> None:
    shards = read_ref(home, "shards", SNAPSHOT)
    assert rows(home, "SELECT count(*) AS n FROM samples") == [{"n": shards.manifest.summary["samples"]}]
    kinds = rows(home, "SELECT DISTINCT kind FROM models ORDER BY kind")
    assert {"captioner", "latent_diffusion", "judge"} <= {row["kind"] for row in kinds}


def test_a_score_joins_back_to_the_captions_that_trained_the_model(home: Home) -> None:
    found = rows(
        home,
        """
        SELECT e.recipe, b.name, b.source, count(*) AS n, bool_and(c.caption = b.caption) AS same
        FROM (SELECT DISTINCT recipe, model FROM evals WHERE system = 'generated') AS e
        JOIN models AS m ON m.digest = e.model
        JOIN blends AS b ON b.blend_digest = m.inputs['caption_blend']
        JOIN captions AS c ON c.caption_id = b.caption_id
        GROUP BY ALL
        """,
    )
    assert {(row["recipe"], row["source"]) for row in found} == {
        ("blend_95_5", "synthetic_descriptive"),
        ("blend_95_5", "alt"),
        ("alt_only", "alt"),
    }
    assert all(row["recipe"] == row["name"] and row["same"] and row["n"] > 0 for row in found)


def test_one_query_leads_from_a_score_to_the_picture_the_model_the_blend_and_its_captions(home: Home) -> None:
    [row] = rows(
        home,
        """
        SELECT s.*, c.caption, c.source, c.name, len(list_intersect(string_split(lower(s.prompt), ' '),
               string_split(lower(c.caption), ' '))) AS words_shared
        FROM scored_pictures AS s JOIN model_captions AS c USING (model, blend_digest)
        WHERE s.current AND s.recipe = 'blend_95_5' AND s.metric = 'color' AND s.value = 0
        ORDER BY s.prompt_id, words_shared DESC LIMIT 1
        """,
    )
    assert row["reason"] == "no red star was found"
    assert row["words_shared"] > 0
    assert row["name"] == "blend_95_5"
    assert read_image(home.root / row["images"], row).startswith(b"\x89PNG")
    model = read_ref(home, "latent_diffusion", "blend_95_5")
    assert (home.root / row["model_path"], row["model"]) == (model.path, model.digest)
    assert row["blend_digest"] == read_ref(home, "caption_blend", "blend_95_5").digest


def test_every_score_of_a_picture_is_there_once_with_its_prompt(home: Home) -> None:
    counted = "count(*) AS n, count(prompt) AS prompts, count(image_offset) AS pictures"
    [found] = rows(home, f"SELECT {counted} FROM scored_pictures WHERE system = 'generated'")
    [stored] = rows(home, "SELECT count(*) AS n FROM evals WHERE system = 'generated' AND prompt_id IS NOT NULL")
    assert found == {"n": stored["n"], "prompts": stored["n"], "pictures": stored["n"]}
    [bounds] = rows(home, f"SELECT {counted} FROM scored_pictures WHERE system <> 'generated'")
    assert bounds["n"] == bounds["prompts"] == bounds["pictures"] > 0


def test_scores_of_real_pictures_and_of_experiments_lead_to_their_pictures_too(home: Home) -> None:
    [real] = rows(home, "SELECT * FROM scored_pictures WHERE system = 'ceiling' AND metric = 'color' LIMIT 1")
    assert read_image(home.root / real["images"], real).startswith(b"\xff\xd8")
    assert (real["asset"], real["image_key"]) == ("t2i_compbench_bounds", real["reference_key"])
    for asset, experiment in (("generated_images", "drawing"), ("t2i_compbench", "drawing_t2i_compbench")):
        made = read_ref(home, asset, "alt_only")
        told = {"asset": experiment, "digest": f"of-{experiment}", "partition": "epsilon-0"}
        manifest = made.manifest.model_copy(
            update={**told, "inputs": made.manifest.inputs | {"generated_images": "of-drawing"}}
        )
        publish(home.evals(experiment, manifest.digest), manifest, partial(_copied, made.path))
    drawn = rows(home, "SELECT * FROM scored_pictures WHERE asset = 'drawing_t2i_compbench'")
    assert {(row["images"], row["recipe"]) for row in drawn} == {("evals/drawing/of-drawing", "alt_only")}
    assert all(read_image(home.root / row["images"], row).startswith(b"\x89PNG") for row in drawn[:3])


def _copied(directory: Path, out: Path) -> None:
    shutil.copytree(directory, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))


def test_alt_captions_have_the_id_that_verdicts_name(home: Home) -> None:
    text = 'quotes " and \\ and é'
    [sql] = rows(home, f"""SELECT left(sha256('["k","alt",' || to_json('{text}') || ']'), 16) AS id""")
    assert sql["id"] == caption_id("k", "alt", text)
    assert rows(home, "SELECT count(*) AS n FROM verdicts v ANTI JOIN captions c ON c.caption_id = v.caption_id") == [
        {"n": 0}
    ]


def test_each_stage_of_the_funnel_takes_in_what_the_stage_before_let_pass(home: Home) -> None:
    stages = rows(
        home,
        """
        SELECT stage_order, sum(count)::INT AS entered, (sum(count) FILTER (reason = 'passed'))::INT AS passed
        FROM funnel WHERE stage_order BETWEEN 2 AND 6 GROUP BY stage_order ORDER BY stage_order
        """,
    )
    wanted, fetched, samples, unique, alt = stages
    assert wanted["passed"] == fetched["entered"]
    assert fetched["passed"] == samples["entered"]
    assert samples["passed"] == unique["entered"] == alt["entered"]
    assert unique["entered"] - unique["passed"] == 2
    assert rows(home, "SELECT count FROM funnel WHERE reason = 'same_bytes'") == [{"count": 1}]


def test_unfinished_work_and_tables_of_figures_are_not_rows(home: Home, tmp_path: Path) -> None:
    copy = Home(Path(shutil.copytree(home.root, tmp_path / "home")))
    before = build_catalog(copy)
    captions = read_ref(copy, "synthetic_captions", SNAPSHOT).path
    partial = captions.parent / ".demo.0123.partial"
    partial.mkdir()
    write_table(partial / "00000.parquet", read_rows(captions / "00000.parquet", CAPTIONS), CAPTIONS)
    assert (captions / "metrics.parquet").exists()
    assert build_catalog(copy) == before


def test_what_no_asset_holds_any_more_is_marked(home: Home, tmp_path: Path) -> None:
    copy = Home(Path(shutil.copytree(home.root, tmp_path / "home")))
    current = read_ref(copy, "caption_scores", SNAPSHOT).path
    old = copy.scores("an-older-filter", SNAPSHOT)
    write_table(old / "00000.parquet", read_rows(current, SCORES), SCORES)
    build_catalog(copy)
    counts = {row["current"]: row["n"] for row in rows(copy, "SELECT current, count(*) AS n FROM scores GROUP BY ALL")}
    assert counts[True] == counts[False] > 0


def test_new_files_show_without_building_again(home: Home, tmp_path: Path) -> None:
    copy = Home(Path(shutil.copytree(home.root, tmp_path / "home")))
    build_catalog(copy)
    [before] = rows(copy, "SELECT count(*) AS n FROM samples")
    shutil.copytree(copy.shards(SNAPSHOT), copy.shards("tomorrow"))
    assert rows(copy, "SELECT count(*) AS n FROM samples") == [{"n": 2 * before["n"]}]


def test_a_moved_home_answers_from_any_directory(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = Home(Path(shutil.copytree(home.root, tmp_path / "a home with a ' in its name")))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.rmtree(moved.shards(SNAPSHOT))
    count = "SELECT count(*) AS n FROM samples"
    assert rows(moved, count) == [{"n": 0}]
    assert rows(home, count)[0]["n"] > 0


def test_the_catalog_is_replaced_while_somebody_reads_it(home: Home) -> None:
    with duckdb.connect(str(home.catalog), read_only=True) as reader:
        build_catalog(home)
        assert reader.execute("SELECT count(*) > 0 FROM samples").fetchall() == [(True,)]
    assert not list(home.root.glob(".catalog.*"))


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM sample", "samples"),
        ("SELEC 1", "syntax error"),
        ("DROP VIEW samples", "read-only"),
        ("COPY (SELECT 1) TO 'out.csv'", "read-only"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("", "one statement"),
    ],
)
def test_what_is_no_query_is_refused_in_words(home: Home, sql: str, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        query(home, sql)


def test_a_missing_catalog_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MissingCatalogError, match="t2i demo"):
        query(Home(tmp_path), "SELECT 1")


ANSWER = pa.table(
    {
        "n": [1, None],
        "share": [0.25, 1 / 3],
        "text": ['a, "quoted" text', "second\nline"],
        "inputs": pa.array([[("a", "b")], []], pa.map_(pa.string(), pa.string())),
        "body": [b"\x00\xff", b""],
    }
)


def test_csv_keeps_every_value() -> None:
    read = list(csv.DictReader(io.StringIO(format_rows(ANSWER, "csv"))))
    assert [row["text"] for row in read] == ['a, "quoted" text', "second\nline"]
    assert read[0]["inputs"] == '{"a": "b"}'
    assert [float(row["share"]) for row in read] == [0.25, 1 / 3]
    assert read[1]["n"] == ""


def test_json_is_a_list_of_objects() -> None:
    read = json.loads(format_rows(ANSWER, "json"))
    assert read[0] == {"n": 1, "share": 0.25, "text": 'a, "quoted" text', "inputs": {"a": "b"}, "body": "AP8="}
    assert read[1]["n"] is None


def test_a_table_shows_every_column_and_no_markup() -> None:
    shown = format_rows(pa.table({"text": ["[red]star[/red]"], "share": [1 / 3]}), "table")
    assert "[red]star[/red]" in shown
    assert "0.333333" in shown


def test_the_data_dictionary_is_up_to_date_and_complete() -> None:
    page = Path(__file__).parents[2] / "docs" / "data-dictionary.md"
    made = data_dictionary()
    assert made == page.read_text(), "run: python -m t2i_assets.corpus.dictionary docs/data-dictionary.md"
    assert all(f"### {view.name}\n" in made for view in VIEWS)


def test_the_examples_of_the_dictionary_answer(home: Home) -> None:
    examples = [part.split("```")[0] for part in data_dictionary().split("```sql\n")[1:]]
    assert len(examples) >= 4
    for sql in examples:
        assert query(home, sql).num_rows > 0, sql

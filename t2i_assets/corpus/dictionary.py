"""The data dictionary, generated: ``python -m t2i_assets.corpus.dictionary docs/data-dictionary.md``."""

import sys
import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa

from t2i_assets.corpus import schemas
from t2i_assets.corpus.catalog import build_catalog
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.views import FILES, VIEWS, View

HEAD = """# Data dictionary

Generated from `t2i_assets/corpus/schemas.py` and `t2i_assets/corpus/views.py` by
`python -m t2i_assets.corpus.dictionary docs/data-dictionary.md`; a test fails where it is out of date.

Two layers: **views** are what `t2i query "SELECT …"` sees; **files** are the parquet tables below `T2I_HOME`
that they read, which any other tool can read too.
"""

EXAMPLES = """## Questions and answers

How many samples survive each stage, and why do the others not?
```sql
SELECT stage, reason, count FROM funnel ORDER BY stage_order, count DESC
```
Which pictures of a model scored worst, why, and which captions had it learned from? From a score of the leaderboard,
over picture, model and blend, to the texts that share most words with the prompt:
```sql
SELECT l.recipe, l.metric, l.value AS score, s.prompt, s.value, s.reason, s.images, s.image_key, s.model_path,
       c.name AS blend, c.source, c.caption, c.key,
       len(list_intersect(string_split(lower(s.prompt), ' '), string_split(lower(c.caption), ' '))) AS words_shared
FROM leaderboard AS l
JOIN scored_pictures AS s USING (model, metric, metric_version, scorer, style)
JOIN model_captions AS c USING (model)
WHERE l.current AND s.current AND l.baseline IS NULL AND l.metric = 'color' AND l.style = 'descriptive'
ORDER BY s.value, s.prompt_id, words_shared DESC
LIMIT 20
```
How often does the filter reject each kind of caption?
```sql
SELECT source, reason, count(*) AS captions FROM verdicts GROUP BY ALL ORDER BY source, captions DESC
```
What would another threshold keep? No model runs.
```sql
SELECT c.source, count(*) FILTER (s.value >= 0.8) / count(*) AS kept
FROM scores AS s JOIN captions AS c USING (caption_id) WHERE s.kind = 'itm' AND s.current AND c.current GROUP BY ALL
```
"""


def data_dictionary() -> str:
    """Return the whole page as Markdown."""
    with tempfile.TemporaryDirectory() as directory:
        home = Home(Path(directory))
        build_catalog(home)
        with duckdb.connect(str(home.catalog), read_only=True) as connection:
            views = [_view(connection, view) for view in VIEWS]
    files = [_file(schema) for schema in schemas.ALL]
    return "\n".join([HEAD, EXAMPLES, "## Views\n", *views, "## Files\n", *files])


def _view(connection: duckdb.DuckDBPyConnection, view: View) -> str:
    columns = connection.execute(f"DESCRIBE {view.name}").fetchall()
    rows = [(name, kind, _described(view, name)) for name, kind, *_ in columns]
    return _section(view.name, view.description, rows)


def _described(view: View, column: str) -> str:
    if column in view.fields:
        return view.fields[column]
    if view.schema is None:
        raise KeyError(f"column {column!r} of view {view.name!r} has no description")
    return str(view.schema.field(column).metadata[b"description"].decode())


def _file(schema: pa.Schema) -> str:
    name = schema.metadata[b"name"].decode()
    rows = [
        (field.name, f"{field.type}{'' if field.nullable else ', not null'}", field.metadata[b"description"].decode())
        for field in schema
    ]
    places = [
        glob.replace("[!.]*", "*").replace("[0-9]*", "*")
        for known, globs in FILES.values()
        if known is schema
        for glob in globs
    ]
    where = f"\n\nIn {', '.join(f'`{place}`' for place in places)}." if places else ""
    return _section(f"{name.upper()}", schema.metadata[b"description"].decode() + where, rows)


def _section(title: str, description: str, rows: list[tuple[str, str, str]]) -> str:
    lines = [f"| `{name}` | {_short(kind)} | {words.replace('|', chr(92) + '|')} |" for name, kind, words in rows]
    return "\n".join(
        [f"### {title}\n", f"{description}\n", "| column | type | what |", "| --- | --- | --- |", *lines, ""]
    )


def _short(kind: str) -> str:
    return "list of struct" if "struct<" in kind.lower() or "STRUCT(" in kind else kind


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(data_dictionary())

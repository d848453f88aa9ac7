"""The views of the catalog: what an analyst sees of the files below ``T2I_HOME``.

Each view reads its files through globs, so it shows new ones at once. A glob that matches nothing
still has a form: the first file of each list is a zero-row seed with the schema. Globs pass over
hidden names, which is where unfinished work lies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from t2i_assets.corpus import schemas

SEEDS = ".catalog"
MANIFESTS = "manifests"
REFS = "refs"
REGISTRY = "registry"


@dataclass(frozen=True)
class View:
    """One view: ``sql`` with ``{name}`` for the scan of each of the ``files``, and words for what it adds."""

    name: str
    description: str
    sql: str
    schema: pa.Schema | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


FILES: dict[str, tuple[pa.Schema, tuple[str, ...]]] = {
    "ledger": (schemas.LEDGER, ("ledger/[!.]*/*.parquet",)),
    "requests": (schemas.REQUESTS, ("ledger/[!.]*/requests/*.parquet",)),
    "html": (schemas.PAGES, ("pages/[!.]*/[0-9]*.parquet",)),
    "pairs": (schemas.PAIRS, ("pairs/[!.]*/[0-9]*.parquet",)),
    "samples": (schemas.SAMPLES, ("shards/[!.]*/[0-9]*.parquet",)),
    "human_samples": (schemas.SAMPLES, ("human/[!.]*/[0-9]*.parquet",)),
    "duplicates": (schemas.DUPLICATES, ("dedup/[!.]*/[0-9]*.parquet", "semantic/[!.]*/[0-9]*.parquet")),
    "contamination": (schemas.CONTAMINATION, ("contamination/[!.]*/[0-9]*.parquet",)),
    "purges": (schemas.PURGES, ("purges/[!.]*/purges.parquet",)),
    "tainted_models": (schemas.TAINTED, ("purges/[!.]*/tainted.parquet",)),
    "human_captions": (schemas.CAPTIONS, ("human/[!.]*/captions.parquet",)),
    "synthetic_captions": (schemas.CAPTIONS, ("captions/[!.]*/[!.]*/[0-9]*.parquet",)),
    "scores": (schemas.SCORES, ("scores/[!.]*/[!.]*/[0-9]*.parquet",)),
    "verdicts": (schemas.VERDICTS, ("verdicts/[!.]*/[0-9]*.parquet",)),
    "caption_tics": (schemas.CAPTION_TICS, ("tics/[!.]*/tics.parquet",)),
    "blends": (schemas.BLENDS, ("blends/[!.]*/[!.]*/[0-9]*.parquet",)),
    "consumer_blends": (schemas.BLENDS, ("blends/[!.]*/[!.]*/[!.]*/[0-9]*.parquet",)),
    "metrics": (schemas.METRICS, ("models/[!.]*/[!.]*/metrics.parquet",)),
    "prompts": (schemas.PROMPTS, ("evals/prompts/[!.]*/prompts.parquet",)),
    "references": (schemas.SAMPLES, ("evals/evaluation_set/[!.]*/reference/[0-9]*.parquet",)),
    "generated": (
        schemas.GENERATED,
        ("evals/generated_images/[!.]*/[0-9]*.parquet", "evals/drawing/[!.]*/[0-9]*.parquet"),
    ),
    "evals": (schemas.EVALS, ("evals/[!.]*/[!.]*/scores.parquet",)),
    "judges": (schemas.JUDGES, ("models/judge/[!.]*/judges.parquet",)),
    "leaderboard": (schemas.LEADERBOARD, ("evals/leaderboard/[!.]*/leaderboard.parquet",)),
    "votes": (schemas.VOTES, ("votes/[!.]*/[!.]*.parquet",)),
    "elo": (schemas.ELO, ("votes/elo[.]parquet",)),
}
"""Tables on disk: their schema and where their files lie, relative to the home."""


def _about(schema: pa.Schema) -> str:
    return str(schema.metadata[b"description"].decode())


MANIFEST_GLOBS = tuple("[!.]*/" * depth + "manifest.json" for depth in (1, 2, 3))
REF_GLOBS = ("refs/[!.]*/[!.]*.json",)
REGISTRY_GLOBS = ("models/registry[.]json",)
MANIFEST_COLUMNS = (
    "asset: 'VARCHAR', partition: 'VARCHAR', digest: 'VARCHAR', code_version: 'VARCHAR', config: 'JSON', "
    "inputs: 'MAP(VARCHAR, VARCHAR)', output_digest: 'VARCHAR', fetched: 'BOOLEAN', created: 'DOUBLE', "
    "seconds: 'DOUBLE', summary: 'JSON'"
)
REGISTRY_COLUMNS = (
    "number: 'BIGINT', changed_at: 'DOUBLE', digest: 'VARCHAR', kind: 'VARCHAR', partition: 'VARCHAR', was: 'VARCHAR', "
    "stage: 'VARCHAR', instead_of: 'VARCHAR'"
)

_ARTIFACT = "Directory of the artifact the row lies in, relative to the home."
_CURRENT = "Whether that artifact is what its asset holds now; an older one may still lie beside it."
_SNAPSHOT = "Run of the configured sources; the partition."
_PLACE = {"artifact": _ARTIFACT, "current": _CURRENT}
_ASKED = {
    "attempts": "Requests made, retries included.",
    "fetched_at": "Start of the first request; null where none was made.",
    "seconds": "Time from first request to outcome.",
}
_MANIFEST = {
    "asset": "Asset that wrote it.",
    "partition": "Snapshot or recipe; '_' where the asset has no partitions.",
    "digest": "Digest of inputs, configuration, code version and seed.",
    "path": "Directory, relative to the home.",
    "created": "When it was published.",
    "seconds": "How long the work took.",
    "config": "The asset's section of the configuration.",
    "inputs": "Digest of each input, by name.",
    "summary": "Figures worth showing: counts, final metrics.",
    "current": "Whether it is what its asset holds now.",
}

VIEWS: tuple[View, ...] = (
    View(
        "refs",
        "Which artifact each partition of each asset holds now.",
        """
        SELECT split_part({dir:r}, '/', 2) AS asset, regexp_extract(r.filename, '([^/]+)[.]json$', 1) AS partition,
               r.path, r.digest
        FROM {refs} AS r
        """,
        fields={
            "asset": "Asset.",
            "partition": "Snapshot or recipe; '_' where the asset has no partitions.",
            "path": "Directory of the artifact, relative to the home.",
            "digest": "Digest of the artifact.",
        },
    ),
    View(
        "artifacts",
        "Everything that was published, with what made it.",
        """
        SELECT m.asset, m.partition, m.digest, CASE WHEN m.fetched THEN m.output_digest ELSE m.digest END AS identity,
               {dir:m} AS path, to_timestamp(m.created) AS created, m.seconds, m.config, m.inputs, m.summary,
               {dir:m} IN (SELECT path FROM refs) AS current
        FROM {manifests} AS m
        """,
        fields=_MANIFEST
        | {
            "identity": "What the inputs of others name it by: the digest, or that of the content where it was fetched."
        },
    ),
    View(
        "pages",
        "Every page URL tried, robots.txt among them, with what became of it.",
        """
        SELECT l.* EXCLUDE (filename, key), r.attempts, to_timestamp(nullif(r.fetched_at, 0)) AS fetched_at, r.seconds
        FROM {ledger} AS l LEFT JOIN {requests} AS r USING (snapshot, kind, url) WHERE kind <> 'image'
        """,
        schemas.LEDGER,
        _ASKED,
    ),
    View(
        "images",
        "Every image URL tried, with what became of it.",
        """
        SELECT l.* EXCLUDE (filename), r.attempts, to_timestamp(nullif(r.fetched_at, 0)) AS fetched_at, r.seconds
        FROM {ledger} AS l LEFT JOIN {requests} AS r USING (snapshot, kind, url) WHERE kind = 'image'
        """,
        schemas.LEDGER,
        _ASKED,
    ),
    View(
        "html",
        _about(schemas.PAGES),
        "SELECT * EXCLUDE (filename) FROM {html}",
        schemas.PAGES,
    ),
    View(
        "pairs",
        _about(schemas.PAIRS),
        "SELECT * EXCLUDE (filename) FROM {pairs}",
        schemas.PAIRS,
    ),
    View(
        "samples",
        "One row per crawled image with at least one text; the image lies in the shard, at its offset.",
        "SELECT * EXCLUDE (filename) FROM {samples}",
        schemas.SAMPLES,
    ),
    View(
        "human_samples",
        "Images with captions written by people; snapshot is 'human'.",
        "SELECT * EXCLUDE (filename), {place} FROM {human_samples}",
        schemas.SAMPLES,
        _PLACE,
    ),
    View(
        "duplicates",
        _about(schemas.DUPLICATES),
        "SELECT * EXCLUDE (filename) FROM {duplicates}",
        schemas.DUPLICATES,
    ),
    View(
        "contamination",
        _about(schemas.CONTAMINATION),
        "SELECT * EXCLUDE (filename) FROM {contamination}",
        schemas.CONTAMINATION,
    ),
    View("purges", _about(schemas.PURGES), "SELECT * EXCLUDE (filename) FROM {purges}", schemas.PURGES),
    View(
        "tainted_models",
        _about(schemas.TAINTED),
        "SELECT * EXCLUDE (filename) FROM {tainted_models}",
        schemas.TAINTED,
    ),
    View(
        "captions",
        "Every text about a sample: alt texts, human captions, synthetic ones of every captioner that ever wrote here.",
        """
        SELECT * EXCLUDE (filename), split_part({dir}, '/', 3) AS snapshot,
               {place}
        FROM {synthetic_captions}
        UNION ALL BY NAME
        SELECT * EXCLUDE (filename), 'human' AS snapshot, {place}
        FROM {human_captions}
        UNION ALL BY NAME
        SELECT left(sha256('["' || key || '","alt",' || to_json(alt_text) || ']'), 16) AS caption_id, key,
               'alt' AS source, alt_text AS caption, snapshot, {place}
        FROM {samples}
        """,
        schemas.CAPTIONS,
        {"snapshot": "Snapshot of the sample; 'human' for human captions.", **_PLACE},
    ),
    View(
        "scores",
        _about(schemas.SCORES),
        """
        SELECT * EXCLUDE (filename), split_part({dir}, '/', 3) AS snapshot,
               {place}
        FROM {scores}
        """,
        schemas.SCORES,
        {"snapshot": _SNAPSHOT, **_PLACE},
    ),
    View(
        "verdicts",
        _about(schemas.VERDICTS),
        "SELECT * EXCLUDE (filename), split_part({dir}, '/', 2) AS snapshot FROM {verdicts}",
        schemas.VERDICTS,
        {"snapshot": _SNAPSHOT},
    ),
    View(
        "caption_tics",
        _about(schemas.CAPTION_TICS),
        "SELECT * EXCLUDE (filename), split_part({dir}, '/', 2) AS snapshot FROM {caption_tics}",
        schemas.CAPTION_TICS,
        {"snapshot": _SNAPSHOT},
    ),
    View(
        "blends",
        "Captions that a recipe can draw for a sample; blend_digest is what models name in inputs['caption_blend'].",
        """
        SELECT a.partition AS name, a.digest AS blend_digest, b.* EXCLUDE (filename), a.current
        FROM {blends} AS b JOIN artifacts AS a ON a.path = {dir:b}
        """,
        schemas.BLENDS,
        {"name": "Recipe.", "blend_digest": "Digest of the blend.", "current": _CURRENT},
    ),
    View(
        "consumer_blends",
        "Captions that a consumer with weights of its own draws instead of those of the view blends.",
        """
        SELECT a.partition AS name, a.digest AS blend_digest, split_part({dir:b}, '/', 4) AS consumer,
               b.* EXCLUDE (filename), a.current
        FROM {consumer_blends} AS b JOIN artifacts AS a ON a.path = regexp_replace({dir:b}, '/[^/]*$', '')
        """,
        schemas.BLENDS,
        {
            "name": "Recipe.",
            "blend_digest": "Digest of the blend.",
            "consumer": "Who draws them: clip, priors or diffusion.",
            "current": _CURRENT,
        },
    ),
    View(
        "models",
        "Every trained model, with the digests of what it was trained on.",
        """
        SELECT digest, asset AS kind, partition, path, created, seconds, config, inputs, summary, current
        FROM artifacts WHERE starts_with(path, 'models/')
        """,
        fields={**_MANIFEST, "kind": "Asset that it is: captioner, latent_diffusion …"},
    ),
    View(
        "registry",
        "Every trained model with its stage: what `t2i models list` shows.",
        """
        SELECT m.digest, m.kind, m.partition, coalesce(e.stage, 'none') AS stage, e.since,
               m.path IN (SELECT path FROM tainted_models) AS tainted,
               m.path, m.created, m.seconds, m.config, m.inputs, m.summary, m.current
        FROM models AS m LEFT JOIN (
            SELECT digest, arg_max(stage, number) AS stage, to_timestamp(max(changed_at)) AS since
            FROM {registry} GROUP BY digest
        ) AS e USING (digest)
        """,
        fields={
            **_MANIFEST,
            "kind": "Asset that it is: captioner, latent_diffusion …",
            "stage": "none, staging, production or archived; of a kind and partition one model is in production.",
            "since": "When it got that stage; null where it never got one.",
            "tainted": "Whether it was trained on a sample that was purged since.",
        },
    ),
    View(
        "promotions",
        "Every change of a model's stage, oldest first.",
        """
        SELECT number, to_timestamp(changed_at) AS changed_at, digest, kind, partition, was, stage, instead_of
        FROM {registry} ORDER BY number
        """,
        fields={
            "number": "Place in the history, from 0.",
            "changed_at": "When.",
            "digest": "Digest of the model.",
            "kind": "Asset that it is.",
            "partition": _MANIFEST["partition"],
            "was": "Stage before.",
            "stage": "Stage from then on.",
            "instead_of": "Digest of the model that took its place in production, if one did.",
        },
    ),
    View(
        "metrics",
        "What training runs logged, step by step.",
        """
        SELECT split_part({dir}, '/', 2) AS kind, split_part({dir}, '/', 3) AS model, * EXCLUDE (filename),
               {dir} IN (SELECT path FROM refs) AS current
        FROM {metrics}
        """,
        schemas.METRICS,
        {"kind": "Directory of its kind below models/.", "model": "Digest of the model.", "current": _CURRENT},
    ),
    View(
        "prompts",
        _about(schemas.PROMPTS),
        """
        SELECT * EXCLUDE (filename), {place} FROM {prompts}
        """,
        schemas.PROMPTS,
        _PLACE,
    ),
    View(
        "generated",
        "One row per generated image, of the blends' models and of the experiments'; the image lies in a tar of the "
        "artifact, at its offset.",
        """
        SELECT * EXCLUDE (filename), regexp_extract(filename, '([^/]+)[.]parquet$', 1) || '.tar' AS shard, {place}
        FROM {generated}
        """,
        schemas.GENERATED,
        {"shard": "Name of the tar.", **_PLACE},
    ),
    View(
        "evals",
        _about(schemas.EVALS),
        """
        SELECT * EXCLUDE (filename), {place} FROM {evals}
        """,
        schemas.EVALS,
        _PLACE,
    ),
    View(
        "judges",
        _about(schemas.JUDGES),
        """
        SELECT * EXCLUDE (filename), {place} FROM {judges}
        """,
        schemas.JUDGES,
        _PLACE,
    ),
    View(
        "leaderboard",
        _about(schemas.LEADERBOARD),
        """
        SELECT * EXCLUDE (filename), {place} FROM {leaderboard}
        """,
        schemas.LEADERBOARD,
        _PLACE,
    ),
    View(
        "scored_pictures",
        "From a score to what is behind it: the prompt, where the picture lies (real ones for floor and ceiling), the "
        "model and the blend it learned from. The captions of the blend are in the view model_captions.",
        """
        WITH asked AS (
            SELECT s.identity AS of_scores, p.prompt_id, p.prompt, p.facts, p.reference_key
            FROM prompts AS p JOIN artifacts AS s ON s.path = p.artifact
            UNION
            SELECT s.inputs['evaluation_set'], p.prompt_id, p.prompt, p.facts, p.reference_key
            FROM prompts AS p JOIN artifacts AS s ON s.path = p.artifact
        ), real AS (
            SELECT s.identity, f.key, {dir:f} AS images, f.shard, f.image_offset, f.image_bytes
            FROM {references} AS f JOIN artifacts AS s ON s.path = regexp_replace({dir:f}, '/reference$', '')
        )
        SELECT a.asset, e.* EXCLUDE (artifact, current), p.prompt, p.facts, p.reference_key,
               coalesce(g.artifact, r.images) AS images, coalesce(g.shard, r.shard) AS shard,
               coalesce(g.image_offset, r.image_offset) AS image_offset,
               coalesce(g.image_bytes, r.image_bytes) AS image_bytes,
               m.path AS model_path, m.kind AS model_kind, m.inputs['caption_blend'] AS blend_digest,
               e.artifact, e.current
        FROM evals AS e
        JOIN artifacts AS a ON a.path = e.artifact
        LEFT JOIN asked AS p ON p.prompt_id = e.prompt_id
          AND p.of_scores = coalesce(a.inputs['prompts'], a.inputs['evaluation_set'])
        LEFT JOIN artifacts AS i ON i.asset IN ('generated_images', 'drawing')
          AND i.identity = a.inputs['generated_images']
        LEFT JOIN generated AS g ON g.artifact = i.path AND g.prompt_id = e.prompt_id AND g.seed = e.seed
        LEFT JOIN real AS r ON r.identity = a.inputs['evaluation_set'] AND r.key = e.image_key
          AND e.system IN ('floor', 'ceiling')
        LEFT JOIN models AS m ON m.digest = e.model
        WHERE e.prompt_id IS NOT NULL
        """,
        schemas.EVALS,
        {
            "asset": "Asset that gave the score: t2i_compbench, clip_score; their bounds; drawing_… of experiments.",
            "prompt": "The text that was asked for.",
            "facts": "What the prompt says, as JSON.",
            "reference_key": "Sample of the evaluation set's reference shard that shows the scene.",
            "images": "Directory of the picture, relative to the home.",
            "shard": "Name of the tar in it that holds the picture.",
            "image_offset": "Byte offset of the picture in the tar.",
            "image_bytes": "Bytes of the picture.",
            "model_path": "Directory of the model, relative to the home; null for floor and ceiling.",
            "model_kind": "Asset that the model is: latent_diffusion; diffusion_replicate of experiments.",
            "blend_digest": "Blend that the model learned from: blend_digest of the views blends and model_captions.",
            **_PLACE,
        },
    ),
    View(
        "model_captions",
        "Captions that a model learned from, with the probability of each: of its blend, or of the blend's own table "
        "for this consumer where the recipe has one.",
        """
        WITH consumers AS (
            SELECT digest AS model, kind AS model_kind, inputs['caption_blend'] AS blend_digest,
                   CASE kind WHEN 'clip_model' THEN 'clip' WHEN 'diffusion_prior' THEN 'priors'
                             WHEN 'autoregressive_prior' THEN 'priors' ELSE 'diffusion' END AS consumer
            FROM models WHERE inputs['caption_blend'] IS NOT NULL
        )
        SELECT c.model, c.model_kind, b.* EXCLUDE (current)
        FROM consumers AS c JOIN blends AS b USING (blend_digest)
        ANTI JOIN (SELECT DISTINCT blend_digest, consumer FROM consumer_blends) AS own
          ON own.blend_digest = c.blend_digest AND own.consumer = c.consumer
        UNION ALL BY NAME
        SELECT c.model, c.model_kind, b.* EXCLUDE (current, consumer)
        FROM consumers AS c JOIN consumer_blends AS b ON b.blend_digest = c.blend_digest AND b.consumer = c.consumer
        """,
        schemas.BLENDS,
        {
            "model": "Digest of the model.",
            "model_kind": "Asset that it is: latent_diffusion, clip_model …",
            "name": "Recipe.",
            "blend_digest": "Digest of the blend.",
        },
    ),
    View("votes", _about(schemas.VOTES), "SELECT * EXCLUDE (filename) FROM {votes}", schemas.VOTES),
    View(
        "elo",
        "Ratings that people's votes give, as they stood when `t2i vote` or `dataset_stats` last took them.",
        """
        SELECT * EXCLUDE (filename, rated_at), to_timestamp(rated_at) AS rated_at,
               model IN (SELECT digest FROM refs WHERE asset = 'latent_diffusion') AS current
        FROM {elo}
        """,
        schemas.ELO,
        {"rated_at": "When.", "current": "Whether it is the model that its recipe holds now."},
    ),
    View(
        "funnel",
        "From page URLs to training samples: how many passed each stage, and why the others did not.",
        """
        WITH candidates AS (
            SELECT snapshot, image_url, coalesce(bool_or(rejected IS NULL), false) AS wanted, min(rejected) AS rejected
            FROM pairs GROUP BY ALL
        ), unique_samples AS (
            SELECT s.snapshot, s.key, any_value(d.kind) FILTER (d.kind <> 'semantic') AS duplicate,
                   any_value(d.kind) FILTER (d.kind = 'semantic') AS semantic
            FROM samples AS s LEFT JOIN duplicates AS d ON d.snapshot = s.snapshot AND d.key = s.key AND NOT d.kept
            GROUP BY ALL
        ), held_out AS (
            SELECT snapshot, key, min(kind) AS kind FROM contamination
            WHERE kind IN ('exact', 'perceptual') GROUP BY ALL
        ), rows AS (
            SELECT snapshot, 1 AS stage_order, 'pages fetched' AS stage, 'page URL' AS unit,
                   CASE WHEN status IN ('ok', 'unchanged') THEN 'passed' ELSE status END AS reason
            FROM pages WHERE kind = 'page'
            UNION ALL
            SELECT snapshot, 2, 'images wanted', 'image URL', CASE WHEN wanted THEN 'passed' ELSE rejected END
            FROM candidates
            UNION ALL
            SELECT i.snapshot, 3, 'images fetched and decoded', 'image URL',
                   CASE WHEN i.status IN ('ok', 'unchanged') THEN 'passed' ELSE i.status END
            FROM images AS i ANTI JOIN candidates AS c
              ON c.snapshot = i.snapshot AND c.image_url = i.url AND NOT c.wanted
            UNION ALL
            SELECT snapshot, 4, 'samples', 'image',
                   CASE WHEN row_number() OVER (PARTITION BY snapshot, key ORDER BY url) = 1
                        THEN 'passed' ELSE 'same_bytes' END
            FROM images WHERE status IN ('ok', 'unchanged')
            UNION ALL
            SELECT snapshot, 5, 'samples without near-duplicates', 'sample', coalesce(duplicate, 'passed')
            FROM unique_samples
            UNION ALL
            SELECT snapshot, CASE source WHEN 'alt' THEN 6 WHEN 'synthetic_short' THEN 7 ELSE 8 END,
                   CASE source WHEN 'alt' THEN 'alt texts kept'
                               ELSE replace(source, '_', ' ') || ' captions kept' END,
                   'caption', CASE WHEN kept THEN 'passed' ELSE reason END
            FROM verdicts
            UNION ALL
            SELECT u.snapshot, 9, 'samples outside the evaluation set', 'sample',
                   coalesce(h.kind, 'passed')
            FROM unique_samples AS u LEFT JOIN held_out AS h USING (snapshot, key) WHERE u.duplicate IS NULL
            UNION ALL
            SELECT u.snapshot, 10, 'samples without semantic duplicates (dropped by choice)', 'sample',
                   coalesce(u.semantic, 'passed')
            FROM unique_samples AS u ANTI JOIN held_out AS h USING (snapshot, key) WHERE u.duplicate IS NULL
            UNION ALL
            SELECT DISTINCT ON (snapshot, name, key) snapshot, 11, 'training samples of ' || name, 'sample', 'passed'
            FROM blends WHERE current
        )
        FROM (SELECT snapshot, stage_order, stage, unit, reason, count(*) AS count FROM rows GROUP BY ALL)
        ORDER BY snapshot, stage_order, stage, reason <> 'passed', count DESC, reason
        """,
        fields={
            "snapshot": _SNAPSHOT,
            "stage_order": "Place of the stage on the way.",
            "stage": "Stage.",
            "unit": "What is counted: page URL, image URL, image, sample or caption.",
            "reason": "passed, or why it went no further.",
            "count": "How many.",
        },
    ),
)


def view_sql(view: View, root: Path) -> str:
    """Return the statement that makes ``view`` over the files below ``root``."""
    sql = view.sql
    for name, (_, globs) in FILES.items():
        sql = sql.replace(
            "{" + name + "}", _scan("read_parquet", root, f"{name}.parquet", globs, "union_by_name = true")
        )
    columns = f"columns = {{{MANIFEST_COLUMNS}}}"
    sql = sql.replace("{manifests}", _scan("read_json", root, f"{MANIFESTS}.json", MANIFEST_GLOBS, columns))
    columns = "columns = {path: 'VARCHAR', digest: 'VARCHAR'}"
    sql = sql.replace("{refs}", _scan("read_json", root, f"{REFS}.json", REF_GLOBS, columns))
    columns = f"columns = {{{REGISTRY_COLUMNS}}}"
    sql = sql.replace("{registry}", _scan("read_json", root, f"{REGISTRY}.json", REGISTRY_GLOBS, columns))
    sql = sql.replace("{place}", "{dir} AS artifact, {dir} IN (SELECT path FROM refs) AS current")
    for alias in ("", "m", "b", "r", "f"):
        filename = f"{alias}.filename" if alias else "filename"
        directory = f"regexp_replace({filename}[{len(str(root)) + 2}:], '/[^/]*$', '')"
        sql = sql.replace("{dir:" + alias + "}" if alias else "{dir}", directory)
    return f"CREATE VIEW {view.name} AS {sql}"


def _scan(reader: str, root: Path, seed: str, globs: tuple[str, ...], options: str) -> str:
    files = ", ".join(_quoted(f"{root}/{pattern}") for pattern in (f"{SEEDS}/{seed}", *globs))
    return f"{reader}([{files}], {options}, allow_empty = true, filename = true)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

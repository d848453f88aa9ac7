"""How each source writes, as numbers: length, openings, case, endings, vocabulary, repetition, words over-used.

A captioner's tics become those of the model that is trained on its captions. A source is what one captioner wrote
with one decoding, what people wrote in one style, or the alt texts. Everything is counted in DuckDB over columns, so a
million captions take seconds. A text is told where ``MIN_CAPTIONS`` captions share it: what fewer share is no habit.

Repetition grows with size, and sources differ in size. The tics named ``compared_…`` are therefore measured on equally
many captions of each source: the first by key (keys are digests, so that is a random sample), as many as the smallest
source of at least ``MIN_COMPARED`` has, and ``COMPARED`` at most.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from t2i_assets.corpus.schemas import CAPTION_TICS
from t2i_assets.corpus.tables import as_table

COMPARED, MIN_COMPARED = 1000, 200
MIN_CAPTIONS = 3
SHOWN = 10
PRIOR_WORDS = 1000.0
MIN_Z = 3.0
QUANTILES = (5, 25, 50, 75, 95)
DANGLING = (
    *("a", "an", "the", "and", "or", "but", "of", "to", "in", "on", "at", "by", "for", "from", "with", "without"),
    *("into", "onto", "under", "above", "below", "beside", "between", "near", "against", "is", "are", "that", "which"),
)
"""Words that an English caption does not end with, unless it was cut off."""


def caption_tics(
    *,
    captions: Sequence[Path] = (),
    earlier: Sequence[Path] = (),
    samples: Sequence[Path] = (),
    verdicts: Sequence[Path] = (),
) -> pa.Table:
    """Return the CAPTION_TICS of every source.

    ``captions`` are tables of CAPTIONS that stand now, ``earlier`` those of other captioners and decodings,
    ``samples`` sidecars (for the alt texts), ``verdicts`` about them.
    """
    with TemporaryDirectory() as scratch, duckdb.connect(config={"temp_directory": scratch}) as connection:
        connection.execute(_TEXTS)
        for sql, files in ((_WRITTEN, captions), (_WRITTEN_EARLIER, earlier), (_ALT, samples)):
            if files:
                connection.execute(sql, [list(map(str, files))])
        for statement in (_PAIRS, _SOURCES, _SAID, _COMPARED, _WORDS, _COUNTED, _TICS):
            connection.execute(statement)
        for statement in (_FIGURES, _COMPARED_FIGURES, _LENGTHS, _HABITS, _ENTROPIES, _OVERUSED):
            connection.execute(f"INSERT INTO tics BY NAME {statement}")
        if verdicts:
            connection.execute(f"INSERT INTO tics BY NAME {_VERDICTS}", [list(map(str, verdicts))])
        return as_table(connection.sql(_ROWS).to_arrow_table(), CAPTION_TICS)


_TEXTS = """
    CREATE TABLE texts (
        source VARCHAR, captioner VARCHAR, decode VARCHAR, current BOOL, key VARCHAR, caption VARCHAR
    )
"""
_WRITTEN = "INSERT INTO texts SELECT source, captioner, decode, true, key, caption FROM read_parquet(?)"
_WRITTEN_EARLIER = _WRITTEN.replace("true", "false")
_ALT = "INSERT INTO texts SELECT 'alt', NULL, NULL, true, key, alt_text FROM read_parquet(?)"

_PAIRS = "CREATE TABLE pairs AS SELECT DISTINCT * FROM texts"
"""A text that an image has twice counts once, so a text that two captions share is one of two images."""

_SOURCES = """
    CREATE TABLE sources AS
    SELECT row_number() OVER (ORDER BY source, captioner, decode, current) AS id, source, captioner, decode,
           decode->>'style' AS style, (decode->>'max_tokens')::INT AS max_tokens, current, count(*) AS captions
    FROM pairs GROUP BY source, captioner, decode, current
"""

_SAID = r"""
    CREATE TABLE said AS
    SELECT id, key, caption, trim(caption) AS text, max_tokens,
           regexp_extract_all(lower(caption), '[\p{L}\p{M}\p{N}]+(?:[''’-][\p{L}\p{M}\p{N}]+)*') AS words
    FROM pairs JOIN sources ON pairs.source = sources.source AND pairs.current = sources.current
     AND pairs.captioner IS NOT DISTINCT FROM sources.captioner AND pairs.decode IS NOT DISTINCT FROM sources.decode
"""

_COMPARED = f"""
    CREATE TABLE compared AS
    WITH size AS (
        SELECT coalesce(least({COMPARED}, min(captions) FILTER (captions >= {MIN_COMPARED})), {COMPARED}) AS n
        FROM sources
    ), last AS (
        SELECT id, keys[least(n, len(keys))] AS last
        FROM (SELECT id, min(key, {COMPARED}) AS keys FROM said GROUP BY id), size
    )
    SELECT id, key, caption, words FROM said JOIN last USING (id) WHERE key <= last
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY key, caption) <= (SELECT n FROM size)
"""

_WORDS = """
    CREATE TABLE words AS
    SELECT * FROM (SELECT id, word, count(*) AS times FROM (SELECT id, unnest(words) AS word FROM said) GROUP BY ALL)
    JOIN (SELECT id, word, count(*) AS captions FROM (SELECT id, unnest(list_distinct(words)) AS word FROM said)
          GROUP BY ALL) USING (id, word)
"""

_TICS = "CREATE TABLE tics (id BIGINT, tic VARCHAR, rank INT, text VARCHAR, value DOUBLE, captions BIGINT)"

_FIGURES = f"""
    UNPIVOT (
        SELECT id, count(*)::DOUBLE AS captions, count(DISTINCT key)::DOUBLE AS images,
               avg(len(words)) AS words_mean, sqrt(avg(len(words)**2) - avg(len(words))**2) AS words_sd,
               {", ".join(f"quantile_cont(len(words), {q / 100}) AS words_p{q:02}" for q in QUANTILES)},
               avg((regexp_matches(text, '(,|…|[.][.][.])$') OR coalesce(len(words) >= max_tokens, false)
                    OR coalesce(list_contains({list(DANGLING)}, words[-1]), false))::INT) AS cut_off,
               coalesce(any_value(vocabulary), 0)::DOUBLE AS vocabulary,
               coalesce(any_value(repeated), 0)::DOUBLE AS repeated
        FROM said
        LEFT JOIN (SELECT id, count(*) AS vocabulary FROM words GROUP BY id) USING (id)
        JOIN (SELECT id, sum(captions) FILTER (captions > 1) / sum(captions) AS repeated
              FROM counted WHERE tic = 'repeated_text' GROUP BY id) USING (id)
        GROUP BY id
    ) ON COLUMNS(* EXCLUDE id) INTO NAME tic VALUE value
"""
"""Cut off is what ends in a comma, an ellipsis or such a word, or has as many words as its decoder may write tokens."""

_COMPARED_FIGURES = """
    UNPIVOT (
        SELECT id, count(*)::DOUBLE AS compared_captions,
               1 - count(DISTINCT caption) / count(*) AS compared_repeats,
               len(list_distinct(flatten(list(words)))) / sum(len(words)) AS compared_distinct_1,
               len(list_distinct(flatten(list(pairs)))) / sum(len(pairs)) AS compared_distinct_2
        FROM (SELECT *, list_zip(words[:len(words) - 1], words[2:]) AS pairs FROM compared) GROUP BY id
    ) ON COLUMNS(* EXCLUDE id) INTO NAME tic VALUE value
"""
"""Distinct words and pairs of words over all of them: distinct-1 and -2 of Li et al., "A Diversity-Promoting
Objective Function for Neural Conversation Models" (2016)."""

_LENGTHS = """
    SELECT id, 'length' AS tic, len(words) AS rank, count(*) / any_value(n) AS value, count(*) AS captions
    FROM said JOIN (SELECT id, captions AS n FROM sources) USING (id) GROUP BY id, len(words)
"""

_SMALL_WORDS = r"\b(a|an|the|of|and|or|in|on|with|to|at|by|for|from)\b"
_CASE = rf"""
    CASE WHEN upper(text) = lower(text) THEN 'no letters'
         WHEN text = lower(text) THEN 'lower'
         WHEN text = upper(text) AND len(words) > 1 THEN 'upper'
         WHEN NOT regexp_matches(text, '^[^\p{{L}}]*\p{{Lu}}') THEN 'mixed'
         WHEN len(words) > 1 AND NOT regexp_matches(
              regexp_replace(text, '{_SMALL_WORDS}', '', 'g'), '(^|[^\p{{L}}\p{{M}}\p{{N}}''’])\p{{Ll}}') THEN 'title'
         ELSE 'sentence' END
"""
_ENDING = r"""
    CASE WHEN text = '' THEN 'nothing'
         WHEN ends_with(text, '...') OR ends_with(text, '…') THEN '…'
         WHEN regexp_matches(text, '[\p{L}\p{M}\p{N}]$') THEN 'no mark'
         WHEN right(text, 1) IN ('.', ',', '!', '?', ';', ':') THEN right(text, 1)
         ELSE 'another mark' END
"""

_OPENINGS = {f"opening_{n}": f"array_to_string(words[:{n}], ' ')" for n in (1, 2, 3)}
_TEXTS_OF = {"case": _CASE, "ending": _ENDING, **_OPENINGS, "repeated_text": "caption"}
_COUNTED = "CREATE TABLE counted AS " + " UNION ALL ".join(
    f"SELECT id, '{tic}' AS tic, {sql} AS text, count(*) AS captions FROM said GROUP BY ALL"
    for tic, sql in _TEXTS_OF.items()
)

_HABITS = f"""
    SELECT id, tic, row_number() OVER (PARTITION BY id, tic ORDER BY counted.captions DESC, text) AS rank, text,
           counted.captions / sources.captions AS value, counted.captions
    FROM counted JOIN sources USING (id)
    WHERE tic IN ('case', 'ending') OR counted.captions >= {MIN_CAPTIONS}
    QUALIFY rank <= {SHOWN}
"""

_ENTROPIES = """
    SELECT id, tic || '_entropy' AS tic, -sum(share * log2(share) ORDER BY share, text) AS value
    FROM (SELECT id, tic, text, counted.captions / sources.captions AS share FROM counted JOIN sources USING (id))
    WHERE starts_with(tic, 'opening') GROUP BY id, tic
"""

_OVERUSED = f"""
    WITH reference AS (
        SELECT ours.id, theirs.id AS other FROM sources AS ours JOIN sources AS theirs ON ours.source <> 'human'
        WHERE theirs.source = 'human' AND (theirs.style IS NOT DISTINCT FROM ours.style OR ours.style IS NULL
              OR NOT EXISTS (FROM sources WHERE source = 'human' AND style = ours.style))
    ), theirs AS (
        SELECT reference.id, word, sum(times) AS times FROM reference JOIN words ON words.id = other GROUP BY ALL
    ), sizes AS (
        SELECT id, a.n AS ours, b.n AS others
        FROM (SELECT id, sum(times) AS n FROM words GROUP BY id) AS a
        JOIN (SELECT id, sum(times) AS n FROM theirs GROUP BY id) AS b USING (id)
    ), used AS (
        SELECT id, word, words.captions, words.times AS y, coalesce(theirs.times, 0) AS x,
               {PRIOR_WORDS} * (y + x) / (ours + others) AS a, ours AS n, others AS m
        FROM words JOIN sizes USING (id) LEFT JOIN theirs USING (id, word)
    )
    SELECT id, 'overused' AS tic, word AS text, captions,
           (ln((y + a) / (n + {PRIOR_WORDS} - y - a)) - ln((x + a) / (m + {PRIOR_WORDS} - x - a)))
           / sqrt(1 / (y + a) + 1 / (x + a)) AS value,
           row_number() OVER (PARTITION BY id ORDER BY value DESC, text) AS rank
    FROM used WHERE captions >= {MIN_CAPTIONS} AND value >= {MIN_Z}
    QUALIFY rank <= {SHOWN}
"""
"""Log-odds against people's captions (of the same style where there are such), in standard deviations.

Source: Monroe, Colaresi and Quinn, "Fightin' Words" (2008), with an informative Dirichlet prior: the words of both in
their proportions, ``PRIOR_WORDS`` in all.
"""

_VERDICTS = """
    WITH judged AS (
        SELECT id, CASE WHEN kept THEN 'kept' ELSE 'rejected' END AS tic, CASE WHEN NOT kept THEN reason END AS text
        FROM read_parquet(?) AS verdicts
        JOIN sources ON sources.source = verdicts.source AND sources.current
    )
    SELECT id, tic, CASE WHEN text IS NOT NULL THEN row_number() OVER (PARTITION BY id, tic ORDER BY n DESC, text) END
           AS rank, text, n / sum(n) OVER (PARTITION BY id) AS value, n AS captions
    FROM (SELECT id, tic, text, count(*) AS n FROM judged GROUP BY ALL)
"""

_ROWS = """
    SELECT source, captioner, decode, current, tic, rank::INT AS rank, text, value, tics.captions
    FROM tics JOIN sources USING (id) ORDER BY id, tic, rank NULLS FIRST, text
"""

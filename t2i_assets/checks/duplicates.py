"""Check of decontamination: what models train on holds nothing of what they are scored with."""

import dagster as dg

from t2i_assets.assets.blend import caption_blend
from t2i_assets.corpus.blending import recipe_of, tables_below
from t2i_assets.corpus.schemas import BLENDS, CONTAMINATION
from t2i_assets.corpus.tables import read_rows
from t2i_assets.materialize import made, made_everywhere
from t2i_assets.metadata import rows_table
from t2i_assets.resources import Pipeline

SHOWN = 20
SAME_IMAGE = frozenset({"exact", "perceptual"})


@dg.asset_check(asset=caption_blend, blocking=True)
def evaluation_set_is_held_out(context: dg.AssetCheckExecutionContext, pipeline: Pipeline) -> dg.AssetCheckResult:
    """No sample that the blend can draw shows an image of the evaluation set, or agrees in what the recipe forbids.

    It only warns where the recipe itself does without decontamination of images.
    """
    return held_out(pipeline, context.partition_key)


def held_out(pipeline: Pipeline, partition: str) -> dg.AssetCheckResult:
    """Return what the check says of one recipe's blend."""
    blend = made(pipeline, "caption_blend", partition)
    recipe = recipe_of(blend)
    drawn = {row["key"] for file in tables_below(blend.path) for row in read_rows(file, BLENDS, ["key"])}
    parts = list(made_everywhere(pipeline, "contamination").values())
    if recipe.include_human_samples:
        parts.append(made(pipeline, "human_contamination"))
    rows = [row for part in parts for row in read_rows(part.path, CONTAMINATION)]
    forbidden = SAME_IMAGE | set(recipe.decontaminate)
    leaked = [row for row in rows if row["kind"] in forbidden and row["key"] in drawn]
    tolerated = {row["key"] for row in rows if row["kind"] not in forbidden} & drawn
    obeyed = set(recipe.decontaminate) >= SAME_IMAGE
    return dg.AssetCheckResult(
        passed=bool(drawn) and not leaked,
        severity=dg.AssetCheckSeverity.ERROR if obeyed else dg.AssetCheckSeverity.WARN,
        metadata={
            "samples": len(drawn),
            "agreements checked": sum(row["kind"] in forbidden for row in rows),
            "samples with other agreements, not forbidden": len(tolerated),
            "leaked": rows_table(
                {name: row[name] for name in ("key", "kind", "reference", "detail")} for row in leaked[:SHOWN]
            ),
        },
    )

"""What the report shows of the judges: what each is worth on held-out pictures, side by side and disturbed."""

from dataclasses import dataclass

from t2i_assets.report.evidence import Evidence

RULES = ("attributes", "spatial", "numeracy")
SHARP = "sharp"


@dataclass(frozen=True)
class Measured:
    """One judge on sharp pictures; mean scores by rule. ``kappa`` is its agreement with the trained judge."""

    judge: str
    whole: float | None
    ceiling: list[float | None]
    floor: list[float | None]
    swapped: float | None
    kappa: float | None


@dataclass(frozen=True)
class JudgeBench:
    """Every judge; and for those that were ``tried`` so, the share of pictures read whole under each disturbance."""

    judges: list[Measured]
    tried: list[str]
    disturbed: list[tuple[str, list[float | None]]]


def judge_bench(evidence: Evidence) -> JudgeBench | None:
    """Return what the judges were measured at; None where none was measured."""
    rows = evidence.rows("SELECT judge, condition, measure, other, value FROM judges WHERE current")
    if not rows:
        return None
    values = {(row["judge"], row["condition"], row["measure"], row["other"]): row["value"] for row in rows}

    def sharp(judge: str, measure: str, other: str | None = None) -> float | None:
        return values.get((judge, SHARP, measure, other))

    judges = [
        Measured(
            judge,
            sharp(judge, "whole"),
            [sharp(judge, f"ceiling/{rule}") for rule in RULES],
            [sharp(judge, f"floor/{rule}") for rule in RULES],
            sharp(judge, "swapped/attributes"),
            sharp(judge, "kappa", "trained"),
        )
        for judge in dict.fromkeys(row["judge"] for row in rows)
    ]
    tried = list(dict.fromkeys(row["judge"] for row in rows if row["condition"] != SHARP))
    conditions = dict.fromkeys(row["condition"] for row in rows if row["condition"] != SHARP)
    return JudgeBench(
        judges, tried, [(c, [values.get((judge, c, "whole", None)) for judge in tried]) for c in conditions]
    )

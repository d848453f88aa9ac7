"""docs/claims.md and docs/claims.json: every claim with its verdict, and the tables behind them."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from t2i_assets.claims.claim import Claim, Finding, Row
from t2i_assets.claims.statistics import Effect

PICTURES = {name: f"images/claims-{name}.svg" for name in ("sweep", "guidance")}
"""Findings that are drawn, and where."""

INTRODUCTION = """\
# Claims

Claims of the field, tried in miniature on the embedded web site, where the truth behind every picture is known.
Written by `t2i claims`; do not edit by hand. `claims.json` holds the same for programs.

A claim is *confirmed* where the whole {interval:.0%} interval lies beyond its bound (0 where none is named), *refuted*
where it lies on the other side, and *undecided* between: a refuted claim is a result. Intervals are over resampled
pictures (or prompts' scenes) and seeds of training. At this size an effect says that the mechanism works, or does
not, in this world; it does not say how large it is on photographs.
"""


def dump(finding: Finding) -> str:
    """Return a finding as JSON text."""
    return json.dumps(as_json(finding), indent=1, ensure_ascii=False) + "\n"


def load(path: Path) -> Finding:
    """Read the finding that ``dump`` wrote."""
    return from_json(json.loads(path.read_text()))


def as_markdown_claims(path: Path) -> str:
    """Return the claims of a written finding as a table."""
    return claims_table(load(path).claims)


def as_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON values; effects become {value, low, high}."""
    plain = asdict(finding)
    for claim, told in zip(finding.claims, plain["claims"], strict=True):
        told |= {"effect": _plain(claim.effect), "verdict": claim.verdict}
    plain["rows"] = [{name: _plain(value) for name, value in row.items()} for row in finding.rows]
    return plain


def from_json(plain: dict[str, Any]) -> Finding:
    """Return the finding that ``as_json`` wrote."""
    claims = [
        Claim(
            **{name: value for name, value in told.items() if name not in ("verdict", "effect")},
            effect=_rich(told["effect"]),
        )
        for told in plain["claims"]
    ]
    rows = [{name: _rich(value) for name, value in row.items()} for row in plain["rows"]]
    return Finding(**{**plain, "claims": claims, "rows": rows})


def write_claims(findings: Sequence[Finding], interval: float, directory: Path) -> None:
    """Write claims.md and claims.json into ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    told = {"interval": interval, "findings": [as_json(finding) for finding in findings]}
    (directory / "claims.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    (directory / "claims.md").write_text(as_markdown(findings, interval))


def as_markdown(findings: Sequence[Finding], interval: float) -> str:
    """Return the page."""
    parts = [INTRODUCTION.format(interval=interval), _summary(findings)]
    for finding in findings:
        lines = [
            f"## {finding.title}",
            finding.setup,
            f"*Budget.* {finding.budget}" if finding.budget else "",
            claims_table(finding.claims),
            _table(finding.columns, finding.rows),
        ]
        picture = f"![{finding.title}]({PICTURES[finding.name]})" if finding.name in PICTURES else ""
        parts += [*lines, picture, *finding.notes]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _summary(findings: Sequence[Finding]) -> str:
    claims = [claim for finding in findings for claim in finding.claims]
    rows = [{"claim": claim.statement, "effect": claim.effect, "verdict": f"**{claim.verdict}**"} for claim in claims]
    return _table(("claim", "effect", "verdict"), rows)


def claims_table(claims: Sequence[Claim]) -> str:
    """Return claims as a Markdown table."""
    rows = [
        {
            "claim": claim.statement,
            "source": claim.source,
            "compared": claim.compared,
            "effect": f"{claim.effect} ({claim.measure}{f'; bound {claim.bound:g}' if claim.bound else ''})",
            "seeds": f"{claim.seeds} × {claim.clusters}",
            "verdict": f"**{claim.verdict}**",
        }
        for claim in claims
    ]
    return _table(("claim", "source", "compared", "effect", "seeds", "verdict"), rows)


def _table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_cell(row.get(column)) for column in columns) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, Effect) and math.isnan(value.value)):
        return ""
    if isinstance(value, Effect):
        digits = 1 if abs(value.value) >= 10 else 3
        return f"{value.value:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _plain(value: Any) -> Any:
    """Return an effect as {value, low, high}, each null where nothing could be measured; anything else as it is."""
    if not isinstance(value, Effect):
        return value
    return {name: number if math.isfinite(number) else None for name, number in asdict(value).items()}


def _rich(value: Any) -> Any:
    if not (isinstance(value, dict) and value.keys() == {"value", "low", "high"}):
        return value
    return Effect(**{name: math.nan if number is None else number for name, number in value.items()})

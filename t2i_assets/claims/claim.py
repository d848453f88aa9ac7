"""A claim, what was compared to try it, and the verdict that the interval allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from t2i_assets.claims.statistics import Effect

Verdict = Literal["confirmed", "refuted", "undecided"]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """One claim of a paper or of this project; it holds where the effect lies at or above ``bound``."""

    name: str
    statement: str
    source: str
    compared: str
    measure: str
    effect: Effect
    seeds: int
    clusters: str
    bound: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """Return confirmed where the whole interval is at or above the bound, refuted where it is all below."""
        if self.effect.low >= self.bound and (self.effect.low > 0 or self.bound != 0):
            return "confirmed"
        return "refuted" if self.effect.high < self.bound else "undecided"


@dataclass(frozen=True)
class Finding:
    """What an experiment found: its claims, the table behind them, what a reader should know, and what it cost."""

    name: str
    title: str
    setup: str
    claims: Sequence[Claim]
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default=())
    budget: str = ""

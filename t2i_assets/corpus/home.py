"""Where everything lies under ``T2I_HOME``."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The directory that holds every artifact; each method names one kind of place in it."""

    root: Path

    def ledger(self, snapshot: str) -> Path:
        return self.root / "ledger" / snapshot

    def pages(self, snapshot: str) -> Path:
        return self.root / "pages" / snapshot

    def pairs(self, snapshot: str) -> Path:
        return self.root / "pairs" / snapshot

    def shards(self, snapshot: str) -> Path:
        return self.root / "shards" / snapshot

    def dedup(self, snapshot: str) -> Path:
        return self.root / "dedup" / snapshot

    def semantic(self, snapshot: str) -> Path:
        return self.root / "semantic" / snapshot

    def contamination(self, snapshot: str) -> Path:
        return self.root / "contamination" / snapshot

    def human(self, digest: str) -> Path:
        return self.root / "human" / digest

    def captions(self, captioner: str, writing: str, snapshot: str) -> Path:
        """``writing`` is the digest of how the captioner was asked: styles, decode settings, precision and seed."""
        return self.root / "captions" / f"{captioner}-{writing}" / snapshot

    def scores(self, scorer: str, snapshot: str) -> Path:
        return self.root / "scores" / scorer / snapshot

    def verdicts(self, snapshot: str) -> Path:
        return self.root / "verdicts" / snapshot

    def tics(self, snapshot: str) -> Path:
        return self.root / "tics" / snapshot

    def blend(self, name: str, digest: str) -> Path:
        return self.root / "blends" / name / digest

    def features(self, encoder: str, snapshot: str) -> Path:
        return self.root / "features" / encoder / snapshot

    def model(self, kind: str, digest: str) -> Path:
        return self.root / "models" / kind / digest

    def evals(self, kind: str, digest: str) -> Path:
        return self.root / "evals" / kind / digest

    @property
    def votes(self) -> Path:
        return self.root / "votes"

    @property
    def elo(self) -> Path:
        return self.votes / "elo.parquet"

    @property
    def purges(self) -> Path:
        return self.root / "purges"

    @property
    def registry(self) -> Path:
        return self.root / "models" / "registry.json"

    @property
    def refs(self) -> Path:
        return self.root / "refs"

    @property
    def catalog(self) -> Path:
        return self.root / "catalog.duckdb"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

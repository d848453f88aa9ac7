"""What was purged and must never come back: its keys, URLs and hosts, as every purge of the home names them."""

import json
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from t2i_assets.corpus.home import Home


@dataclass(frozen=True)
class Suppression:
    """The rules of all purges. An empty one refuses nothing."""

    keys: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def load(cls, home: Home) -> Self:
        """Read the plan of every purge below ``purges/``; one that was not finished counts too.

        The keys of the samples that a host or URL took along count as well: their images may lie elsewhere.
        """
        found: dict[str, set[str]] = {"key": set(), "url": set(), "host": set()}
        for plan in sorted(home.purges.glob("*/plan.json")):
            told = json.loads(plan.read_text())
            for rule in told["rules"]:
                found[rule["kind"]].add(rule["value"])
            found["key"] |= {sample["key"] for sample in told.get("samples", ())}
        return cls(frozenset(found["key"]), frozenset(found["url"]), frozenset(found["host"]))

    def rule(self, url: str | None = None, key: str | None = None) -> str | None:
        """Return the rule that refuses a URL or a key, as ``host=a.org``, or None; a host covers its subdomains."""
        if key is not None and key in self.keys:
            return f"key={key}"
        if url is None or not (self.urls or self.hosts):
            return None
        if url in self.urls:
            return f"url={url}"
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:
            return None
        labels = host.split(".")
        covering = (".".join(labels[start:]) for start in range(len(labels)))
        return next((f"host={name}" for name in covering if name in self.hosts), None)


NOTHING_PURGED = Suppression()

"""What an origin reserves in /.well-known/tdmrep.json (TDM Reservation Protocol, "TDM File on the Origin Server")."""

import json
from dataclasses import dataclass
from typing import Any

from t2i_assets.crawl.consent.path_patterns import NormalPath, PathPattern
from t2i_assets.crawl.consent.verdict import Verdict, reserved

TDM_PATH = "/.well-known/tdmrep.json"


@dataclass(frozen=True)
class _Reservation:
    location: str
    pattern: PathPattern
    reserves: bool
    policies: tuple[str, ...]


@dataclass(frozen=True)
class TdmFile:
    """The rules of one origin in the order of the file."""

    reservations: tuple[_Reservation, ...] = ()

    def verdict(self, url: str) -> Verdict:
        """Return whether mining ``url`` is free; the first rule whose location matches decides."""
        path = NormalPath.of(url)
        rule = next((rule for rule in self.reservations if rule.pattern.matches(path)), None)
        if rule is None or not rule.reserves:
            return Verdict(True, "allowed")
        return reserved(rule.policies, f"{TDM_PATH}: location: {rule.location}; ")


def parse_tdm_file(body: bytes) -> TdmFile:
    """Read a tdmrep.json; what is not of the protocol's form reserves nothing."""
    try:
        document = json.loads(body.decode("utf-8-sig", "replace"), parse_int=str)
    except (ValueError, RecursionError):
        return TdmFile()
    entries = document if isinstance(document, list) else [document]
    return TdmFile(tuple(rule for entry in entries if (rule := _reservation(entry)) is not None))


def _reservation(entry: Any) -> _Reservation | None:
    """Return the rule of one entry; one that says neither 0 nor 1 is an error and no rule."""
    if not isinstance(entry, dict) or not isinstance(entry.get("location"), str):
        return None
    value = str(entry.get("tdm-reservation")).strip()
    if value not in ("0", "1"):
        return None
    location, policy = entry["location"].strip(), entry.get("tdm-policy")
    pattern = PathPattern.parse(location.encode("utf-8", "surrogatepass").decode("latin-1"))
    return _Reservation(location, pattern, value == "1", (policy,) if isinstance(policy, str) else ())

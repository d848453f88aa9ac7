"""What was purged stays away: hosts with their subdomains, URLs and keys."""

import json
from pathlib import Path

import pytest

from t2i_assets.corpus.home import Home
from t2i_assets.corpus.suppression import Suppression


@pytest.fixture
def purged(tmp_path: Path) -> Suppression:
    plans = {
        "first": [{"kind": "host", "value": "example.org"}, {"kind": "key", "value": "k1"}],
        "second": [{"kind": "url", "value": "https://other.test/a.jpg"}],
    }
    for name, rules in plans.items():
        place = tmp_path / "purges" / name
        place.mkdir(parents=True)
        (place / "plan.json").write_text(json.dumps({"rules": rules}))
    return Suppression.load(Home(tmp_path))


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("https://example.org/a.jpg", "host=example.org"),
        ("http://img.cdn.Example.org:8080/a.jpg", "host=example.org"),
        ("https://notexample.org/a.jpg", None),
        ("https://example.org.evil.test/a.jpg", None),
        ("https://other.test/a.jpg", "url=https://other.test/a.jpg"),
        ("https://other.test/b.jpg", None),
        ("file:///photos/a.jpg", None),
        ("http://[broken", None),
    ],
)
def test_a_url_is_refused_by_its_host_or_itself(purged: Suppression, url: str, rule: str | None) -> None:
    assert purged.rule(url=url) == rule


def test_a_key_is_refused_wherever_it_is_met(purged: Suppression) -> None:
    assert purged.rule(url="https://new.test/copy.jpg", key="k1") == "key=k1"
    assert purged.rule(key="k2") is None


def test_a_home_without_purges_refuses_nothing(tmp_path: Path) -> None:
    assert Suppression.load(Home(tmp_path)).rule(url="https://example.org/", key="k1") is None

"""Which tests share a worker: those of one file do, and all that run the whole graph do."""

from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests for ``--dist loadgroup``: two whole graphs at once would only wait for each other's cores."""
    for item in items:
        heavy = item.get_closest_marker("graph") or item.get_closest_marker("ui")
        item.add_marker(pytest.mark.xdist_group("graph" if heavy else Path(item.path).stem))

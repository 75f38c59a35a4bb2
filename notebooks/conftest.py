"""What nbval does not compare: progress and warnings, players (their bytes), drawings."""

import pytest


def pytest_collectstart(collector: pytest.Collector) -> None:
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr", "text/html", "image/svg+xml")

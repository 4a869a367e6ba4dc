"""The dashboard and the alerts ask for metrics that a worker's page has, by labels that these have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
import yaml

from memrepo_worker.metrics.joined import joined_registry
from memrepo_worker.metrics.requests import PHASES
from memrepo_worker.metrics.server import build_registry
from memrepo_worker.observe import Counters, RequestEnded
from tests.support.documents import ROOT

_DASHBOARD = ROOT / "docs/monitoring/grafana.json"
_ALERTS = ROOT / "docs/monitoring/alerts.yml"
_PAGE = ROOT / "docs/monitoring.md"

_METRIC = re.compile(r"\b(?:memrepo|process)_[a-z_]+")
_SELECTED = re.compile(r"\b((?:memrepo|process)_[a-z_]+)(?:\{([^}]*)\})?")
_BY = re.compile(r"\bby \(([^)]*)\)")
_OF_THE_SCRAPE = {"job", "instance", "le"}


def dashboard_queries() -> Iterator[str]:
    for panel in json.loads(_DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def alert_queries() -> Iterator[str]:
    for group in yaml.safe_load(_ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


@pytest.fixture(scope="module")
def page() -> dict[str, set[str]]:
    """What a worker's page holds once each kind of thing was counted: name of a sample → its labels."""
    counters = Counters()
    registry = build_registry(counters, list, lambda: {"agent_depth_max": 0}, cell="a")
    counters.count("bounds.turn_time")
    counters.count("upkeep.fold.done")
    counters.request_ended(
        RequestEnded("commit", None, "r", "j", "failed", "HeadMovedError", None, 1, 0.1, 0.1, 0.1, 0.1, 0.1)
    )
    samples: dict[str, set[str]] = {}
    for family in [*registry.collect(), *joined_registry(dict, processes=2).collect()]:
        for sample in family.samples:
            samples.setdefault(sample.name, set()).update(sample.labels)
    return samples


@pytest.mark.parametrize("query", [*dashboard_queries(), *alert_queries()])
def test_each_query_names_metrics_and_labels_of_the_page(page: dict[str, set[str]], query: str) -> None:
    found = _SELECTED.findall(query)
    assert found
    for metric, selectors in found:
        assert metric in page
        known = page[metric] | _OF_THE_SCRAPE
        assert set(re.findall(r"(\w+)\s*[=!]", selectors)) <= known
        assert {label.strip() for labels in _BY.findall(query) for label in labels.split(",")} <= known


def test_the_dashboard_shows_every_metric_that_the_page_documents() -> None:
    documented = set(re.findall(r"^\| `(memrepo_[a-z_]+)` ", _PAGE.read_text(), re.MULTILINE))
    shown = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for query in dashboard_queries()
        for name in _METRIC.findall(query)
    }

    assert len(documented) > 20
    # How many shards there are is a constant, as is who tells; what has no name of its own may change it.
    constants = {"memrepo_shards", "memrepo_worker_info"}
    assert documented - shown == constants | {"memrepo_groups_total", "memrepo_events_total"}


def test_what_each_process_tells_of_itself_is_shown_by_its_number() -> None:
    """A page of several processes has one instance, and a series of each: they would have one name."""
    of_each = {
        target["expr"]: target["legendFormat"]
        for panel in json.loads(_DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", ())
        if not re.search(r"\b(sum|max|histogram_quantile)\b", target["expr"])
    }

    assert len(of_each) == 6
    assert all("{{instance}} {{process}}" in legend for legend in of_each.values())


def test_each_phase_and_each_panel_says_what_it_is() -> None:
    panels = [panel for panel in json.loads(_DASHBOARD.read_text())["panels"] if panel["type"] != "row"]

    assert all(panel["title"] for panel in panels)
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(phase in _PAGE.read_text() for phase in PHASES)


def test_each_alert_says_what_is_wrong_and_where_to_look() -> None:
    for group in yaml.safe_load(_ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["description"]

"""The pages of several processes as one: each sample says by ``process`` which of them it is of."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from typing_extensions import override

_TIMEOUT_S = 5.0

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A host's proxy, of which its environment tells, knows nothing of this machine's own ports."""

Pages = Callable[[], Mapping[int, str]]
"""The addresses of the pages of the processes that run now, by their numbers."""


class JoinedPages(Collector):
    """Reads the processes' pages at each scrape. One that does not answer is left out, and not counted as up."""

    def __init__(self, pages: Pages, processes: int) -> None:
        self._pages = pages
        self._processes = processes

    @override
    def collect(self) -> Iterator[Metric]:
        joined: dict[str, Metric] = {}
        answered = 0
        for number, url in sorted(self._pages().items()):
            try:
                text = _read(url)
            except (OSError, HTTPException):  # the latter where it ends while it answers
                continue
            answered += 1
            for family in text_string_to_metric_families(text):
                _add(joined, family, str(number))
        yield GaugeMetricFamily("memrepo_processes", "Processes that are to run here.", value=self._processes)
        yield GaugeMetricFamily("memrepo_processes_up", "Those that answered this scrape.", value=answered)
        yield from joined.values()


def joined_registry(pages: Pages, processes: int) -> CollectorRegistry:
    """Return the metrics of several processes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(JoinedPages(pages, processes))
    return registry


def _read(url: str) -> str:
    with _DIRECT.open(url, timeout=_TIMEOUT_S) as answer:
        return bytes(answer.read()).decode()


def _add(joined: dict[str, Metric], family: Metric, process: str) -> None:
    metric = joined.setdefault(family.name, Metric(family.name, family.documentation, family.type))
    metric.samples += [
        sample._replace(labels={**sample.labels, "process": process}) for sample in family.samples
    ]

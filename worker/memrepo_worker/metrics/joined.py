"""The pages of several processes as one: each sample says by ``process`` which of them it is of."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException, IncompleteRead

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from typing_extensions import override

from memrepo.clock import steady_clock
from memrepo.limits import KIB, MIB

TIMEOUT_S = 5.0
"""How long a scrape waits for all pages together: half of what Prometheus waits for a scrape."""

_PAGE_BYTES_MAX = 16 * MIB
_PIECE_BYTES = 64 * KIB

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A host's proxy, of which its environment tells, knows nothing of this machine's own ports."""

Pages = Callable[[], Mapping[int, str]]
"""The addresses of the pages of the processes that run now, by their numbers."""


class JoinedPages(Collector):
    """Reads the processes' pages at each scrape, side by side.

    One that does not answer in time, or not as it should, is left out, and not counted as up.
    """

    def __init__(self, pages: Pages, processes: int, timeout_s: float) -> None:
        self._pages = pages
        self._processes = processes
        self._timeout_s = timeout_s

    @override
    def collect(self) -> Iterator[Metric]:
        joined: dict[str, Metric] = {}
        answered = 0
        for number, families in sorted(_read_all(self._pages(), self._timeout_s).items()):
            answered += 1
            for family in families:
                _add(joined, family, str(number))
        yield GaugeMetricFamily("memrepo_processes", "Processes that are to run here.", value=self._processes)
        yield GaugeMetricFamily("memrepo_processes_up", "Those that answered this scrape.", value=answered)
        yield from joined.values()


def joined_registry(pages: Pages, processes: int, timeout_s: float = TIMEOUT_S) -> CollectorRegistry:
    """Return the metrics of several processes, of those whose pages come within so many seconds."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(JoinedPages(pages, processes, timeout_s))
    return registry


def _read_all(pages: Mapping[int, str], timeout_s: float) -> dict[int, list[Metric]]:
    """Return what the pages say, of those that could be read in time."""
    until_s = steady_clock() + timeout_s
    found: dict[int, list[Metric]] = {}

    def read(number: int, url: str) -> None:
        with suppress(OSError, HTTPException, ValueError):  # it may end while it answers
            found[number] = list(text_string_to_metric_families(_read(url, until_s)))

    threads = [threading.Thread(target=read, args=page, daemon=True) for page in pages.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until_s - steady_clock()))
    return dict(found)


def _read(url: str, until_s: float) -> str:
    """Read a page.

    Raises:
        OSError, HTTPException: it cannot be read, or not by then.
    """
    read = bytearray()
    with _DIRECT.open(url, timeout=max(0.1, until_s - steady_clock())) as answer:
        while piece := answer.read1(_PIECE_BYTES):
            read += piece
            if steady_clock() > until_s or len(read) > _PAGE_BYTES_MAX:
                raise TimeoutError
        if answer.length:
            raise IncompleteRead(bytes(read), answer.length)
    return read.decode()


def _add(joined: dict[str, Metric], family: Metric, process: str) -> None:
    metric = joined.setdefault(family.name, Metric(family.name, family.documentation, family.type))
    metric.samples += [
        sample._replace(labels={**sample.labels, "process": process}) for sample in family.samples
    ]

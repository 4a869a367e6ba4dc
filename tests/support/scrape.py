"""A page of metrics as Prometheus reads it, asked by names and labels."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


@dataclass(frozen=True)
class Scrape:
    """What pages said at one moment; of several workers, one after the other."""

    samples: Sequence[Sample]

    def each(self, name: str, **labels: str) -> Mapping[tuple[tuple[str, str], ...], float]:
        """Return the samples of a name that have these labels (and maybe more), by all their labels."""
        return {
            tuple(sorted(sample.labels.items())): sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }

    def total(self, name: str, **labels: str) -> float:
        """Return what these samples add up to; 0 where there are none."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def values(self, name: str, **labels: str) -> list[float]:
        """Return the values of these samples, in the order of the page."""
        return [
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    @property
    def names(self) -> set[str]:
        """The names of all samples."""
        return {sample.name for sample in self.samples}


def scrape(*ports: int) -> Scrape:
    """Read the pages of the workers that serve them at these ports of this machine."""
    samples: list[Sample] = []
    for port in ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        samples += [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return Scrape(samples)

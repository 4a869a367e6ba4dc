"""Programs that trace: by the lines of docs/monitoring.md, beside what OpenTelemetry and Sentry have for Celery."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.documents import ROOT, blocks

_BESIDE = """
import json, sentry_sdk
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

CeleryInstrumentor().instrument()


class Kept(Transport):
    def capture_envelope(self, envelope):
        with open({kept!r}, "a") as file:
            for item in envelope.items:
                file.write(json.dumps(item.payload.json) + "\\n")


sentry_sdk.init(
    "http://key@127.0.0.1:1/1", transport=Kept, traces_sample_rate=1.0, integrations=[CeleryIntegration()]
)
"""


@dataclass(frozen=True)
class Traced:
    """Where a program's spans and what Sentry was told lie, and the variable by which Python is made to trace."""

    folder: Path

    @classmethod
    def prepare(cls, folder: Path) -> Traced:
        """Write what Python runs first in each program that has this on its path."""
        traced = cls(folder)
        folder.mkdir()
        (shown,) = blocks(ROOT / "docs" / "monitoring.md", "python")
        exporter = "ConsoleSpanExporter()"
        assert exporter in shown.code
        ours = shown.code.replace(exporter, f"ConsoleSpanExporter(out=open({str(traced._spans)!r}, 'a'))")
        kept = str(folder / "sentry")
        (folder / "sitecustomize.py").write_text(ours + _BESIDE.format(kept=kept))
        return traced

    @property
    def env(self) -> Mapping[str, str]:
        return {"PYTHONPATH": str(self.folder)}

    @property
    def _spans(self) -> Path:
        return self.folder / "spans"

    def spans(self) -> list[Span]:
        """Return what was recorded; of a program that has ended."""
        text, decoder = self._spans.read_text(), json.JSONDecoder()
        found, at = [], 0
        while at < len(text.rstrip()):
            value, at = decoder.raw_decode(text, at + len(text[at:]) - len(text[at:].lstrip()))
            found.append(Span(value))
        return found

    def sentry(self) -> list[dict[str, Any]]:
        """Return what Sentry was told."""
        return [json.loads(line) for line in (self.folder / "sentry").read_text().splitlines()]

    def text(self) -> str:
        """Return all that was recorded, as it was written."""
        return self._spans.read_text()


@dataclass(frozen=True)
class Span:
    """A span as it was exported."""

    exported: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.exported["name"])

    @property
    def id(self) -> str:
        return str(self.exported["context"]["span_id"])

    @property
    def trace_id(self) -> str:
        return str(self.exported["context"]["trace_id"])

    @property
    def parent_id(self) -> str | None:
        parent: str | None = self.exported["parent_id"]
        return parent

    @property
    def attributes(self) -> Mapping[str, Any]:
        return dict(self.exported["attributes"])

    @property
    def links(self) -> list[str]:
        return [link["context"]["span_id"] for link in self.exported["links"]]

    @property
    def began(self) -> str:
        """When it began, in a form that is in order as text."""
        return str(self.exported["start_time"])

    @property
    def ended(self) -> str:
        return str(self.exported["end_time"])

    @property
    def error(self) -> str | None:
        """The class of the error that it says it ended with."""
        status = self.exported["status"]
        return str(status.get("description")) if status["status_code"] == "ERROR" else None


@dataclass(frozen=True)
class Recorded:
    """The spans of several programs."""

    all: list[Span]

    def named(self, name: str) -> list[Span]:
        return [span for span in self.all if span.name == name]

    def above(self, span: Span) -> Iterator[Span]:
        """Yield its parent, that one's, and so on."""
        by_id = {one.id: one for one in self.all}
        above = by_id.get(span.parent_id or "")
        while above is not None:
            yield above
            above = by_id.get(above.parent_id or "")

    def below(self, span: Span, wanted: Callable[[Span], bool] = lambda _: True) -> list[Span]:
        return [one for one in self.all if one.parent_id == span.id and wanted(one)]

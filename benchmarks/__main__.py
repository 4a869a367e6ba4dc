"""Measure memrepo on this machine, as ratios in one run. Only targets are judged here, never tests.

    python -m benchmarks [--rows commit,read] [--out bench-results]
    python -m benchmarks --rows isolation:newlines    only the part of that row whose name has the word in it
    python -m benchmarks --rows old --histories DIR   what takes long to make is kept there, and made once

LONG=1 in the environment adds what takes minutes.
"""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from benchmarks import (
    bench_age,
    bench_agents,
    bench_asyncio,
    bench_cells,
    bench_clients,
    bench_commit,
    bench_durability,
    bench_footprint,
    bench_forks,
    bench_hot,
    bench_isolation,
    bench_ledger,
    bench_legacy,
    bench_processes,
    bench_put,
    bench_read,
    bench_upkeep,
    bench_verbs,
    picture,
    report,
)
from benchmarks.figures import Figure
from benchmarks.lab import Lab, lab
from memrepo.settings import environment

ROWS: Mapping[str, Callable[[Lab], Iterator[Figure]]] = {
    "put": bench_put.put,
    "commit": bench_commit.commit,
    "throughput": bench_commit.throughput,
    "processes": bench_processes.processes,
    "read": bench_read.read,
    "verbs": bench_verbs.verbs,
    "forks": bench_forks.forks,
    "hot": bench_hot.hot,
    "asyncio": bench_asyncio.asyncio_client,
    "clients": bench_clients.clients,
    "cells": bench_cells.cells,
    "isolation": bench_isolation.isolation,
    "refused": bench_isolation.refused,
    "durability": bench_durability.durability,
    "age": bench_age.age,
    "old": bench_age.old,
    "agents": bench_agents.agents,
    "folding": bench_upkeep.folding,
    "delete": bench_upkeep.delete,
    "footprint": bench_footprint.footprint,
    "ledger": bench_ledger.ledger,
    "legacy": bench_legacy.legacy,
}


def _chosen(_context: click.Context, _option: click.Parameter, text: str) -> Sequence[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = sorted({name.partition(":")[0] for name in names} - set(ROWS))
    if unknown:
        raise click.BadParameter(f"no such rows: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return names or list(ROWS)


@click.command()
@click.option("--rows", default="", callback=_chosen, help=f"Some of {', '.join(ROWS)}.  [default: all]")
@click.option(
    "--out",
    default="bench-results",
    type=click.Path(path_type=Path),
    help="Where bench.json and bench.svg go.",
)
@click.option(
    "--histories",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where histories that take long to make are kept for other runs; one that was ended goes on with them.",
)
def main(rows: Sequence[str], out: Path, histories: Path | None) -> None:
    """Measure, and tell."""
    machine, start = report.Machine.this(), time.monotonic()
    print(machine)
    if machine.is_busy:
        print("This machine is busy with something else: only ratios are worth reading, and they vary.")
    found, failed = _measure(rows, out, histories, long=bool(environment().get("LONG")))
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench.json").write_text(report.as_json(found, machine, failed))
    figures = [figure for some in found.values() for figure in some]
    (out / "bench.svg").write_text(picture.draw(figures, str(machine)))
    print(
        f"\n{_summary(figures)} Took {time.monotonic() - start:.0f} s. See {out}/bench.json and {out}/bench.svg."
    )
    if failed:
        sys.exit(f"Could not be measured: {', '.join(failed)}.")


def _measure(
    rows: Sequence[str], out: Path, histories: Path | None, *, long: bool
) -> tuple[report.Rows, list[str]]:
    """Measure row by row, telling each as soon as it is known; a row that fails does not stop the others."""
    found: dict[str, list[Figure]] = {}
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder, lab(Path(folder), long=long) as place:
        print(f"\n{report.head()}", flush=True)
        for row in rows:
            found[row] = []
            name, _, part = row.partition(":")
            try:
                for figure in ROWS[name](replace(place, part=part, out=out, histories=histories)):
                    found[row].append(figure)
                    print(report.lines(figure), flush=True)
            except Exception:  # noqa: BLE001 - whatever it was, the other rows are worth having
                failed.append(row)
                traceback.print_exc()
    return found, failed


def _summary(figures: Sequence[Figure]) -> str:
    bounded = [figure for figure in figures if figure.met is not None]
    return f"{sum(figure.met is True for figure in bounded)} of {len(bounded)} targets reached."


if __name__ == "__main__":
    main()

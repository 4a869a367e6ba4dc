"""A server that is further away: the tests' proxy, in a process of its own so that it takes nobody's time."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.lab import Lab
from tests.support.proxy import proxy


@contextmanager
def further_away(lab: Lab, server_url: str, round_trip_s: float) -> Iterator[str]:
    """Give an address at which a server answers later by that time, until the block ends."""
    folder = lab.new_folder("proxy")
    place = folder / "url"
    job = {"server_url": server_url, "delay_s": round_trip_s / 2, "place": str(place)}
    with lab.process("benchmarks.far", json.dumps(job), folder=folder, ready=place.exists):
        yield place.read_text()


def _serve(server_url: str, delay_s: float, place: str) -> None:
    with proxy(server_url, delay_s) as one:
        written = Path(place).with_suffix(".new")
        written.write_text(one.url)
        written.rename(place)
        threading.Event().wait()


if __name__ == "__main__":
    _serve(**json.loads(sys.argv[1]))

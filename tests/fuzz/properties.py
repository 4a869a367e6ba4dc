"""What holds of every decoder for every input: no error but its own, little memory, little time."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the long form decides how the decoders are loaded
    from tests.fuzz.decoders import Decoder

PEAK_BYTES_MAX = 64 * 1024 * 1024
CPU_S_MAX = 1.0


class BreachError(AssertionError):
    """A decoder did what none may."""


@dataclass
class Figures:
    """The most that any input has taken."""

    inputs: int = 0
    refused: int = 0
    peak_bytes: int = 0
    cpu_s: float = 0.0


def check(decoder: Decoder, data: bytes, figures: Figures, *, timed: bool) -> None:
    """Decode an input as it is, and with its checksum made right.

    Raises:
        BreachError: a property does not hold.
    """
    for variant in {data, decoder.seal(data)}:
        tracemalloc.start()  # for what is decoded alone: it makes all else slow
        began_s = time.thread_time()
        try:
            decoder.decode(variant)
        except decoder.errors:
            figures.refused += 1
        except Exception as error:
            raise BreachError(f"{decoder.name} raised {type(error).__name__}: {error}") from error
        finally:
            taken_s = time.thread_time() - began_s
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        figures.inputs += 1
        figures.peak_bytes = max(figures.peak_bytes, peak)
        figures.cpu_s = max(figures.cpu_s, taken_s)
        if peak > PEAK_BYTES_MAX:
            raise BreachError(f"{decoder.name} took {peak} bytes for an input of {len(variant)}")
        if timed and taken_s > CPU_S_MAX:
            raise BreachError(f"{decoder.name} took {taken_s:.1f} s for an input of {len(variant)}")

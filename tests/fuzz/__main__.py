"""The long form: ``python -m tests.fuzz [INPUTS]``, 100,000 for each decoder if not said otherwise.

With atheris (``make fuzz`` installs it) half of the inputs are led by which code they reach; the others, and all of
them without it, are samples changed at random. What breaks a property is written to ``tests/fuzz/kept`` and named.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from tests.fuzz.mutations import changed, some_changes
from tests.fuzz.properties import BreachError, Figures, check

if TYPE_CHECKING:
    from tests.fuzz.decoders import Decoder

INPUTS = 100_000
_LED = importlib.util.find_spec("atheris") is not None
_KEPT = Path(__file__).parent / "kept"
_AFTER_THE_LAST = 64
_OPTIONS = ("-max_len=65536", "-rss_limit_mb=0", "-verbosity=0", "-print_final_stats=0")


def main() -> int:
    """Run every decoder in a process of its own; return an exit code."""
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else INPUTS
    if len(sys.argv) > 3:
        return _fuzz(_decoder(sys.argv[2]), inputs, Path(sys.argv[3]))
    from tests.fuzz.decoders import DECODERS

    faults = 0
    for name in sys.argv[2:] or DECODERS:
        with tempfile.TemporaryDirectory() as corpus:
            call = [sys.executable, "-m", "tests.fuzz", str(inputs), name, corpus]
            faults += os.spawnv(os.P_WAIT, sys.executable, call) != 0
    return min(faults, 1)


def _decoder(name: str) -> Decoder:
    """Return a decoder, its code loaded so that atheris sees where an input goes."""
    if _LED:
        import atheris

        with atheris.instrument_imports(include=["memrepo", "memrepo_worker"]):
            from tests.fuzz.decoders import DECODERS
    else:
        from tests.fuzz.decoders import DECODERS
    return DECODERS[name]


def _fuzz(decoder: Decoder, inputs: int, corpus: Path) -> int:
    figures = Figures()
    random = Random(decoder.name)
    broken = 0
    for _ in range(inputs // 2 if _LED else inputs):
        broken += _breaks(decoder, changed(random.choice(decoder.samples), some_changes(random)), figures)
    if _LED and not broken:
        _led(decoder, inputs - inputs // 2, corpus, figures)
    _say(decoder, figures)
    return min(broken, 1)


def _say(decoder: Decoder, figures: Figures) -> None:
    values = {"decoder": decoder.name, "led_by_coverage": _LED, **vars(figures)}
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _breaks(decoder: Decoder, data: bytes, figures: Figures) -> bool:
    try:
        check(decoder, data, figures, timed=True)
    except BreachError as breach:
        path = _KEPT / f"{decoder.name}-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        sys.stdout.write(f"{breach}: kept as {path}\n")
        return True
    return False


def _led(decoder: Decoder, inputs: int, corpus: Path, figures: Figures) -> None:
    """Have atheris choose the inputs. It ends the process where it is done, so the figures are told before that."""
    import atheris

    left = inputs

    def one(data: bytes) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            _say(decoder, figures)
        if _breaks(decoder, data, figures):
            os._exit(1)

    for number, sample in enumerate(decoder.samples):
        (corpus / str(number)).write_bytes(sample)
    atheris.Setup([sys.argv[0], str(corpus), f"-runs={inputs + _AFTER_THE_LAST}", *_OPTIONS], one)
    atheris.Fuzz()


if __name__ == "__main__":
    raise SystemExit(main())

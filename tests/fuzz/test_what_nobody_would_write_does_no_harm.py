"""2,000 inputs for each decoder: samples of what is sound, changed; and the inputs that once did harm."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.decoders import DECODERS, Decoder, kept
from tests.fuzz.mutations import Change, changed, some_changes
from tests.fuzz.properties import Figures, check

INPUTS = 2_000
OF_HYPOTHESIS = (
    100  # which finds the least change that does harm, and takes a hundred times as long as a decoder
)
CHANGES = st.lists(
    st.builds(
        Change,
        kind=st.sampled_from(("flip", "cut", "repeat", "insert", "drop", "number", "join")),
        place=st.floats(0, 1, exclude_max=True),
        length=st.integers(1, 64),
        data=st.binary(min_size=1, max_size=16),
    ),
    max_size=4,
)


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_raises_its_own_errors_alone_and_takes_little(name: str) -> None:
    decoder, figures = DECODERS[name], Figures()

    @settings(
        max_examples=OF_HYPOTHESIS,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(sample=st.sampled_from(decoder.samples), changes=CHANGES)
    def holds(sample: bytes, changes: list[Change]) -> None:
        check(decoder, changed(sample, changes), figures, timed=False)

    holds()
    random = Random(name)
    for _ in range(INPUTS - OF_HYPOTHESIS):
        check(decoder, changed(random.choice(decoder.samples), some_changes(random)), figures, timed=False)
    assert figures.inputs >= INPUTS
    assert figures.refused > 0 or not decoder.errors


@pytest.mark.parametrize("name", DECODERS)
def test_what_is_sound_is_decoded(name: str) -> None:
    decoder = DECODERS[name]
    for sample in decoder.samples:
        decoder.decode(decoder.seal(sample))


@pytest.mark.parametrize(("decoder", "path"), list(kept()), ids=lambda value: getattr(value, "name", "input"))
def test_what_was_once_decoded_wrongly_is_not_any_more(decoder: Decoder, path: Path) -> None:
    check(decoder, path.read_bytes(), Figures(), timed=False)

from __future__ import annotations

from dataclasses import fields

import pytest

from memrepo import InvalidRequestError, Limits, Settings
from memrepo.settings import masked, shown


def test_every_setting_is_read_from_the_variable_that_shows_it() -> None:
    for name, value in shown(Settings()).items():
        if name.endswith("_URL"):
            continue
        another = type(eval(value))(eval(value) + 1)  # a number as text

        assert shown(Settings.from_env({name: str(another)}))[name] == str(another)


def test_every_setting_is_shown() -> None:
    names = {f"MEMREPO_{item.name.upper()}" for kind in (Settings, Limits) for item in fields(kind)}

    assert set(shown(Settings())) == names - {"MEMREPO_LIMITS"}


def test_results_are_kept_at_the_broker_unless_told_otherwise() -> None:
    broker, other = "redis://broker/1", "redis://other/2"

    assert Settings.from_env({"MEMREPO_BROKER_URL": broker}).result_url == broker
    assert Settings.from_env({"MEMREPO_BROKER_URL": broker, "MEMREPO_RESULT_URL": other}).result_url == other
    assert Settings().at(broker, None).result_url == broker
    assert Settings(result_url=other).at(None, None).result_url == other


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MEMREPO_SHARDS", "0"),
        ("MEMREPO_SHARDS", "-1"),
        ("MEMREPO_SHARDS", "1.5"),
        ("MEMREPO_POLL_INTERVAL_S", "nan"),
        ("MEMREPO_ENQUEUE_TIMEOUT_S", "soon"),
        ("MEMREPO_BROKER_URL", "amqp://u:secret@host"),
        ("MEMREPO_RESULT_URL", "/run/redis/socket"),
        ("MEMREPO_FILE_BYTES_MAX", "8 MiB"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_without_its_secrets(name: str, value: str) -> None:
    with pytest.raises(InvalidRequestError, match=name) as caught:
        Settings.from_env({name: value})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown_as"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:pw@host/0", "redis://:***@host/0"),
        ("redis://user:pw@host/0", "redis://user:***@host/0"),
        ("redis://user:p/w@x@host/0", "redis://user:***@host/0"),
        ("redis+socket://:pw@/run/redis.sock", "redis+socket://:***@/run/redis.sock"),
        ("rediss://host/0?password=pw&db=1", "rediss://host/0?password=***&db=1"),
        ("s3://bucket?access_key=pw", "s3://bucket?access_key=***"),
    ],
)
def test_a_password_in_an_address_is_masked(url: str, shown_as: str) -> None:
    assert masked(url) == shown_as

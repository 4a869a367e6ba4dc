from __future__ import annotations

import math
from dataclasses import fields

import pytest

from memrepo import InvalidRequestError, Limits, Settings
from memrepo.masking import masked_within
from memrepo.redis.address import masked
from memrepo.settings import shown
from memrepo_worker.settings import WorkerSettings
from tests.support.each import check_each


def test_every_setting_is_read_from_the_variable_that_shows_it() -> None:
    for name, value in shown(Settings()).items():
        if name.endswith("_URL"):
            continue
        if name == "MEMREPO_PORTABLE_NAMES":
            another: object = "posix"
        elif name == "MEMREPO_ENQUEUE_DURABILITY":
            another = "disk"
        elif name == "MEMREPO_CELLS":
            another = "a=redis://h1:6379/0 b=redis://h2:6379/0"
        else:
            another = type(eval(value))(eval(value) + 1)  # a number as text

        assert shown(Settings.from_env({name: str(another)}))[name] == str(another)


def test_every_setting_is_shown() -> None:
    names = {f"MEMREPO_{item.name.upper()}" for kind in (Settings, Limits) for item in fields(kind)}

    assert set(shown(Settings())) == names - {"MEMREPO_LIMITS", "MEMREPO_CELL"}


def test_results_are_kept_at_the_broker_unless_told_otherwise() -> None:
    broker, other = "redis://broker/1", "redis://other/2"

    assert Settings.from_env({"MEMREPO_BROKER_URL": broker}).result_url == broker
    assert Settings.from_env({"MEMREPO_BROKER_URL": broker, "MEMREPO_RESULT_URL": other}).result_url == other
    assert Settings(broker).result_url == Settings(broker_url=broker).result_url == broker
    assert Settings(broker_url=broker, result_url=other).result_url == other
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
        ("MEMREPO_ENQUEUE_TIMEOUT_S", "inf"),
        ("MEMREPO_ENQUEUE_TIMEOUT_S", "1e9"),
        ("MEMREPO_CONNECT_TIMEOUT_S", "0"),
        ("MEMREPO_RESEND_AFTER_S", "nan"),
        ("MEMREPO_RESEND_AFTER_S", "-inf"),
        ("MEMREPO_RESULT_EXPIRES_S", "0"),
        ("MEMREPO_SHARD_DEPTH_MAX", "-1"),
        ("MEMREPO_BODIES_BYTES_MAX", "99999999999999999999"),
        ("MEMREPO_CHANGES_MAX", "0"),
        ("MEMREPO_BROKER_URL", "amqp://u:secret@host"),
        ("MEMREPO_RESULT_URL", "/run/redis/socket"),
        ("MEMREPO_FILE_BYTES_MAX", "8 MiB"),
        ("MEMREPO_PORTABLE_NAMES", "windows"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named_without_its_secrets(name: str, value: str) -> None:
    with pytest.raises(InvalidRequestError, match=name) as caught:
        Settings.from_env({name: value})
    assert "secret" not in str(caught.value)


MAY_BE_0 = {"agent_depth_max", "shard_depth_max", "resend_after_s"}
NUMBERS = [
    item.name
    for kind in (Settings, Limits)
    for item in fields(kind)
    if isinstance(item.default, int | float) and not isinstance(item.default, bool)
]


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_bounds(name: str) -> None:
    variable = f"MEMREPO_{name.upper()}"

    def is_kept(value: str) -> None:
        if value == "0" and name in MAY_BE_0:
            assert getattr(Settings.from_env({variable: value}), name) == 0
            return
        with pytest.raises(InvalidRequestError, match=f"^{variable}: "):
            Settings.from_env({variable: value})

    check_each(["nan", "inf", "-inf", "-1", "soon", "9" * 400, "0"], is_kept)


@pytest.mark.parametrize("blank", ["", " ", "\n", " \t\r\n"])
def test_a_setting_that_is_blank_is_one_that_is_not_set(blank: str) -> None:
    assert Settings.from_env(dict.fromkeys(shown(Settings()), blank)) == Settings.from_env({})


@pytest.mark.parametrize("value", [math.nan, math.inf, 0, -1, 1e12])
def test_a_number_that_makes_no_sense_is_named_when_it_does_not_come_from_the_environment(
    value: float,
) -> None:
    with pytest.raises(InvalidRequestError, match="MEMREPO_ENQUEUE_TIMEOUT_S"):
        Settings(enqueue_timeout_s=value)


@pytest.mark.parametrize(("variable", "value"), shown(Settings("redis://:pw@host/1")).items())
def test_blanks_around_a_value_are_none_of_it(variable: str, value: str) -> None:
    assert Settings.from_env({variable: f" {value}\n"}) == Settings.from_env({variable: value})


def test_no_repr_shows_a_password() -> None:
    url = "redis://user:s3cr3t@host/0"

    for settings in (Settings(url, url), WorkerSettings(url, url)):
        assert "s3cr3t" not in repr((settings, settings.broker, vars(settings)["broker"]))


@pytest.mark.parametrize(
    ("url", "shown_as"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:pw@host/0", "redis://:***@host/0"),
        ("redis://user:pw@host/0", "redis://user:***@host/0"),
        ("redis://user:p/w@x@host/0", "redis://user:***@host/0"),
        ("redis+socket://:pw@/run/redis.sock", "redis+socket://:***@/run/redis.sock"),
        ("unix://u:pw@/run/redis.sock?db=1", "unix://u:***@/run/redis.sock?db=1"),
        ("redis://pw@host/0", "redis://***@host/0"),
        ("u:pw@host:6379/0", "***@host:6379/0"),
        ("redis://user:p#w@host/0", "redis://user:***@host/0"),
        ("redis://user:p?w@host/0", "redis://***"),
        ("redis://user:pw", "redis://***"),
        ("redis://:p/w", "redis://***"),
        ("redis://host/0?x=p@w", "redis://***"),
        ("redis://host/0?unheard=pw", "redis://host/0?unheard=***"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("rediss://host/0?password=pw&db=1", "rediss://host/0?password=***&db=1"),
        ("s3://bucket?access_key=pw", "s3://bucket?access_key=***"),
        (
            "s3://bucket/a?endpoint_url=http://minio:pw@host:9000",
            "s3://bucket/a?endpoint_url=http://minio:***@host:9000",
        ),
        ("gs://bucket?endpoint_url=http://u:p@w@host&x=1", "gs://bucket?endpoint_url=http://u:***@host&x=1"),
        ("s3://user:hunter2@bucket/x", "s3://user:***@bucket/x"),
        ("s3://hunter2@bucket/x", "s3://***@bucket/x"),
        ("s3:///user:hunter2@bucket/x", "s3:///user:***@bucket/x"),
        ("s3:/user:hunter2@bucket/x", "***@bucket/x"),
        ("s3://us/er:hunter2@bucket/x", "s3://us/er:***@bucket/x"),
        ("s3://user:hun?ter2@bucket/x", "s3://user:***@bucket/x"),
        ("s3://user%3Ahunter2%40bucket/x", "s3://user:***@bucket/x"),
        ("s3://b/x?endpoint_url=http:/u:hunter2@host", "s3://b/x?endpoint_url=***@host"),
        ("s3://b/x?region=eu&endpoint_url=u:hunter2@h", "s3://b/x?region=eu&endpoint_url=***@h"),
        ("s3://b/x?endpoint_url=http://u:hun&ter2@h", "s3://b/x?endpoint_url=http://u:***@h"),
        ("s3://b/x?endpoint_url=http://u:hun?ter2@h", "s3://b/x?endpoint_url=http://u:***@h"),
        ("s3://b/x?endpoint_url=http%3A%2F%2Fu%3Ahunter2%40h", "s3://b/x?endpoint_url=***@h"),
        ("s3://b/x?endpoint_url=http://hunter2@h", "s3://b/x?endpoint_url=***@h"),
        ("s3://user:hunter2/x", "s3://user:***"),
        ("s3://host:9000/bucket", "s3://host:9000/bucket"),
        ("s3://arn:aws:s3:eu:1:accesspoint:n/x", "s3://arn:aws:s3:eu:1:accesspoint:n/x"),
        ("file:///a/user:b@c", "file:///a/user:b@c"),
    ],
)
def test_a_password_in_an_address_is_masked(url: str, shown_as: str) -> None:
    assert masked(url) == shown_as


@pytest.mark.parametrize(
    ("text", "shown_as"),
    [
        ("Invalid endpoint: http:/u:hunter2@host", "Invalid endpoint: ***@host"),
        ('Invalid bucket name "user:hunter2@bucket": it must', 'Invalid bucket name "***@bucket": it must'),
        ("job@p.iam.gserviceaccount.com has no right", "job@p.iam.gserviceaccount.com has no right"),
        ("s3://bucket at host:9000: no answer", "s3://bucket at host:9000: no answer"),
    ],
)
def test_a_password_in_an_error_of_another_library_is_masked(text: str, shown_as: str) -> None:
    assert masked_within(text) == shown_as

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from memrepo.errors import InvalidRequestError
from memrepo.limits import Limits
from memrepo_worker.git.bounds import GitCaps
from memrepo_worker.settings import WorkerSettings, shown
from tests.support.documents import ROOT
from tests.support.each import check_each

SECRET = "s3cr3t"
WORKER = ROOT / "worker" / "memrepo_worker"


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("MEMREPO_LEASE_S", "0", "must be between 0.1 and 3600"),
        ("MEMREPO_LEASE_S", "nan", "must be between 0.1 and 3600"),
        ("MEMREPO_LEASE_S", "inf", "must be between 0.1 and 3600"),
        ("MEMREPO_LEASE_S", "soon", "'soon' is not a number"),
        ("MEMREPO_SOFT_SHUTDOWN_TIMEOUT_S", "nan", "must be between 0 and 86400"),
        ("MEMREPO_SOFT_SHUTDOWN_TIMEOUT_S", "-1", "must not be negative"),
        ("MEMREPO_CONCURRENCY", "0", "must be between 1 and 10000"),
        ("MEMREPO_CONCURRENCY", "1.5", "'1.5' is not a number"),
        ("MEMREPO_SHARDS", "0", "must be between 1 and 100000"),
        ("MEMREPO_FILE_BYTES_MAX", "0", "must be from 1 to 2^53"),
        ("MEMREPO_GROUP_REQUESTS_MAX", "0", "must be from 1 to 2^53"),
        ("MEMREPO_RESULT_EXPIRES_S", "0", "must be from 1 to 2^53"),
        ("MEMREPO_RESULT_BODY_EXPIRES_S", "9" * 400, "must be from 1 to 2^53"),
        ("MEMREPO_FLOWER_PORT", "70000", "must be between 0 and 65535"),
        ("MEMREPO_STORE_URL", "file:///s t", "has white space in it"),
        ("MEMREPO_STORE_URL", "file:///s\nt", "has white space in it"),
        ("MEMREPO_BROKER_URL", "redis://h :6379/0", "holds a blank"),
        ("MEMREPO_BROKER_URL", "amqp://h", "must begin with redis://"),
        ("MEMREPO_RESULT_URL", "redis://h:port/0", "has no port from 1 to 65535"),
        ("MEMREPO_LOG_LEVEL", "chatty", "is 'CHATTY': it must be one of DEBUG, INFO"),
        ("MEMREPO_PORTABLE_NAMES", "linux", "is 'linux': it must be one of everywhere, posix"),
        ("MEMREPO_FOREIGN_CPU_S_MAX", "0", "must be from 1 to 2^53"),
        ("MEMREPO_LOG_FORMAT", "xml", "is 'xml': it must be one of text, json"),
        ("MEMREPO_LOG_REQUESTS", "maybe", "is none of 1, true, yes, on, 0, false, no, off"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_by_its_name(variable: str, value: str, said: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        WorkerSettings.from_env({variable: value})
    assert str(refused.value).startswith(f"{variable}: ")
    assert said in str(refused.value)


OFF_BY_DEFAULT = ("tip_proof_s", "metrics_port")
MAY_BE_0 = {"soft_shutdown_timeout_s", "journal_check_s", "hanging_turns_max", "flower_port", *OFF_BY_DEFAULT}
NUMBERS = [
    item.name
    for kind in (WorkerSettings, Limits)
    for item in fields(kind)
    if isinstance(item.default, int | float) and not isinstance(item.default, bool)
] + [*OFF_BY_DEFAULT]


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_bounds(name: str) -> None:
    variable = f"MEMREPO_{name.upper()}"

    def is_kept(value: str) -> None:
        if value == "0" and name in MAY_BE_0:
            assert getattr(WorkerSettings.from_env({variable: value}), name) == 0
            return
        with pytest.raises(InvalidRequestError, match=f"^{variable}: "):
            WorkerSettings.from_env({variable: value})

    check_each(["nan", "inf", "-inf", "-1", "soon", "9" * 400, "0"], is_kept)


@pytest.mark.parametrize("blank", ["", " ", "\n", " \t\r\n"])
def test_a_setting_that_is_blank_is_one_that_is_not_set(blank: str) -> None:
    names = [f"MEMREPO_{item.name.upper()}" for kind in (WorkerSettings, Limits) for item in fields(kind)]

    assert WorkerSettings.from_env(dict.fromkeys(names, blank)) == WorkerSettings.from_env({})


def test_every_setting_is_used_somewhere() -> None:
    used = {
        node.attr
        for path in WORKER.glob("**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }

    assert {item.name for item in fields(WorkerSettings)} - used == set()


def test_settings_of_the_log_are_read_in_any_case() -> None:
    env = {"MEMREPO_LOG_LEVEL": "debug", "MEMREPO_LOG_FORMAT": "JSON", "MEMREPO_LOG_REQUESTS": "Yes"}
    options = WorkerSettings.from_env(env).log
    assert (options.level, options.format, options.requests) == ("DEBUG", "json", True)
    assert WorkerSettings.from_env({"MEMREPO_LOG_REQUESTS": "off"}).log.requests is False


def test_every_setting_is_shown_and_no_secret() -> None:
    settings = WorkerSettings(
        broker_url=f"redis://u:{SECRET}@h/0",
        result_url=f"rediss://:{SECRET}@h/0",
        store_url=f"s3://b/p?endpoint_url=http://h&token={SECRET}",
        cache_dir=Path("/c"),
        flower_basic_auth=f"watcher:{SECRET}",
        log_requests=True,
    )
    values = shown(settings)
    wanted = {item.name for item in (*fields(WorkerSettings), *fields(Limits))} - {"limits"}
    assert set(values) == {f"MEMREPO_{name.upper()}" for name in wanted}
    assert values["MEMREPO_BROKER_URL"] == "redis://u:***@h/0"
    assert values["MEMREPO_FLOWER_BASIC_AUTH"] == "***"
    assert values["MEMREPO_LOG_REQUESTS"] == "1"
    assert SECRET not in repr(values) + repr(settings)


def test_what_is_shown_is_read_back_as_it_was() -> None:
    settings = WorkerSettings(cache_dir=Path("/c"), lease_s=2.5, log_requests=True, log_format="json")
    assert WorkerSettings.from_env(shown(settings)) == settings


def test_what_git_may_take_is_what_the_settings_say() -> None:
    env = {
        "MEMREPO_FOREIGN_ALLOCATION_BYTES_MAX": "2000000",
        "MEMREPO_FOREIGN_CPU_S_MAX": "3",
        "MEMREPO_FOREIGN_UNPACKED_BYTES_MAX": "4000000",
        "MEMREPO_FILE_BYTES_MAX": "5",
        "MEMREPO_ENTRY_BYTES_MAX": "600000000",
    }

    assert WorkerSettings.from_env(env).git_caps == GitCaps(2_000_000, 3, 4_000_000, 5, 600_000_000)


@pytest.mark.parametrize("url", ["file:///st ", "file:///st\n", "\t file:///st\r\n"])
def test_a_store_with_blanks_around_its_address_is_the_same_store(url: str) -> None:
    assert WorkerSettings.from_env({"MEMREPO_STORE_URL": url}).store_url == "file:///st"


_SHOWN = shown(WorkerSettings(store_url="file:///st", flower_basic_auth="me:secret"))


@pytest.mark.parametrize(("variable", "value"), _SHOWN.items())
def test_blanks_around_a_value_are_none_of_it(variable: str, value: str) -> None:
    assert WorkerSettings.from_env({variable: f" {value}\n"}) == WorkerSettings.from_env({variable: value})

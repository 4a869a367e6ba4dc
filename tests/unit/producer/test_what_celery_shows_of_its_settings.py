"""What Celery shows of its settings, to Flower or in a report: no secret, and without a false alarm in the log."""

from __future__ import annotations

import logging

import pytest

from memrepo.redis.address import parse_redis_url
from memrepo.redis.celery_app import OwnCelery


@pytest.mark.parametrize("with_defaults", [False, True], ids=["what is set", "all"])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rediss://me:pa55@host:1/0", "rediss://me:***@host:1/0"),
        ("unix://me:pa55@/run/redis.sock?db=2", "redis+socket://me:***@/run/redis.sock?virtual_host=2"),
        ("sentinel://me:pa55@a:1,b:2/main/0?sentinel_password=pa55&ssl=true", "rediss://me:***@a:1/0"),
    ],
    ids=["TLS", "a socket", "Sentinels"],
)
def test_a_brokers_address_is_shown_without_its_password_and_nothing_is_logged_of_tls(
    text: str, shown: str, with_defaults: bool, caplog: pytest.LogCaptureFixture
) -> None:
    url = parse_redis_url(text, "URL")
    app = OwnCelery(url, url)
    app.conf.broker_url = url.for_celery

    with caplog.at_level(logging.WARNING):
        table = app.conf.table(with_defaults=with_defaults)

    assert table["broker_url"] == shown
    assert "pa55" not in repr(table)
    assert caplog.messages == []

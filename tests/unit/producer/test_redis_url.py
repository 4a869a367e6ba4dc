from __future__ import annotations

from pathlib import Path

import pytest
from kombu.connection import Connection

from memrepo import InvalidRequestError
from memrepo.redis.address import RedisUrl, parse_redis_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("redis://", RedisUrl()),
        ("redis://host", RedisUrl("host")),
        ("redis://host:1/", RedisUrl("host", 1)),
        ("redis://host:1/4", RedisUrl("host", 1, database=4)),
        ("redis://host:1?db=4", RedisUrl("host", 1, database=4)),
        ("REDIS://my_host.internal:1/0", RedisUrl("my_host.internal", 1)),
        ("redis://[::1]:1/0", RedisUrl("::1", 1)),
        ("redis://:pw@host", RedisUrl("host", password="pw")),
        ("redis://u:p%2Fw%40%23@host", RedisUrl("host", username="u", password="p/w@#")),
        ("redis://u:p@w@host", RedisUrl("host", username="u", password="p@w")),
        (" redis://host:1/4 \n", RedisUrl("host", 1, database=4)),
        ("rediss://host", RedisUrl("host", tls={"ssl_cert_reqs": "required"})),
        ("rediss://host?ssl_cert_reqs=CERT_NONE", RedisUrl("host", tls={"ssl_cert_reqs": "none"})),
        (
            "rediss://host/1?ssl_check_hostname=false",
            RedisUrl("host", database=1, tls={"ssl_cert_reqs": "required", "ssl_check_hostname": False}),
        ),
        ("unix:///run/redis.sock?db=2", RedisUrl(path="/run/redis.sock", database=2)),
        ("unix://u:pw@/run/redis.sock", RedisUrl(path="/run/redis.sock", username="u", password="pw")),
        ("redis+socket:///run/redis.sock?virtual_host=2", RedisUrl(path="/run/redis.sock", database=2)),
        ("sentinel://h/main", RedisUrl("h", 26379, sentinels=(("h", 26379),), master_name="main")),
        (
            "sentinel://u:p%2Fw@h1:1,[::1],h3:3/my-main.1/4?ssl=true&sentinel_username=s&sentinel_password=x%26y",
            RedisUrl(
                "h1",
                1,
                database=4,
                username="u",
                password="p/w",
                tls={"ssl_cert_reqs": "required"},
                sentinels=(("h1", 1), ("::1", 26379), ("h3", 3)),
                master_name="my-main.1",
                sentinel_username="s",
                sentinel_password="x&y",
            ),
        ),
    ],
)
def test_an_address_that_both_libraries_can_be_told_is_read(text: str, url: RedisUrl) -> None:
    assert parse_redis_url(text, "MEMREPO_BROKER_URL") == url


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("u:s3cr3t@h:6379/0", "must begin with redis://, rediss://, unix://, redis+socket://"),
        ("s3cr3t", "must begin with redis://"),
        ("", "must begin with redis://"),
        ("redis:/h", "must begin with redis://"),
        ("amqp://u:s3cr3t@h", "must begin with redis://"),
        (
            "sentinel://u:s3cr3t@h",
            "must name Sentinels and a primary, as in sentinel://host1:26379,host2:26379/main/0",
        ),
        ("sentinel://u:s3cr3t@h1,,h2/main", "must name Sentinels and a primary"),
        ("sentinel://u:s3cr3t@h1,h2:port/main", "has no port from 1 to 65535"),
        ("sentinel://u:s3cr3t@h1,h 2/main", "holds a blank"),
        ("sentinel://u:s3cr3t@h/main/x", "must name its database by a number"),
        ("sentinel://u:s3cr3t@h/main/0?ssl=maybe", "ssl must be true or false"),
        (
            "sentinel://u:s3cr3t@h/main/0?sentinel_passwort=s3cr3t",
            "options that are not known: 'sentinel_passwort'",
        ),
        ("redis://:s3cr3t@h/main", "must name its database by a number"),
        ("redis://:s3cr3t@h/-1", "must name its database by a number"),
        ("redis://:s3cr3t@h/1?db=2", "names more than one database"),
        ("redis://u:s3cr3t", "has no port from 1 to 65535"),
        ("redis://:s3cr3t@h:0/0", "has no port from 1 to 65535"),
        ("redis://:s3cr3t@h:65536/0", "has no port from 1 to 65535"),
        ("redis://:s3cr3t@h:port/0", "has no port from 1 to 65535"),
        ("redis://:s3cr3t@[::1/0", "is no URL"),
        ("redis://:s3cr3t@h1,h2/0", "must name one host"),
        ("redis://:s3cr3t@h1;redis://h2", "must name one host"),
        ("redis://:s3cr3t@h /0", "holds a blank"),
        ("redis://:s3#cr3t@h/0", "as %20, %23"),
        ("redis://:s3/cr3t@h/0", "has a '/' or '?' in its user or password"),
        ("redis://:s3?cr3t@h/0", "has a '/' or '?' in its user or password"),
        (
            "redis://:s3cr3t@h/4?health_check_interval=30",
            "are not known: 'health_check_interval'. redis:// takes db",
        ),
        ("redis://:s3cr3t@h/4?ssl_cert_reqs=none", "redis:// takes db, virtual_host"),
        ("redis://h?password=s3cr3t", "are not known: 'password'"),
        ("rediss://:s3cr3t@h?ssl_cert_reqs=maybe", "ssl_cert_reqs must be none, optional or required"),
        ("rediss://:s3cr3t@h?ssl_check_hostname=1", "ssl_check_hostname must be true or false"),
        ("rediss://:s3cr3t@h?ssl_ca_certs=/no/such/file", "ssl_ca_certs names no file"),
        ("unix://run/redis.sock", "must name a socket by its whole path"),
        ("redis+socket://", "must name a socket by its whole path"),
    ],
)
def test_what_is_not_understood_is_refused_by_name_and_shows_nothing_of_it(text: str, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^MEMREPO_BROKER_URL: ") as caught:
        parse_redis_url(text, "MEMREPO_BROKER_URL")

    assert says in str(caught.value)
    assert "s3" not in f"{caught.value} {caught.value.details} {caught.value.__cause__}"


def test_an_address_is_written_for_people_with_its_port_and_without_its_password() -> None:
    for text, shown in [
        ("redis://u:s3cr3t@h", "redis://u:***@h:6379/0"),
        ("rediss://:s3cr3t@[::1]/2", "rediss://:***@[::1]:6379/2"),
        ("redis+socket://:s3cr3t@/run/r.sock", "unix://:***@/run/r.sock?db=0"),
        ("redis://token@h:1/0", "redis://***@h:1/0"),
    ]:
        url = parse_redis_url(text, "URL")
        assert str(url) == shown
        assert "s3cr3t" not in repr(url)


def test_a_certificate_that_is_there_is_told_to_both_libraries(tmp_path: Path) -> None:
    trusted = tmp_path / "ca.pem"
    trusted.touch()

    url = parse_redis_url(f"rediss://h?ssl_ca_certs={trusted}", "URL")

    assert url.tls == {"ssl_cert_reqs": "required", "ssl_ca_certs": str(trusted)}
    assert url.for_redis["ssl"] is True
    assert url.for_redis["ssl_ca_certs"] == str(trusted)
    assert url.for_celery == "rediss://h:6379/0"


def test_what_kombu_is_told_means_the_same_to_it() -> None:
    for text in ("redis://u:p%2F%3B%40w@h:1/4", "redis://:p;w@h", "redis://[::1]:1/4", "redis://h"):
        url = parse_redis_url(text, "URL")
        with Connection(url.for_celery) as connection:
            assert (connection.hostname, connection.port) == (url.host, url.port)
            assert (connection.userid, connection.password) == (url.username, url.password)
            assert int(connection.virtual_host) == url.database

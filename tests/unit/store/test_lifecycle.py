from __future__ import annotations

from typing import Any

import pytest

from memrepo_worker.store.lifecycle import expiring_gcs_rules, expiring_s3_rules

PREFIX = "agents/"
EXPIRES = {"ID": "rule", "Status": "Enabled", "Expiration": {"Days": 30}}


@pytest.mark.parametrize(
    "rule",
    [
        {**EXPIRES, "Filter": {}},
        {**EXPIRES, "Filter": {"Prefix": ""}},
        {**EXPIRES, "Filter": {"Prefix": "agents/"}},
        {**EXPIRES, "Filter": {"Prefix": "age"}},
        {**EXPIRES, "Filter": {"Prefix": "agents/acme/"}},
        {**EXPIRES, "Prefix": "agents/"},
        {**EXPIRES, "Filter": {"ObjectSizeGreaterThan": 10}},
        {**EXPIRES, "Filter": {"And": {"Prefix": "agents/", "ObjectSizeLessThan": 10}}},
        {"ID": "rule", "Status": "Enabled", "Filter": {}, "Expiration": {"Date": "2030-01-01"}},
        {
            "ID": "rule",
            "Status": "Enabled",
            "Filter": {},
            "Transitions": [{"Days": 90, "StorageClass": "GLACIER"}],
        },
    ],
)
def test_an_s3_rule_that_takes_objects_of_the_store_away_is_named(rule: dict[str, Any]) -> None:
    assert expiring_s3_rules([rule], PREFIX) == ("rule",)


@pytest.mark.parametrize(
    "rule",
    [
        {**EXPIRES, "Status": "Disabled", "Filter": {}},
        {**EXPIRES, "Filter": {"Prefix": "logs/"}},
        {**EXPIRES, "Filter": {"Tag": {"Key": "temporary", "Value": "yes"}}},
        {**EXPIRES, "Filter": {"And": {"Prefix": "agents/", "Tags": [{"Key": "temporary", "Value": "yes"}]}}},
        {
            "ID": "rule",
            "Status": "Enabled",
            "Filter": {},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
        },
        {"ID": "rule", "Status": "Enabled", "Filter": {}, "Expiration": {"ExpiredObjectDeleteMarker": True}},
        {"ID": "rule", "Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {}},
        {"ID": "rule", "Status": "Enabled", "Filter": {}, "Transitions": [{"StorageClass": "STANDARD_IA"}]},
    ],
)
def test_any_other_s3_rule_is_not(rule: dict[str, Any]) -> None:
    assert expiring_s3_rules([rule], PREFIX) == ()


def gcs_rule(action: str = "Delete", **condition: Any) -> dict[str, Any]:
    return {"action": {"type": action}, "condition": condition}


@pytest.mark.parametrize(
    "rule",
    [
        gcs_rule(age=30),
        gcs_rule(age=30, matchesPrefix=["logs/", "agents/acme/"]),
        gcs_rule(age=1, isLive=True),
    ],
)
def test_a_gcs_rule_that_takes_objects_of_the_store_away_is_named(rule: dict[str, Any]) -> None:
    assert expiring_gcs_rules([rule], PREFIX) == (str(rule),)


@pytest.mark.parametrize(
    "rule",
    [
        gcs_rule(age=30, matchesPrefix=["logs/"]),
        gcs_rule(age=30, isLive=False),
        gcs_rule(numNewerVersions=3),
        gcs_rule(daysSinceNoncurrentTime=7),
        gcs_rule("SetStorageClass", age=30),
    ],
)
def test_any_other_gcs_rule_is_not(rule: dict[str, Any]) -> None:
    assert expiring_gcs_rules([rule], PREFIX) == ()

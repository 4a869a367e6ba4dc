"""Which lifecycle rules of a bucket would remove a store's objects, or put them where a read does not reach.

Rules on noncurrent versions, unfinished uploads, and tags that our objects do not bear harm nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

Rule = Mapping[str, Any]

_ARCHIVES = {"GLACIER", "DEEP_ARCHIVE"}
_OF_OLD_VERSIONS = ("numNewerVersions", "daysSinceNoncurrentTime", "noncurrentTimeBefore")


@runtime_checkable
class HasLifecycle(Protocol):
    """A store whose bucket may remove objects by itself."""

    def expiring_rules(self) -> tuple[str, ...]:
        """Name the rules that would remove objects of this store or make them unreadable; empty: none would."""
        ...


def expiring_s3_rules(rules: Iterable[Rule], prefix: str) -> tuple[str, ...]:
    """Return the IDs of S3 rules that reach objects below the prefix."""
    return tuple(
        str(rule.get("ID", "without ID"))
        for rule in rules
        if rule.get("Status") == "Enabled" and _s3_takes_away(rule) and _s3_reaches(rule, prefix)
    )


def _s3_takes_away(rule: Rule) -> bool:
    expiration = rule.get("Expiration", {})
    archived = any(step.get("StorageClass") in _ARCHIVES for step in rule.get("Transitions", ()))
    return "Days" in expiration or "Date" in expiration or archived


def _s3_reaches(rule: Rule, prefix: str) -> bool:
    condition = rule.get("Filter", {})
    condition = condition.get("And", condition)
    if "Tag" in condition or condition.get("Tags"):
        return False
    return _overlap(condition.get("Prefix", rule.get("Prefix", "")), prefix)


def expiring_gcs_rules(rules: Iterable[Rule], prefix: str) -> tuple[str, ...]:
    """Return GCS rules, as text, that reach objects below the prefix."""
    return tuple(str(dict(rule)) for rule in rules if _gcs_takes_away(rule) and _gcs_reaches(rule, prefix))


def _gcs_takes_away(rule: Rule) -> bool:
    condition = rule.get("condition", {})
    live = not any(condition.get(name) for name in _OF_OLD_VERSIONS) and condition.get("isLive") is not False
    return rule.get("action", {}).get("type") == "Delete" and live


def _gcs_reaches(rule: Rule, prefix: str) -> bool:
    prefixes = rule.get("condition", {}).get("matchesPrefix") or ("",)
    return any(_overlap(one, prefix) for one in prefixes)


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)

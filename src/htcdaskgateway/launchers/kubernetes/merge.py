"""A site's changes of a manifest, merged into it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What tells the entries of a list apart, where they have it: as in Kubernetes' own strategic merge.
KEYS = ("name", "mountPath", "containerPort", "key")


def merged(base: Any, change: Any) -> Any:
    """Give what a change makes of a manifest; neither is altered.

    In mappings a value replaces or adds, ``None`` removes; lists whose entries have a name (or a
    ``mountPath``, ``containerPort``, ``key``) are merged entry by entry, others are replaced.
    """
    if isinstance(base, Mapping) and isinstance(change, Mapping):
        found = {key: value for key, value in base.items() if change.get(key, ...) is not None}
        for key, value in change.items():
            if value is not None:
                found[key] = merged(base.get(key), value)
        return found
    if isinstance(base, list) and isinstance(change, list) and (key := _key(base, change)):
        entries = {entry[key]: entry for entry in base}
        for entry in change:
            entries[entry[key]] = merged(entries.get(entry[key]), entry)
        return list(entries.values())
    if isinstance(change, Mapping):
        return merged({}, change)
    return list(change) if isinstance(change, list) else change


MAPPINGS = ("metadata", "metadata.labels", "metadata.annotations", "spec", "spec.nodeSelector")
LISTS = ("containers", "initContainers", "volumes", "tolerations", "imagePullSecrets")


def misshapen(template: Mapping[str, Any]) -> str:
    """What keeps a site's change from being one of a pod, in words; empty: nothing that is seen here."""
    for path in MAPPINGS:
        found: Any = template
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        if found is not None and not isinstance(found, Mapping):
            return f"{path} is {found!r}, and not a mapping"
    for name in LISTS:
        found = (template.get("spec") or {}).get(name)
        if found is None or (isinstance(found, list) and all(isinstance(one, Mapping) for one in found)):
            continue
        return f"spec.{name} is {found!r}, and not a list of mappings"
    return ""


def _key(*lists: list[Any]) -> str:
    """By what all entries of the lists can be told apart; empty: by nothing."""
    for key in KEYS:
        entries = [entry for one in lists for entry in one]
        if all(_has(entry, key) for entry in entries) and not any(_repeats(one, key) for one in lists):
            return key
    return ""


def _has(entry: Any, key: str) -> bool:
    return isinstance(entry, Mapping) and isinstance(entry.get(key), str | int)


def _repeats(entries: list[Any], key: str) -> bool:
    """Whether two have the same: mounts of one volume have its name, tolerations may have one key."""
    return len({entry[key] for entry in entries}) < len(entries)

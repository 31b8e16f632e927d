"""Ads as HTCondor's tools print them with ``-af:tV``. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any


def ads_of(output: str, attributes: Sequence[str]) -> list[dict[str, Any]]:
    """Read one ad a line, of the attributes that were asked for; those without a value are left out.

    Values are as ClassAds write them, which JSON does too, but for the undefined.
    """
    rows = [line.split("\t") for line in output.splitlines()]
    return [_ad(attributes, row) for row in rows if len(row) == len(attributes)]


def _ad(attributes: Sequence[str], row: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in zip(attributes, row, strict=True):
        try:
            values[name] = json.loads(text)
        except ValueError:
            continue
    return values

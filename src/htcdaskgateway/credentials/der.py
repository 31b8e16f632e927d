"""The little DER that no library at hand reads: extensions of certificates, proxyCertInfo, VOMS attributes.

Pure, and bounded by its input: one level at a time is read, by whoever knows what lies there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import NamedTuple

INTEGER, BIT_STRING, OCTET_STRING, OBJECT_ID = 0x02, 0x03, 0x04, 0x06
UTF8_STRING, GENERALIZED_TIME, SEQUENCE, SET = 0x0C, 0x18, 0x30, 0x31

_MOST_ITEMS = 1000
_TIME = re.compile(rb"(\d{14})(?:\.\d+)?Z")


class UnusableError(Exception):
    """What was read is not what it should be; its text says why and holds none of the content."""


class Item(NamedTuple):
    """One value: its tag, and its content without the header."""

    tag: int
    content: bytes


def items(data: bytes) -> list[Item]:
    """Read the values that follow each other, not what is in them."""
    found: list[Item] = []
    for item in _items(data):
        if len(found) == _MOST_ITEMS:
            raise UnusableError(f"more than {_MOST_ITEMS} DER values in one")
        found.append(item)
    return found


def inside(item: Item, tag: int) -> list[Item]:
    """Read what is in a value, which must have this tag."""
    if item.tag != tag:
        raise UnusableError(f"DER tag {item.tag:#x} where {tag:#x} was expected")
    return items(item.content)


def only(found: list[Item], at: int = 0) -> Item:
    """Take the item at this position, which must be there."""
    if len(found) <= at:
        raise UnusableError("a DER value is missing")
    return found[at]


def _items(data: bytes) -> Iterator[Item]:
    at = 0
    while at < len(data):
        tag = data[at]
        if tag & 0x1F == 0x1F or at + 1 >= len(data):
            raise UnusableError("a DER header cannot be read")
        length, start = data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4:
                raise UnusableError("a DER length cannot be read")
            length = int.from_bytes(data[start : start + size], "big")
            start += size
        if start + length > len(data):
            raise UnusableError("a DER value is cut short")
        yield Item(tag, data[start : start + length])
        at = start + length


def object_id(dotted: str) -> bytes:
    """Encode an object identifier, without its header."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    encoded = bytearray()
    for number in (first * 40 + second, *rest):
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.append(number & 0x7F | 0x80)
        encoded += bytes(reversed(digits))
    return bytes(encoded)


def small_integer(item: Item) -> int:
    """Read an INTEGER that is no large number."""
    if item.tag != INTEGER or not 1 <= len(item.content) <= 8:
        raise UnusableError("a number cannot be read")
    return int.from_bytes(item.content, "big", signed=True)


def generalized_time(item: Item) -> float:
    """Read a GeneralizedTime; seconds since the epoch."""
    match = _TIME.fullmatch(item.content)
    if item.tag != GENERALIZED_TIME or not match:
        raise UnusableError("a time cannot be read")
    try:
        when = datetime.strptime(match[1].decode(), "%Y%m%d%H%M%S")
    except ValueError:
        raise UnusableError("a time cannot be read") from None
    return when.replace(tzinfo=timezone.utc).timestamp()


def extensions(tbs_certificate: bytes) -> dict[bytes, bytes]:
    """Read the extensions of a certificate's signed part: object identifier to value.

    A library would refuse a certificate for any extension that it does not like; the grid's do not.
    """
    for field in inside(only(items(tbs_certificate)), SEQUENCE):
        if field.tag == 0xA3:
            every = [inside(one, SEQUENCE) for one in inside(only(items(field.content)), SEQUENCE)]
            return {only(one).content: one[-1].content for one in every}
    return {}

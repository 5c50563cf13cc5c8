"""Damage to files: bytes, and values of JSON and YAML."""

import json
import random
from collections.abc import Callable
from typing import Any

STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 5, 1.5, -0.0, 1e308, float("nan"), float("inf"), -float("inf"), 2**31, 2**63, 2**64,
    10**40, "", "x", "1", "a" * 3000, "\0", "\ud800", "é", "../x", "/etc/passwd", "007", [], {}, [None], [[]], [1, 2],
    [1, 2, 3, 4], {"a": 1}, {"size": [1, 1], "counts": "x"}, [[1, 2, 3, 4, 5, 6]], "NaN", [["x"] * 6],
)  # fmt: skip
WORDS = (b"\0", b"\xff", b"\x80", b"\n", b"'", b'"', b"{", b"}", b"[", b"]", b"<", b">", b"&", b",", b":", b"%", b"-",
         b"9" * 400, b"nan", b"1e999", b"null", b"0x", b"\xef\xbb\xbf")  # fmt: skip


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    """Some bytes flipped, removed, repeated, moved or written over; or the end cut off."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        if not changed:
            break
        place, length = rng.randrange(len(changed)), min(rng.choice((1, 1, 2, 4, 16, 200)), len(changed))
        kind = rng.randrange(7)
        if kind == 0:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[place : place + length]
        elif kind == 2:
            changed[place:place] = changed[place : place + length]
        elif kind == 3:
            changed[place:place] = rng.choice(WORDS)
        elif kind == 4:
            changed[place : place + length] = rng.randbytes(length)
        elif kind == 5:
            del changed[place:]
        else:
            changed[place : place + length] = rng.choice(WORDS)
    return bytes(changed)


def damaged_value(value: Any, rng: random.Random) -> Any:
    """A copy of a JSON value with one to three places changed."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return rng.choice(STRANGE)
        holder, key = rng.choice(places)
        _change(holder, key, rng)
    return value if rng.randrange(100) else rng.choice(STRANGE)


def _places(value: Any) -> Any:
    """(holder, key) of every value in it."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def _change(holder: Any, key: Any, rng: random.Random) -> None:
    kind = rng.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(key, holder[key])
    elif kind == 1:
        holder[f"{key}x"] = holder.pop(key)
    elif kind == 2 and type(holder[key]) in (int, float):
        holder[key] = rng.choice((-holder[key], holder[key] * 1000, holder[key] + 0.5, str(holder[key])))
    elif kind == 3:
        for _ in range(rng.choice((3, 100))):
            holder[key] = [holder[key]]
    else:
        holder[key] = rng.choice(STRANGE)


def json_or_bytes(value: Any, rng: random.Random) -> bytes:
    """A JSON file with damage to its values, or to its bytes."""
    if rng.random() < 0.7:
        text = json.dumps(damaged_value(value, rng))
        return text.encode("utf-8", "surrogatepass")
    return damaged_bytes(json.dumps(value).encode(), rng)


Damage = Callable[[random.Random], bytes]

"""Lists of JSON objects that somebody else wrote, checked field by field.

A list of a million objects is checked in tenths of a second: the fields of all are taken at once, and their types and
limits compared as sets. Only where something is wrong are the objects walked one by one, to name the first.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from src.common.errors import UserError
from src.common.text import shown

REQUIRED: Any = object()

LONGEST_NAME, LONGEST_PATH = 255, 4096  # bytes, of all usual file systems


@dataclass(frozen=True)
class Rule:
    """What a field may hold.

    Attributes:
        words: what it is, in messages.
        kinds: types of its values, exactly: a bool is no int.
        allows: which of these values; None: all.
    """

    words: str
    kinds: tuple[type, ...]
    allows: Callable[[Any], bool] | None = None

    def holds(self, values: Sequence) -> bool:
        """Whether all values keep the rule."""
        if not set(self.kinds).issuperset(map(type, values)):
            return False
        return self.allows is None or all(map(self.allows, values))


def _is_file_name(name: str) -> bool:
    if not name or "\0" in name:
        return False
    try:
        parts = os.fsencode(name).split(b"/")
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return len(name) < LONGEST_PATH and max(map(len, parts)) <= LONGEST_NAME


ID = Rule("a whole number of 64 bits", (int,), lambda value: -(2**63) <= value < 2**63)
NUMBER = Rule("a number", (int, float))
SIDE = Rule("a positive number of pixels", (int, float), lambda value: 1 <= value < 2**31 and value == int(value))
FILE_NAME = Rule("the name of a file", (str,), _is_file_name)


def check_list(entries: object, where: str) -> list:
    """The list itself; raises a UserError where it is none."""
    if not isinstance(entries, list):
        raise UserError(f"{where} is {shown(entries)}, not a list")
    return entries


def column(entries: Sequence, name: str, rule: Rule, where: str, default: Any = REQUIRED, first: int = 0) -> list:
    """The field `name` of each entry.

    Args:
        entries: should be JSON objects.
        name: of the field.
        rule: what it may hold.
        where: file and name of the list, for messages.
        default: for entries without the field, which need not keep the rule; without a default each must have it.
        first: place of the first entry in its list, where only some of it is checked.

    Raises:
        UserError: an entry is no object, lacks the field, or has something else there; names the first.
    """
    try:
        values = [entry[name] if default is REQUIRED else entry.get(name, default) for entry in entries]
    except (KeyError, TypeError, IndexError, AttributeError):
        values = None
    if values is not None and rule.holds(values if default is REQUIRED else [v for v in values if v is not default]):
        return values
    for number, entry in enumerate(entries, first):
        if not isinstance(entry, dict):
            raise UserError(f"{where}[{number}] is {shown(entry)}, not an object")
        value = entry.get(name, default)
        if value is REQUIRED:
            raise UserError(f"{where}[{number}] has no {name}: it is {shown(entry)}")
        if value is not default and not rule.holds([value]):
            raise UserError(f"{where}[{number}]: {name} is {shown(value)}, not {rule.words}")
    raise AssertionError(f"{where}: {name} is wrong nowhere")

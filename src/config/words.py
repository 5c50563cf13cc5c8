"""What the words of a command line stand for: texts as they are, everything else read as YAML."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from src.common.errors import UserError
from src.common.text import shortened
from src.common.yaml_values import YamlError, parse_texts, parse_yaml

EMPTY_TEXTS = ("''", '""')  # how YAML writes an empty text, for those who do so on a command line, too


def word_value(name: str, word: Any, field: FieldInfo | None = None) -> Any:
    """The value that a word of the command line stands for.

    Args:
        name: the key, for messages.
        word: the word; anything but a string (`--key` alone is True) is a value already.
        field: of the key. One that holds texts takes the word as it is, a list of texts takes YAML's list with its
            entries as they are; None: not known, read as YAML.

    Raises:
        UserError: it cannot be read.
    """
    if not isinstance(word, str) or word == "":
        return word
    kind = None if field is None else field.annotation
    if _is_text(kind):
        return "" if word in EMPTY_TEXTS else word
    entries = get_args(kind) if get_origin(kind) is list else ()
    try:
        return parse_texts(word) if entries and _is_text(entries[0]) else parse_yaml(word)
    except YamlError as error:
        raise UserError(f"command line: --{name} {shortened(word)}: cannot be read as a value ({error})") from None


def words_as_values(words: Mapping[str, Any], fields: Mapping[str, FieldInfo], spellings: Mapping[str, tuple]) -> dict:
    """{key: value} of {key: word}.

    Args:
        words: of the command line.
        fields: by dotted key.
        spellings: {published spelling: the keys it sets}.
    """
    return {name: word_value(name, word, fields.get(spellings.get(name, (name,))[0])) for name, word in words.items()}


def _is_text(kind: Any) -> bool:
    return kind is str or (get_origin(kind) is Literal and all(isinstance(one, str) for one in get_args(kind)))

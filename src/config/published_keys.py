"""Spellings of keys in the published READMEs that this project writes in the field's standard terms.

A configuration file or a command line may use either. `standard_keys` translates before anything is checked.
"""

from typing import Any

from src.common.errors import UserError
from src.models.table import DETECTORS

# {published spelling: key, or keys that it sets together}, for all detectors; each spec has more. A list with as
# many entries as there are keys is dealt out to them in order, any other value goes to each.
COMMON_KEYS: dict[str, str | tuple[str, ...]] = {
    "ckpt_file": "checkpoint_path",
    "pretrained": "pre_trained",
    "mindrecord_dr": "mindrecord_dir",
    "IMAGE_DIR": "image_dir",
    "ANNO_PATH": "anno_path",
    "distribute": "run_distribute",
    "run_online": "enable_modelarts",
    "img_shape": ("img_height", "img_width"),
}


def published_keys(detector: Any) -> dict[str, tuple[str, ...]]:
    """{published spelling: the keys it sets} for a detector; those of every detector where it is none."""
    own = DETECTORS[detector].published_keys if isinstance(detector, str) and detector in DETECTORS else {}
    table = {**COMMON_KEYS, **own}
    return {seed: (names,) if isinstance(names, str) else names for seed, names in table.items()}


def standard_keys(values: dict, detector: Any, origin: str) -> tuple[dict, dict[str, str]]:
    """Replace published spellings in one file's (or the command line's) values.

    Args:
        values: nested values; published spellings stand at the top. Not changed.
        detector: value of the key `detector`.
        origin: file, for messages.

    Returns:
        The values under this project's keys, and {dotted key: the spelling that it was written as}.

    Raises:
        UserError: a key is given in both spellings with different values, none of them empty, or a list does not fit
            its keys.
    """
    table = published_keys(detector)
    result = _copied({name: value for name, value in values.items() if name not in table})
    spelled: dict[str, str] = {}
    for seed in (name for name in values if name in table):
        where = f"{origin}: {seed}"
        for name, value in _dealt(values[seed], table[seed], where):
            if _set(result, name.split("."), value, where, spelled.get(name)):
                spelled[name] = seed
    return result, spelled


def _copied(values: dict) -> dict:
    return {name: _copied(value) if isinstance(value, dict) else value for name, value in values.items()}


def _dealt(value: Any, names: tuple[str, ...], where: str) -> list[tuple[str, Any]]:
    if len(names) == 1 or not isinstance(value, list):
        return [(name, value) for name in names]
    if len(value) != len(names):
        raise UserError(f"{where} has {len(value)} values; give one for all, or {len(names)}: {', '.join(names)}")
    return list(zip(names, value, strict=True))


def _set(values: dict, parts: list[str], value: Any, where: str, spelled: str | None) -> bool:
    """Set a nested key, and say whether the value is used: one that is there, and not empty, comes before an empty one.

    Two that are not empty must be equal. `spelled`: the spelling that the key was given in before.
    """
    for depth, part in enumerate(parts[:-1]):
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise UserError(f"{where} sets {'.'.join(parts)}, but {'.'.join(parts[: depth + 1])} is {values!r}")
    found = values.get(parts[-1], "")
    if found in ("", None):
        values[parts[-1]] = value
        return True
    if value in ("", None):
        return False
    if found != value:
        name = spelled or ".".join(parts)
        raise UserError(f"{where} is {value!r}, but {name}, another spelling of it, is {found!r}; give one of them")
    return True

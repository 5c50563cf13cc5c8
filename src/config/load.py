"""Read, check, save and explain configurations.

A configuration is a YAML file; `base: ../_base_/x.yaml` names one file it inherits from, key by key; a copy of a file
of configs/ finds its base wherever it lies. `--key value` and `--section.key value` on the command line come last.
Nothing heavy is imported before everything was checked.
"""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from src.common.atomic import atomic_path
from src.common.errors import UserError
from src.common.text import is_unicode, shortened, shown
from src.common.yaml_values import DEEPEST, YamlError, parse_yaml
from src.config.checks import inconsistencies
from src.config.classes import fill_classes
from src.config.published_keys import published_keys, standard_keys
from src.config.words import words_as_values
from src.models.api import UnknownNameError
from src.models.paths import CONFIGS
from src.models.table import DEFAULT_DETECTOR, DETECTORS
from src.schema import Config

Layer = tuple[str, dict]  # file (or the command line), its nested values

COMMAND_LINE = "command line"


def load_config(path: str | Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read a YAML file, what it inherits, and apply overrides; published spellings are welcome.

    Args:
        path: YAML file.
        overrides: {"key" or "section.key": value}; strings are taken as they are for keys that hold texts, and read as
            YAML for others ("0.1", "[1, 2]", "true").

    Returns:
        The checked configuration.

    Raises:
        UserError: an unknown key (the nearest known one is named), a wrong type, an impossible or contradictory value.
    """
    return _checked(_read_with_bases(Path(path), ()), overrides or {}, str(path))


def config_from_values(values: dict[str, Any], origin: str, overrides: dict[str, Any] | None = None) -> Config:
    """`load_config` of values that stand in no YAML file, such as those that a checkpoint holds.

    Args:
        values: nested values.
        origin: where they are from, for messages.
        overrides: as of `load_config`.
    """
    return _checked([(origin, values)], overrides or {}, origin)


def save_config(config: Config, path: str | Path) -> None:
    """Write the effective configuration as YAML that `load_config` reads."""
    text = yaml.safe_dump(config.model_dump(), sort_keys=False, default_flow_style=None, width=120)
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def _checked(files: list[Layer], overrides: dict[str, Any], path: str) -> Config:
    """The configuration of the files' values with those of the command line on top."""
    command_line = _nested(_read_words(files, overrides))
    return _validate(*_combined([*files, (COMMAND_LINE, command_line)]), path)


def _read_words(files: list[Layer], overrides: dict[str, Any]) -> dict[str, Any]:
    """The values of the command line's words, which depend on the keys of the detector and backbone that are chosen."""
    choices: dict[str, Any] = {name: overrides[name] for name in ("detector", "backbone.type") if name in overrides}
    merged, _ = _combined([*files, (COMMAND_LINE, _nested(choices))])
    detector = merged.get("detector", DEFAULT_DETECTOR)
    try:
        model = DETECTORS[detector].config_class(merged) if _is_detector(detector) else Config
    except UnknownNameError:  # reported when the whole configuration is checked
        model = Config
    return words_as_values(overrides, dict(leaves(model)), published_keys(detector))


def _is_detector(name: Any) -> bool:
    return isinstance(name, str) and name in DETECTORS


def _read_with_bases(path: Path, seen: tuple[Path, ...]) -> list[Layer]:
    """A file and its bases, the innermost base first."""
    if path.resolve() in seen:
        raise UserError(f"{path}: inherits from itself through {' -> '.join(map(str, seen))}")
    values = _read_yaml(path)
    base = values.pop("base", None)
    if base is None:
        return [(str(path), values)]
    if not isinstance(base, str):
        raise UserError(f"{path}: base must be the path of one YAML file, not {base!r}")
    return [*_read_with_bases(_find_base(path, base), (*seen, path.resolve())), (str(path), values)]


def _find_base(path: Path, base: str) -> Path:
    """The file that `path` inherits from: relative to it, or where it would be if `path` still stood in configs/."""
    beside = path.parent / base
    if beside.is_file():
        return beside
    ours = sorted({(folder / base).resolve() for folder in CONFIGS.iterdir() if (folder / base).is_file()})
    if len(ours) == 1:
        return ours[0]
    choice = f"; this project has {', '.join(map(str, ours))}: name one of them" if ours else ""
    raise UserError(f"{path}: base {base} does not exist ({beside}){choice}")


def _nested(overrides: dict[str, Any]) -> dict:
    """{'a.b': value} -> {'a': {'b': value}}."""
    nested: dict[str, Any] = {}
    for name, value in overrides.items():
        section, parts = nested, name.split(".")
        if len(parts) > DEEPEST or not is_unicode(name):
            raise UserError(f"{COMMAND_LINE}: unknown key {shown(name)}; --help lists the keys")
        for part in parts[:-1]:
            if not isinstance(section.get(part), dict):
                section[part] = {}
            section = section[part]
        section[parts[-1]] = value
    return nested


def _combined(layers: list[Layer]) -> tuple[dict, dict[str, str]]:
    """Merged values under this project's keys, and where each dotted key came from."""
    detector = next((values["detector"] for _, values in layers[::-1] if "detector" in values), DEFAULT_DETECTOR)
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, values in layers:
        values, spelled = standard_keys(values, detector, origin)
        _drop_keys_of_another_backbone(merged, values, detector)
        _drop_facts_of_other_classes(merged, values)
        _merge(merged, values, origins, origin, ())
        origins.update({name: f"{origin} (as {seed})" for name, seed in spelled.items()})
    return merged, origins


def _drop_keys_of_another_backbone(merged: dict, values: dict, detector: Any) -> None:
    """A layer that names its own backbone inherits only the keys that this backbone has."""
    inherited, own = merged.get("backbone"), values.get("backbone")
    if not (isinstance(inherited, dict) and isinstance(own, dict) and "type" in own and _is_detector(detector)):
        return
    try:
        config_class = DETECTORS[detector].config_class({"backbone": own})
    except UnknownNameError:  # reported when the whole configuration is checked
        return
    known = config_class.model_fields["backbone"].annotation
    if isinstance(known, type) and issubclass(known, BaseModel):
        merged["backbone"] = {name: value for name, value in inherited.items() if name in known.model_fields}


def _drop_facts_of_other_classes(merged: dict, values: dict) -> None:
    """A layer that names its own classes does not inherit category ids, one that leaves them open not their number."""
    if "category_ids" not in values and values.get("coco_classes") not in (None, merged.get("coco_classes")):
        merged.pop("category_ids", None)
    if values.get("coco_classes") == []:
        merged.pop("num_classes", None)


def _read_yaml(path: Path) -> dict:
    if not path.is_file():
        raise UserError(f"configuration {path} does not exist")
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except YamlError as error:
        line = f", line {error.line}" if error.line else ""
        raise UserError(f"{path}{line}: not valid YAML ({error})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot read the configuration ({error.strerror})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no keys; a configuration is a list of 'key: value' lines")
    return values


def _merge(target: dict, values: dict, origins: dict, origin: str, prefix: tuple[str, ...]) -> None:
    for name, value in values.items():
        here = (*prefix, str(name))
        if isinstance(value, dict) and isinstance(target.get(name), dict):
            _merge(target[name], value, origins, origin, here)
        else:
            target[str(name)] = value
            origins[".".join(here)] = origin


def _model(values: dict, origins: dict, path: str) -> type[Config]:
    """The class of configurations that `detector` and its spec choose."""
    name = values.get("detector", DEFAULT_DETECTOR)
    try:
        if not _is_detector(name):
            raise UnknownNameError("detector", name, list(DETECTORS))
        return DETECTORS[name].config_class(values)
    except UnknownNameError as error:
        raise UserError(f"{_origin(error.key, origins, path)}: {error}") from None


def _validate(values: dict, origins: dict, path: str) -> Config:
    model = _model(values, origins, path)
    try:
        config = model.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error.errors()[0], model, origins, path)) from None
    config._config_path = path
    fill_classes(config)
    for name, problem in inconsistencies(config):
        raise UserError(f"{_origin(name, origins, path)}: {name} {problem}")
    return config


def _origin(name: str, origins: dict, path: str) -> str:
    """The file (or the command line) that set a key, or the nearest section around it."""
    parts = name.split(".")
    while parts:
        if (found := origins.get(".".join(parts))) is not None:
            return found
        parts.pop()
    return path


def _explain(error: ErrorDetails, model: type[Config], origins: dict, path: str) -> str:
    parts = [shortened(str(part)) for part in error["loc"]]
    name = ".".join(parts)
    where = _origin(name, origins, path)
    if error["type"] == "extra_forbidden":
        # A section that only a published spelling made has its origin at the key in it.
        where = next((origin for key, origin in origins.items() if key.startswith(f"{name}.")), where)
        close = _nearest_key(parts, model)
        return f"{where}: unknown key '{name}'" + (f"; did you mean '{close}'?" if close else "; --help lists the keys")
    message = error["msg"].removeprefix("Value error, ")
    what = message[0].lower() + message[1:]
    return f"{where}: {name}: {shown(error['input'])} is not allowed: {what}"


def _nearest_key(parts: list[str], model: type[Config]) -> str | None:
    known = [name for name, _ in leaves(model)] + [name for name, _ in _sections(model)]
    siblings = {name.split(".")[-1]: name for name in known if name.split(".")[:-1] == parts[:-1]}
    published = {name: name for name in published_keys(model.model_fields["detector"].default)}
    same_leaf = [name for name in known if name.split(".")[-1] == parts[-1]]
    if not same_leaf:
        siblings = published | siblings
    # A key of the same name elsewhere is likelier meant than one that only resembles it.
    if close := difflib.get_close_matches(parts[-1], siblings, n=1, cutoff=0.8 if same_leaf else 0.6):
        return siblings[close[0]]
    close = same_leaf[:1] or difflib.get_close_matches(".".join(parts), known, n=1, cutoff=0.5)
    return close[0] if close else None


def _is_section(annotation: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            yield prefix + name, field
            yield from _sections(field.annotation, f"{prefix}{name}.")


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Dotted names and fields of all keys that are no sections."""
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            yield from leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field

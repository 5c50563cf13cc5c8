"""Read, check, save and explain configurations.

A configuration is a YAML file; `base: ../_base_/x.yaml` names one file it inherits from, key by key. `--key value` and
`--section.key value` on the command line come last. Nothing heavy is imported before everything was checked.
"""

import difflib
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from src.model_utils.config_checks import inconsistencies
from src.model_utils.config_schema import BACKBONE_CONFIGS, CONFIGS, Config
from src.model_utils.config_schema.seed_keys import seed_keys, standard_keys
from src.model_utils.default_config import default_config
from src.model_utils.errors import UserError

__all__ = ["Config", "load_config", "config_from_command_line", "config_from_values", "save_config", "require"]

Layer = tuple[str, dict]  # file (or the command line), its nested values

COMMAND_LINE = "command line"
DEFAULT_DETECTOR = "retinanet"


def load_config(path: str | Path, overrides: dict[str, Any] | None = None) -> Config:
    """Read a YAML file, what it inherits, and apply overrides; published spellings of keys (seed_keys.py) are welcome.

    Args:
        path: YAML file.
        overrides: {"key" or "section.key": value}; strings are read as YAML ("0.1", "[1, 2]", "true").

    Returns:
        The checked configuration.

    Raises:
        UserError: an unknown key (the nearest known one is named), a wrong type, an impossible or contradictory value.
    """
    layers = [*_read_with_bases(Path(path), ()), (COMMAND_LINE, _nested(overrides or {}))]
    return _validate(*_combined(layers), str(path))


def config_from_values(values: dict[str, Any], origin: str, overrides: dict[str, Any] | None = None) -> Config:
    """`load_config` of values that stand in no YAML file, such as those that a checkpoint holds.

    Args:
        values: nested values.
        origin: where they are from, for messages.
        overrides: as of `load_config`.
    """
    return _validate(*_combined([(origin, values), (COMMAND_LINE, _nested(overrides or {}))]), origin)


def config_from_command_line(
    doc: str,
    argv: list[str] | None = None,
    extra: dict[str, tuple[Any, str]] | None = None,
    fallback: Callable[[dict[str, Any]], Config | None] | None = None,
) -> Config | tuple[Config, Namespace]:
    """Configuration of a program from its arguments: `--config_path C`, any key as `--key value`, `--help`.

    Args:
        doc: the program's docstring, shown by `--help`.
        argv: arguments without the program's name; None: those of the process.
        extra: arguments of this program alone that are no configuration keys: {name: (default, comment)}.
        fallback: gives the configuration from the other arguments where `--config_path` is missing, or None.

    Returns:
        The configuration, or (configuration, extra arguments) when `extra` is given.
    """
    arguments = _split_arguments(sys.argv[1:] if argv is None else argv)
    path = _config_path(arguments)
    if arguments.pop("help", None) is not None:
        config = load_config(path) if path else None
        print(_help_text(doc, config, extra or {}))
        raise SystemExit(0)
    extras = {name: default for name, (default, _) in (extra or {}).items()}
    for name in extras:
        if name in arguments:
            value = arguments.pop(name)
            extras[name] = _parse_value(name, value) if not isinstance(extras[name], str) else value
    config = load_config(path, arguments) if path is not None else fallback and fallback(arguments)
    if config is None and (default := default_config(Path(sys.argv[0]).name, arguments)) is not None:
        print(f"configuration: {default} (the default of this command; --config_path names another)", flush=True)
        config = load_config(default, arguments)
    if config is None:
        raise UserError("--config_path is missing; give a YAML file of configs/, or --help")
    return (config, Namespace(**extras)) if extra is not None else config


def save_config(config: Config, path: str | Path) -> None:
    """Write the effective configuration as YAML that `load_config` reads."""
    Path(path).write_text(yaml.safe_dump(config.model_dump(), sort_keys=False, default_flow_style=None, width=120))


def require(config: Config, *names: str) -> None:
    """Raise a UserError unless the named keys are set."""
    for name in names:
        if not getattr(config, name):
            comment = type(config).model_fields[name].description
            raise UserError(f"--{name} is missing in {config.config_path or 'the configuration'}: {comment}")


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
    base_path = path.parent / base
    if not base_path.is_file():
        raise UserError(f"{path}: base {base} does not exist ({base_path})")
    return [*_read_with_bases(base_path, (*seen, path.resolve())), (str(path), values)]


def _nested(overrides: dict[str, Any]) -> dict:
    """{'a.b': 'text'} -> {'a': {'b': value}}."""
    nested: dict[str, Any] = {}
    for name, value in overrides.items():
        section, parts = nested, name.split(".")
        for part in parts[:-1]:
            if not isinstance(section.get(part), dict):
                section[part] = {}
            section = section[part]
        section[parts[-1]] = _parse_value(name, value) if isinstance(value, str) else value
    return nested


def _combined(layers: list[Layer]) -> tuple[dict, dict[str, str]]:
    """Merged values under this project's keys, and where each dotted key came from."""
    detector = next((values["detector"] for _, values in layers[::-1] if "detector" in values), DEFAULT_DETECTOR)
    merged, origins = {}, {}
    for origin, values in layers:
        values, spelled = standard_keys(values, detector, origin)
        _merge(merged, values, origins, origin, ())
        origins.update({name: f"{origin} (as {seed})" for name, seed in spelled.items()})
    return merged, origins


def _read_yaml(path: Path) -> dict:
    if not path.is_file():
        raise UserError(f"configuration {path} does not exist")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{path}{line}: not valid YAML ({getattr(error, 'problem', error)})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
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


def _parse_value(name: str, text: Any) -> Any:
    if not isinstance(text, str) or text == "":  # `--key` alone is True
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"command line: --{name} {text}: cannot be read as a value") from None


def _config_path(arguments: dict[str, Any]) -> Any:
    """Take the configuration's path out of the arguments; ModelArts' READMEs write it `_config_path`."""
    path, published = arguments.pop("config_path", None), arguments.pop("_config_path", None)
    if path is not None and published not in (None, path):
        raise UserError(f"command line: _config_path is {published}, but config_path is {path}; give one of them")
    return published if path is None else path


def _split_arguments(argv: list[str]) -> dict[str, Any]:
    """['--a', '1', '--b=2', '--c'] -> {'a': '1', 'b': '2', 'c': True}."""
    arguments: dict[str, Any] = {}
    position = 0
    while position < len(argv):
        word = argv[position]
        position += 1
        if word == "-h":
            word = "--help"
        if not word.startswith("--") or len(word) == 2:
            raise UserError(f"command line: '{word}' is no option; options look like --key value")
        name, equals, value = word[2:].partition("=")
        if not equals:
            if position < len(argv) and not argv[position].startswith("--"):
                value = argv[position]
                position += 1
            else:
                value = True
        arguments[name] = value
    return arguments


def _model(values: dict, origins: dict, path: str) -> type[Config]:
    """The class of configurations that `detector` and `backbone.type` choose."""
    name = values.get("detector", DEFAULT_DETECTOR)
    if not isinstance(name, str) or name not in CONFIGS:
        where = _origin("detector", origins, path)
        raise UserError(f"{where}: detector: {name!r} is not allowed: known are {', '.join(CONFIGS)}")
    backbone = values.get("backbone")
    variants = BACKBONE_CONFIGS.get(name)
    if variants is None or not isinstance(backbone, dict) or "type" not in backbone:
        return CONFIGS[name]
    kind = backbone["type"]
    if not isinstance(kind, str) or kind not in variants:
        where = _origin("backbone.type", origins, path)
        raise UserError(f"{where}: backbone.type: {kind!r} is not allowed: known are {', '.join(variants)}")
    return variants[kind]


def _validate(values: dict, origins: dict, path: str) -> Config:
    model = _model(values, origins, path)
    try:
        config = model.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error.errors()[0], model, origins, path)) from None
    config._config_path = path
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


def _explain(error: dict, model: type[Config], origins: dict, path: str) -> str:
    parts = [str(part) for part in error["loc"]]
    name = ".".join(parts)
    where = _origin(name, origins, path)
    if error["type"] == "extra_forbidden":
        # A section that only a published spelling made has its origin at the key in it.
        where = next((origin for key, origin in origins.items() if key.startswith(f"{name}.")), where)
        close = _nearest_key(parts, model)
        return f"{where}: unknown key '{name}'" + (f"; did you mean '{close}'?" if close else "; --help lists the keys")
    what = error["msg"][0].lower() + error["msg"][1:]
    return f"{where}: {name}: {error['input']!r} is not allowed: {what}"


def _nearest_key(parts: list[str], model: type[Config]) -> str | None:
    known = [name for name, _ in _leaves(model)] + [name for name, _ in _sections(model)]
    siblings = {name.split(".")[-1]: name for name in known if name.split(".")[:-1] == parts[:-1]}
    close = difflib.get_close_matches(parts[-1], siblings, n=1, cutoff=0.6)
    if close:
        return siblings[close[0]]
    same_leaf = [name for name in known if name.split(".")[-1] == parts[-1]]
    known += seed_keys(model.model_fields["detector"].default)
    close = same_leaf[:1] or difflib.get_close_matches(".".join(parts), known, n=1, cutoff=0.5)
    return close[0] if close else None


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _sections(model: type[BaseModel], prefix: str = ""):
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            yield prefix + name, field
            yield from _sections(field.annotation, f"{prefix}{name}.")


def _leaves(model: type[BaseModel], prefix: str = ""):
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            yield from _leaves(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name, field


def _help_text(doc: str, config: Config | None, extra: dict[str, tuple[Any, str]]) -> str:
    """The docstring and a line a key: name, comment, default (the configuration's value when one is given)."""
    lines = [doc.strip(), "", "options:", "  --config_path FILE: the experiment's YAML file"]
    lines += [f"  --{name}: {comment} (default: {default})" for name, (default, comment) in extra.items()]
    lines += ["", f"keys of the configuration{f' (values of {config.config_path})' if config else ''}:"]
    shown_config = config or CONFIGS[DEFAULT_DETECTOR].model_construct()
    published = seed_keys(shown_config.detector)
    for name, field in _leaves(type(shown_config)):
        default = lookup(shown_config, name)
        shown = f"{str(default)[:60]}..." if len(str(default)) > 60 else default
        lines.append(f"  --{name}: {field.description} (default: {shown!r})")
    lines += ["", "published spellings that are understood too:"]
    lines += [f"  --{seed}: {', '.join(names)}" for seed, names in published.items()]
    return "\n".join(lines)


def lookup(config: BaseModel, name: str) -> Any:
    """The value of a key by its dotted name, such as 'rpn.anchor_generator.scales'."""
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value

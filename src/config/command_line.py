"""Configurations from command lines, and what `--help` says."""

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from src.common.errors import UserError
from src.config.load import leaves, load_config
from src.config.published_keys import published_keys
from src.config.words import word_value
from src.models.table import DEFAULT_DETECTOR, DETECTORS
from src.schema import Config, lookup
from src.schema.sections import is_published_only

Arguments = dict[str, Any]  # {key: word, or True for a key without one} of a command line
Fallback = Callable[[Arguments], Config | None]
Options = Mapping[str, tuple[Any, str]]  # {name: (default, comment)}


def config_from_command_line(doc: str, argv: Sequence[str] | None = None, fallbacks: Sequence[Fallback] = ()) -> Config:
    """Configuration of a program from its arguments: `--config_path C`, any key as `--key value`, `--help`.

    Args:
        doc: the program's docstring, shown by `--help`.
        argv: arguments without the program's name; None: those of the process.
        fallbacks: give the configuration from the other arguments where `--config_path` is missing, or None; the first
            that gives one counts.

    Raises:
        UserError: an argument is no option, or see `load_config`; no configuration is named, and no fallback has one.
    """
    return config_and_options(doc, {}, argv, fallbacks)[0]


def config_and_options(
    doc: str, options: Options, argv: Sequence[str] | None = None, fallbacks: Sequence[Fallback] = ()
) -> tuple[Config, Namespace]:
    """`config_from_command_line` of a program with arguments that are no configuration keys.

    Args:
        doc: see `config_from_command_line`.
        options: {name: (default, comment)} of these arguments. Where the default is a string the word is taken as it
            stands, else it is read as YAML.
        argv: see `config_from_command_line`.
        fallbacks: see `config_from_command_line`.

    Returns:
        The configuration, and the options' values.
    """
    path, arguments, values = words_of_command_line(doc, options, argv)
    return _load(path, arguments, fallbacks), values


def words_of_command_line(
    doc: str, options: Options, argv: Sequence[str] | None = None
) -> tuple[Any, Arguments, Namespace]:
    """What a command line says, for a program that finds the configuration itself; arguments as `config_and_options`.

    Returns:
        Path of the configuration, None where none is named; {key: word} of its keys; the options' values.

    Raises:
        UserError: an argument is no option.
    """
    arguments = _split_arguments(sys.argv[1:] if argv is None else argv)
    path = _config_path(arguments)
    if arguments.pop("help", None) is not None:
        print(_help_text(doc, load_config(path) if path else None, options))
        raise SystemExit(0)
    values = {name: default for name, (default, _) in options.items()}
    for name, default in values.items():
        if name in arguments:
            word = arguments.pop(name)
            values[name] = word if isinstance(default, str) else word_value(name, word)
    return path, arguments, Namespace(**values)


def _load(path: Any, arguments: Arguments, fallbacks: Sequence[Fallback]) -> Config:
    if path is not None:
        return load_config(path, arguments)
    for fallback in fallbacks:
        if (config := fallback(arguments)) is not None:
            return config
    raise UserError("--config_path is missing; give a YAML file of configs/, or --help")


def _config_path(arguments: Arguments) -> Any:
    """Take the configuration's path out of the arguments; ModelArts' READMEs write it `_config_path`."""
    path, published = arguments.pop("config_path", None), arguments.pop("_config_path", None)
    if path is not None and published not in (None, path):
        raise UserError(f"command line: _config_path is {published}, but config_path is {path}; give one of them")
    return published if path is None else path


def _split_arguments(argv: Sequence[str]) -> Arguments:
    """['--a', '1', '--b=2', '--c'] -> {'a': '1', 'b': '2', 'c': True}."""
    arguments: Arguments = {}
    position = 0
    while position < len(argv):
        word = argv[position]
        position += 1
        if word == "-h":
            word = "--help"
        if not word.startswith("--") or len(word) == 2:
            raise UserError(f"command line: '{word}' is no option; options look like --key value")
        name, equals, text = word[2:].partition("=")
        value: str | bool = text
        if not equals:
            if position < len(argv) and not argv[position].startswith("--"):
                value = argv[position]
                position += 1
            else:
                value = True
        arguments[name] = value
    return arguments


def _help_text(doc: str, config: Config | None, options: Options) -> str:
    """The docstring and a line per key: name, comment, default (the configuration's value when one is given)."""
    lines = [doc.strip(), "", "options:", "  --config_path FILE: the experiment's YAML file"]
    lines += [f"  --{name}: {comment} (default: {default})" for name, (default, comment) in options.items()]
    lines += ["", f"keys of the configuration{f' (values of {config.config_path})' if config else ''}:"]
    shown_config = config or DETECTORS[DEFAULT_DETECTOR].config_class({}).model_construct()
    published = published_keys(shown_config.detector)
    for name, field in leaves(type(shown_config)):
        default = lookup(shown_config, name)
        shown = f"{str(default)[:60]}..." if len(str(default)) > 60 else default
        comment = f"{field.description}: {', '.join(DETECTORS)}" if name == "detector" else field.description
        if is_published_only(field):
            comment = f"{comment} [published key, nothing reads it]"
        lines.append(f"  --{name}: {comment} (default: {shown!r})")
    lines += ["", "published spellings that are understood too:"]
    lines += [f"  --{seed}: {', '.join(names)}" for seed, names in published.items()]
    return "\n".join(lines)

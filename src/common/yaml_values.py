"""YAML, read within bounds: a file that someone else wrote may be a bomb."""

from typing import Any

import yaml

from src.common.text import is_unicode

MOST_BYTES = 2**19
MOST_NODES = 10_000  # values of a file, each counted as often as aliases repeat it
DEEPEST = 30
LARGEST_INTEGER = 2**63 - 1
MOST_DIGITS = 100  # of a whole number, leading zeros and its sign included


class YamlError(Exception):
    """A text that is no YAML, or too much of it; the message is one line without the file's name."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line  # from 1


def parse_yaml(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        YamlError: it is not valid, nested too deeply, too large once its aliases are written out, or holds a number
            beyond 64 bits or a text with a NUL character.
    """
    return _load(text, _BoundedLoader)


def parse_texts(text: str) -> Any:
    """As `parse_yaml`, with every scalar left as the text it is: `[007, yes]` gives ['007', 'yes']."""
    return _load(text, _TextLoader)


class _TextLoader(yaml.BaseLoader):
    """Leaves every scalar a text, and counts the values while they are composed."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node, unless there are too many or it lies too deep."""
        self._depth += 1
        self._nodes += 1
        if self._depth > DEEPEST or self._nodes > MOST_NODES:
            too_much = f"nested more than {DEEPEST} deep" if self._depth > DEEPEST else f"over {MOST_NODES} values"
            raise YamlError(too_much, self.peek_event().start_mark.line + 1)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _BoundedLoader(_TextLoader, yaml.SafeLoader):
    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """A whole number of 64 bits."""
        if len(node.value) > MOST_DIGITS or abs(value := super().construct_yaml_int(node)) > LARGEST_INTEGER:
            raise YamlError("a whole number is beyond 64 bits", node.start_mark.line + 1)
        return value

    def construct_yaml_str(self, node: yaml.ScalarNode) -> str:
        """A text without what no path and no file in UTF-8 can hold."""
        value = super().construct_yaml_str(node)
        if "\0" in value or not is_unicode(value):
            raise YamlError("a text holds NUL or half of a surrogate pair", node.start_mark.line + 1)
        return value


_BoundedLoader.add_constructor("tag:yaml.org,2002:int", _BoundedLoader.construct_yaml_int)
_BoundedLoader.add_constructor("tag:yaml.org,2002:str", _BoundedLoader.construct_yaml_str)


def _load(text: str, loader_class: type) -> Any:
    if len(text) > MOST_BYTES:
        raise YamlError(f"over {MOST_BYTES} characters")
    loader = None
    try:
        loader = loader_class(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _written_out(node, {}) > MOST_NODES:
            raise YamlError(f"its aliases stand for over {MOST_NODES} values")
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).splitlines()[0]
        raise YamlError(str(problem), mark.line + 1 if mark else None) from None
    except ValueError as error:  # a date such as 2024-02-30
        raise YamlError(str(error)) from None
    finally:
        if loader is not None:
            loader.dispose()


def _written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """Nodes below and including one, with aliases written out; `known` remembers counts by the node's identity."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if (found := known.get(id(node))) is not None:
        return found
    known[id(node)] = MOST_NODES + 1  # what a node that contains itself stands for
    children = [child for pair in node.value for child in pair] if isinstance(node, yaml.MappingNode) else node.value
    count = known[id(node)] = 1 + sum(_written_out(child, known) for child in children)
    return count

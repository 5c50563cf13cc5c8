"""XML annotations of others, with everything that can be wrong with a file as one line."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from xml.parsers import expat

from src.common.errors import UserError


def parse_xml(path: Path) -> tuple[bytes, ElementTree.Element]:
    """The text of an XML file and its root.

    Nothing outside of the file is ever loaded, and expat refuses entities that expand to far more than they are.

    Raises:
        UserError: it cannot be read, or is not valid.
    """
    try:
        text = path.read_bytes()
        return text, ElementTree.fromstring(text)
    except OSError as error:
        raise UserError(f"{path}: cannot read the annotation ({error.strerror})") from None
    except ElementTree.ParseError as error:
        line = error.position[0]
        raise UserError(f"{path}, line {line}: not valid XML ({expat.ErrorString(error.code)})") from None
    except (LookupError, ValueError) as error:  # an encoding that is unknown, or not a character set
        raise UserError(f"{path}: not valid XML ({error}); save it in UTF-8") from None


def places(path: Path, text: bytes, tag: str, count: int) -> list[str]:
    """File and line of each of the `count` elements `tag`; ElementTree forgets lines."""
    starts = [match.start() for match in re.finditer(rb"<%s[\s>]" % tag.encode(), text)]
    if len(starts) != count:  # one in a comment or deeper down
        return [f"{path}, {tag} {number}" for number in range(1, count + 1)]
    lines, line, place = [], 1, 0
    for start in starts:
        line += text.count(b"\n", place, start)
        place = start
        lines.append(line)
    return [f"{path}, line {line}" for line in lines]

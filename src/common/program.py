"""What every command line program of this project shares: where its messages go and how it ends."""

import io
import logging
import signal
import sys
from collections.abc import Callable

from src.common.console import show_messages
from src.common.errors import UserError
from src.common.mindspore_version import unsupported_mindspore

logger = logging.getLogger(__name__)


def run_command(main: Callable[[], int | None]) -> None:
    """Run `main` with messages on the console, and exit.

    Exit codes: what `main` returns (None is 0), 2 after a `UserError` (its line goes to stderr), 130 after Ctrl-C,
    143 after SIGTERM. What another version of MindSpore raises is one line that names that version.
    """
    show_messages()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")  # file names that are not UTF-8 are shown as they are
    signal.signal(signal.SIGTERM, _raise_on_sigterm)
    try:
        code = main() or 0
    except UserError as error:
        logger.error(str(error))
        code = 2
    except (AttributeError, ImportError, TypeError) as error:  # what is elsewhere, or called in another way
        if not (reason := unsupported_mindspore()):
            raise
        logger.error(f"{reason} ({type(error).__name__}: {str(error).strip().splitlines()[0]})")
        code = 2
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        code = 130
    except Terminated:
        sys.stderr.write("terminated\n")
        code = 143
    sys.exit(code)


class Terminated(BaseException):
    """SIGTERM, as an exception, so that `finally` blocks and the trainer's last checkpoint run."""


def _raise_on_sigterm(*_: object) -> None:
    raise Terminated

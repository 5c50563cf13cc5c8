"""What every command line program of this project shares: how it ends."""

import signal
import sys
from collections.abc import Callable

from src.common.errors import UserError


def run_command(main: Callable[[], int | None]) -> None:
    """Run `main` and exit.

    Exit codes: what `main` returns (None is 0), 2 after a `UserError` (its line goes to stderr), 130 after Ctrl-C,
    143 after SIGTERM.
    """
    signal.signal(signal.SIGTERM, _raise_on_sigterm)
    try:
        code = main() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        code = 130
    except Terminated:
        print("terminated", file=sys.stderr, flush=True)
        code = 143
    sys.exit(code)


class Terminated(BaseException):
    """SIGTERM, as an exception, so that `finally` blocks and the trainer's last checkpoint run."""


def _raise_on_sigterm(signum: int, frame: object) -> None:
    raise Terminated

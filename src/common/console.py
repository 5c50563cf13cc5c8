"""What programs tell on the console, through Python's `logging`.

Modules log to `logging.getLogger(__name__)`; `show_messages` lets all of them appear. `print` is left to what a program
is started for: tables, and paths that scripts read.
"""

import logging
import sys

from tqdm import tqdm

PROJECT = "src"  # parent of the loggers of all modules


class ConsoleHandler(logging.Handler):
    """Writes messages to standard output, errors to standard error, above a progress bar where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message as a line."""
        # Looked up for each message, since programs that embed this one redirect the streams.
        stream = sys.stderr if record.levelno >= logging.ERROR else sys.stdout
        tqdm.write(self.format(record), file=stream)
        stream.flush()


class MessageFormatter(logging.Formatter):
    """Information as it is; other levels begin with their name: `warning: ...`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a message."""
        text = super().format(record)
        return text if record.levelno == logging.INFO else f"{record.levelname.lower()}: {text}"


def show_messages() -> None:
    """Show what this project's modules log from level INFO on; a second call changes nothing."""
    logger = logging.getLogger(PROJECT)
    if any(isinstance(handler, ConsoleHandler) for handler in logger.handlers):
        return
    handler = ConsoleHandler()
    handler.setFormatter(MessageFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

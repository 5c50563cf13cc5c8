"""The arguments of app.py that are no configuration keys."""

from argparse import Namespace
from dataclasses import dataclass

from src.common.errors import UserError

OPTIONS = {
    "host": ("127.0.0.1", "address to listen on; 0.0.0.0: every network of this machine, for anyone who reaches it"),
    "port": (8000, "port to listen on; 0: a free one"),
    "max_bytes": (33_554_432, "most bytes of an image or a video"),
    "max_frames": (1000, "most frames of a video"),
    "max_waiting": (16, "most requests at a time; further ones are refused until one is answered"),
}
LARGEST_PORT = 65_535


@dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
        max_bytes: of a request's body.
        max_frames: of a video.
        max_waiting: requests that are answered or wait at a time.
    """

    max_bytes: int
    max_frames: int
    max_waiting: int

    @classmethod
    def of(cls, options: Namespace) -> "Limits":
        """Those of a command line.

        Raises:
            UserError: one is not a number over 0.
        """
        names = ("max_bytes", "max_frames", "max_waiting")
        return cls(**{name: whole_number(options, name, 1) for name in names})


def whole_number(options: Namespace, name: str, least: int, most: int | None = None) -> int:
    """The value of an option that is a whole number.

    Raises:
        UserError: it is none, or out of range.
    """
    value = getattr(options, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise UserError(f"--{name} {value}: should be a whole number {span}")
    return value

"""The server of app.py."""

import logging
import socket
from argparse import Namespace
from functools import partial
from typing import Any

import numpy as np

from src.commands.app.options import LARGEST_PORT, Limits, whole_number
from src.common.errors import UserError
from src.config.published_keys import standard_keys
from src.predictor import Detector

logger = logging.getLogger(__name__)

MAX_PIXELS = 30_000_000  # of an image; several are in memory at a time
BACKLOG = 128  # connections that the system keeps until they are accepted
FIRST_IMAGES = ((48, 64), (64, 48))  # height, width: networks are compiled for their inputs' shapes when they first run


def serve(config_path: str | None, keys: dict[str, Any], options: Namespace) -> None:
    """Load a detector, then answer requests until SIGTERM or Ctrl-C; those that were begun are answered to the end.

    Args:
        config_path: the configuration; None: that of the checkpoint, or of the exported file's card.
        keys: {key: word} of the command line.
        options: values of `OPTIONS`.

    Raises:
        UserError: a package is missing, the port is taken, or what `Detector` says.
    """
    limits = Limits.of(options)
    named, _ = standard_keys(keys, None, "command line")
    checkpoint = named.pop("checkpoint_path", "")
    if not checkpoint or checkpoint is True:
        raise UserError("--checkpoint_path is missing; give a checkpoint, or a file that export.py wrote")
    try:
        import starlette  # noqa: F401  imported by `Interface`
        import uvicorn
    except ImportError as error:
        raise UserError(f"app.py needs the package {error.name}: pip install starlette uvicorn") from None
    with listening_socket(options) as listening:
        from src.commands.app.interface import Interface  # not before: it imports MindSpore
        from src.commands.app.one_thread import pipeline_in_one_thread

        overrides = {"max_image_pixels": MAX_PIXELS, **named}
        pipeline = pipeline_in_one_thread(partial(Detector, str(checkpoint), config_path, overrides))
        for height, width in FIRST_IMAGES:
            list(pipeline.detect_listed([np.zeros((height, width, 3), np.uint8)]))
        application = Interface(pipeline, limits).application()
        config = uvicorn.Config(application, log_config=None, access_log=False, lifespan="off", server_header=False)
        host, port = listening.getsockname()[:2]
        logger.info(f"the page is http://{f'[{host}]' if ':' in host else host}:{port}/ (Ctrl-C ends it)")
        uvicorn.Server(config).run(sockets=[listening])


def listening_socket(options: Namespace) -> socket.socket:
    """A socket that connections wait at; those that come before the detector is loaded wait for it.

    Raises:
        UserError: the address is none of this machine, or the port is taken.
    """
    port = whole_number(options, "port", 0, LARGEST_PORT)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listening = socket.create_server((options.host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UserError(f"--host {options.host} --port {port}: {error.strerror or error}") from None
    # Inherited by connections: an answer's body must not wait 40 ms for the acknowledgement of its header.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening

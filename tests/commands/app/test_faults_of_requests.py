"""app.py's HTTP interface where a client is slow or the network fails, without a server; and the network's thread."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from src.blocks.detections import Detections
from src.commands.app import interface
from src.commands.app.interface import Interface
from src.commands.app.one_thread import pipeline_in_one_thread
from src.commands.app.options import Limits
from src.predictor.detect_images import InferenceOptions
from src.predictor.pipeline import Pipeline

SCOPE = {
    "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "POST",
    "path": "/detect", "raw_path": b"/detect", "root_path": "", "query_string": b"", "headers": [], "scheme": "http",
    "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
}  # fmt: skip
WHOLE = {"type": "http.request", "body": b"image", "more_body": False}
PART = {"type": "http.request", "body": b"im", "more_body": True}
LEFT = {"type": "http.disconnect"}


def ask(asked: Interface, *events: dict) -> tuple[int, dict | None]:
    """Status and answer for what a client sends; then it is silent."""
    sent: list[dict] = []
    waiting = list(events)

    async def receive() -> dict:
        return waiting.pop(0) if waiting else await asyncio.sleep(60)

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(asked.application()(SCOPE, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body) if body else None


def test_a_slow_body_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface, "BODY_SECONDS", 0.05)
    asked = Interface(None, Limits(100, 1, 1))
    assert ask(asked, PART) == (408, {"error": "did not arrive within 0.05 seconds"})
    assert asked.waiting == 0


def test_a_client_that_leaves_is_no_fault() -> None:
    asked = Interface(None, Limits(100, 1, 1))
    assert ask(asked, PART, LEFT) == (499, None)
    assert asked.waiting == 0


def test_a_fault_of_the_network_is_one_line_and_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(pipeline, image):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(interface, "image_answer", fail)
    asked = Interface(None, Limits(100, 1, 1))
    with pytest.raises(RuntimeError, match="out of memory"):
        ask(asked, WHOLE)
    assert asked.waiting == 0
    monkeypatch.setattr(interface, "image_answer", lambda pipeline, image: json.dumps(image.decode()))
    assert ask(asked, WHOLE) == (200, "image")


def test_the_network_is_made_and_computes_in_one_thread() -> None:
    threads = set()

    class Net:
        def __init__(self):
            threads.add(threading.get_ident())

        def predict(self, images, info):
            threads.add(threading.get_ident())
            ones = [[1.0]] * len(images)
            return Detections([[[0, 0, 1, 1]]] * len(images), ones, [[0]] * len(images), [[True]] * len(images))

    def make():
        prepare = lambda image: (np.zeros((3, 2, 2), np.float32), np.float32([4, 4, 2, 2, 1, 1]))  # noqa: E731
        return SimpleNamespace(pipeline=Pipeline(Net(), prepare, None, InferenceOptions(["thing"], [])))

    pipeline = pipeline_in_one_thread(make)
    with ThreadPoolExecutor(4) as clients:
        image = np.zeros((4, 4, 3), np.uint8)
        found = list(clients.map(lambda _: next(iter(pipeline.detect_listed([image]))).result, range(8)))
    assert len(threads) == 1 and threading.get_ident() not in threads
    assert found == [found[0]] * 8 and found[0]["predictions"][0]["score"] == 1.0
    assert pipeline.net.training is False
    with pytest.raises(ValueError, match="not trained"):
        pipeline.net.set_train()


def test_what_makes_the_network_fails_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        pipeline_in_one_thread(lambda: 1 / 0)

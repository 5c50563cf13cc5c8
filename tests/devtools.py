"""A page in a headless browser, driven through Chromium's DevTools protocol (JSON over two pipes)."""

import itertools
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.browser import OPTIONS, browser_program

SECONDS = 60  # that an answer or a state may take
# The browser reads commands from descriptor 3 and writes answers to 4.
WITH_PIPES = 'exec "$0" "${@:3}" 3<&"$1" 4>&"$2"'


class Page:
    """A page that is open in a browser.

    Args:
        commands: descriptor that takes commands.
        answers: descriptor that gives answers and events.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers = commands, answers
        self.numbers = itertools.count(1)
        self.received = b""
        self.session = ""

    def open(self, address: str) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("DOM.enable")
        self.call("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete'")

    def call(self, method: str, **parameters: Any) -> dict:
        """The result of a command."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._message()).get("id") != number:
            pass  # an event
        assert "result" in answer, answer
        return answer["result"]

    def value(self, expression: str) -> Any:
        """What JavaScript makes of an expression; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Until an expression is true."""
        end = time.monotonic() + SECONDS
        while not self.value(expression):
            assert time.monotonic() < end, f"{expression}; the page says: {self.value('document.body.innerText')}"
            time.sleep(0.05)

    def choose_file(self, selector: str, path: Path) -> None:
        """Give a file to an <input type="file">, as its dialog does."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def drop_file(self, selector: str, path: Path) -> None:
        """Drop a file on an element."""
        place = f"document.querySelector('{selector}').getBoundingClientRect()"
        x, y = self.value(f"(r => [r.x + r.width / 2, r.y + r.height / 4])({place})")
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def download(self, selector: str, folder: Path) -> Path:
        """The one file that a click saves into an empty folder."""
        folder.mkdir()
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.value(f"document.querySelector('{selector}').click()")
        end = time.monotonic() + SECONDS
        while not (saved := [path for path in folder.glob("*[!d]") if path.stat().st_size]):  # .crdownload: not yet
            assert time.monotonic() < end, f"nothing in {folder}"
            time.sleep(0.05)
        (path,) = saved
        return path

    def _message(self) -> dict:
        while b"\0" not in self.received:
            assert select.select([self.answers], [], [], SECONDS)[0], "the browser does not answer"
            part = os.read(self.answers, 2**20)
            assert part, "the browser has ended"
            self.received += part
        message, self.received = self.received.split(b"\0", 1)
        return json.loads(message)


@contextmanager
def open_page(address: str, folder: Path) -> Iterator[Page]:
    """A page in a browser of its own, whose files lie in `folder`; skips where there is no browser."""
    options = [*OPTIONS, f"--user-data-dir={folder}", "--remote-debugging-pipe", "--no-first-run"]
    program = browser_program()
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    words = ["bash", "-c", WITH_PIPES, program, str(commands_out), str(answers_in), *options]
    with (folder.parent / "browser.log").open("wb") as log:
        browser = subprocess.Popen(words, pass_fds=(commands_out, answers_in), stdout=log, stderr=log)
    os.close(commands_out)
    os.close(answers_in)
    try:
        page = Page(commands_in, answers_out)
        page.open(address)
        yield page
        page.call("Browser.close")
    finally:
        os.close(commands_in)
        os.close(answers_out)
        try:
            browser.wait(20)
        except subprocess.TimeoutExpired:
            browser.kill()
            browser.wait()

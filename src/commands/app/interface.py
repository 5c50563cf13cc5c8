"""The HTTP interface of app.py: its page, POST /detect and POST /detect_video."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from src.commands.app.answers import RefusedError, VideoAnswer, image_answer
from src.commands.app.options import Limits
from src.predictor.pipeline import Pipeline

PAGE = Path(__file__).with_name("page")
BODY_SECONDS = 60  # in which a body must arrive
CLIENT_LEFT = 499  # nobody reads this answer


class Interface:
    """Answers requests with a detector.

    Args:
        pipeline: what predicts; called from several threads.
        limits: what is refused.
    """

    def __init__(self, pipeline: Pipeline, limits: Limits) -> None:
        self.pipeline, self.limits = pipeline, limits
        self.waiting = 0  # requests that are not answered yet

    def application(self) -> Starlette:
        """What a server runs."""
        routes = [
            Route("/detect", self.detect, methods=["POST"]),
            Route("/detect_video", self.detect_video, methods=["POST"]),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ]
        handlers: dict = {RefusedError: _refusal, ClientDisconnect: _nobody, Exception: _fault}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def detect(self, request: Request) -> Response:
        """An image to its JSON."""
        self.waiting += 1
        try:
            image = await self._body(request)
            answer = await run_in_threadpool(image_answer, self.pipeline, image)
        finally:
            self.waiting -= 1
        return Response(answer, media_type="application/json")

    async def detect_video(self, request: Request) -> Response:
        """A video to a line of JSON for each frame; with ?pictures=1 each has its frame as well."""
        self.waiting += 1
        try:
            video = await self._body(request)
            pictures = request.query_params.get("pictures", "0") not in ("", "0")
            answer = await run_in_threadpool(VideoAnswer, self.pipeline, video, self.limits, pictures)
        except BaseException:
            self.waiting -= 1
            raise
        headers = {"X-Frame-Rate": str(answer.rate), "X-Frame-Count": str(answer.count or "")}
        return _VideoResponse(answer, self._answered, headers)

    def _answered(self) -> None:
        self.waiting -= 1

    async def _body(self, request: Request) -> bytes:
        """The body of a request. One that is refused is read too, and dropped, else its sender would see no answer.

        Raises:
            RefusedError: it is too large or too slow, or too many requests wait.
        """
        full = self.waiting > self.limits.max_waiting
        most = 0 if full else self.limits.max_bytes
        try:
            body, size = await asyncio.wait_for(_received(request, most), BODY_SECONDS)
        except asyncio.TimeoutError:  # another class than TimeoutError in Python 3.10
            raise RefusedError(408, f"did not arrive within {BODY_SECONDS} seconds") from None
        if full:
            raise RefusedError(503, f"{self.limits.max_waiting} requests wait already (--max_waiting); try again")
        if size > most:
            raise RefusedError(413, f"has {size} bytes, over --max_bytes {most}")
        return body


async def _received(request: Request, most: int) -> tuple[bytes, int]:
    """The first bytes of a body, some more than `most` where it is longer, and its size."""
    body, size = bytearray(), 0
    async for part in request.stream():
        size += len(part)
        if len(body) <= most:
            body += part
    return bytes(body), size


class _VideoResponse(StreamingResponse):
    """The lines of a video, and what follows the last, also where the client leaves before."""

    def __init__(self, answer: VideoAnswer, done: Callable[[], None], headers: dict[str, str]) -> None:
        super().__init__(self._lines(), headers=headers, media_type="application/x-ndjson")
        self.answer, self.done = answer, done

    async def _lines(self) -> AsyncIterator[str]:
        while (line := await run_in_threadpool(self.answer.next_line)) is not None:
            yield line

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.answer.close()
            self.done()


async def _refusal(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    headers = {"Retry-After": "1"} if error.status == 503 else None
    return JSONResponse({"error": error.line}, error.status, headers)


async def _nobody(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


async def _fault(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "the detector failed; the server's messages say why"}, 500)

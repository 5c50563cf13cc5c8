"""app.py's HTTP interface: the JSON of infer.py, what is refused, and what signals do."""

import http.client
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from argparse import Namespace
from pathlib import Path

import pytest

from src.commands.app.options import OPTIONS
from src.commands.app.server import listening_socket, serve
from src.commands.infer import infer
from src.common.errors import UserError
from src.config import load_config
from tests.commands.app.running import Server, encoded, grey, running, truncated, write_clip
from tests.conftest import ROOT
from tests.deploy.drawn_model import write_drawn_model
from tests.end_to_end.commands import run
from tests.end_to_end.test_documents import commands_of

# The configuration that the network's file would have come from.
CONFIG = f"""
base: {ROOT}/configs/demo/mask_rcnn.yaml
coco_classes: [background, box, ball]
num_classes: 3
category_ids: [3, 8]
img_width: 32
img_height: 32
divider: 32
img_mean: [0, 0, 0]
img_std: [255, 255, 255]
keep_ratio: False
device_target: CPU
progress_bar: off
"""
LIMITS = ("--max_bytes", 200_000, "--max_image_pixels", 10_000, "--max_frames", 6)
SLOW = 25  # products of matrices: half a second, or more


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    write_drawn_model(folder / "drawn.onnx")
    (folder / "temporary").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(folder: Path):
    with running(folder / "drawn.onnx", *LIMITS, TMPDIR=str(folder / "temporary")) as server:
        yield server


def infer_writes(folder: Path, source: Path) -> str:
    path = folder / "config.yaml"
    path.write_text(CONFIG)
    keys = {"checkpoint_path": str(folder / "drawn.onnx"), "pred_input": str(source)}
    infer(load_config(path, {**keys, "pred_output": str(folder / "found.json")}))
    return (folder / "found.json").read_text()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_the_json_of_an_image_is_that_of_infer(server: Server, folder: Path, suffix: str) -> None:
    path = folder / f"image{suffix}"
    path.write_bytes(encoded(grey(128), suffix))
    answer = server.post("/detect", path.read_bytes())
    (entry,) = json.loads(infer_writes(folder, path)).values()
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.text == json.dumps(entry)
    assert [one["class"]["category_id"] for one in entry["predictions"]] == [3, 8] and "mask" in entry["predictions"][0]


def test_the_lines_of_a_video_are_those_of_infer(server: Server, folder: Path) -> None:
    clip = write_clip(folder / "clip.avi", 5)
    answer = server.post("/detect_video", clip.read_bytes())
    assert answer.status == 200 and answer.text == infer_writes(folder, clip)
    assert (answer.headers["x-frame-rate"], answer.headers["x-frame-count"]) == ("4.0", "5")
    lines = [json.loads(line) for line in server.post("/detect_video?pictures=1", clip.read_bytes()).text.splitlines()]
    assert [line.pop("picture")[:4] for line in lines] == ["/9j/"] * 5  # base64 of a JPEG file's first bytes
    assert lines == [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("page", ["docs/deployment.md", "README.md"])
def test_the_pages_lines_of_curl(server: Server, folder: Path, tmp_path: Path, page: str) -> None:
    """As they stand, but for the server's port."""
    (tmp_path / "street.jpg").write_bytes(encoded(grey(128), ".jpg"))
    write_clip(tmp_path / "clip.mp4", 5)
    lines = [line for line in commands_of(ROOT / page) if line.startswith("curl ")]
    assert lines
    for line in lines:
        words = line.replace("http://127.0.0.1:8000/", server.address).split()
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
        written = infer_writes(folder, tmp_path / words[2].removeprefix("@"))
        if "clip.mp4" in line:
            assert done.stdout == written
        else:
            assert json.loads(done.stdout) == next(iter(json.loads(written).values()))


def test_a_truncated_video_gives_what_there_is(server: Server, folder: Path) -> None:
    whole = write_clip(folder / "whole.avi", 6).read_bytes()
    answer = server.post("/detect_video", truncated(whole))
    assert answer.status == 200 and answer.headers["x-frame-count"] == "6"
    assert 1 < len(answer.text.splitlines()) < 6


@pytest.mark.parametrize(
    ("path", "body", "status", "line"),
    [
        ("/detect", b"", 400, "the file is empty"),
        ("/detect", b"no image", 400, "broken, truncated or not an image"),
        ("/detect", encoded(grey(9))[:-20], 400, "broken or truncated: a part of it is longer than the file"),
        ("/detect", encoded(grey(9, 200, 200)), 413, "has 200x200 pixels, over max_image_pixels 10000; scale it down, "
         "or raise that key"),
        ("/detect", b"x" * 3_000_000, 413, "has 3000000 bytes, over --max_bytes 200000"),
        ("/detect_video", b"", 400, "broken, truncated or not a video that OpenCV can read"),
        ("/detect_video", b"no video", 400, "broken, truncated or not a video that OpenCV can read"),
        ("/detect_video", b"x" * 3_000_000, 413, "has 3000000 bytes, over --max_bytes 200000"),
    ],
    ids=["empty", "no image", "truncated", "pixels", "bytes", "empty video", "no video", "bytes of a video"],
)  # fmt: skip
def test_what_is_wrong_is_one_line(server: Server, path: str, body: bytes, status: int, line: str) -> None:
    answer = server.post(path, body)
    assert (answer.status, json.loads(answer.text)) == (status, {"error": line})


def test_a_body_without_a_length_is_limited_too(server: Server) -> None:
    answer = server.post("/detect", iter([b"x" * 100_000] * 3))
    assert (answer.status, answer.error) == (413, "has 300000 bytes, over --max_bytes 200000")


def test_videos_of_too_many_frames_or_pixels(server: Server, folder: Path) -> None:
    long = write_clip(folder / "long.avi", 7).read_bytes()
    assert server.post("/detect_video", long)[:2] == (413, '{"error":"has 7 frames, over --max_frames 6"}')
    # Where the header names fewer frames than there are, those are answered, and the last line says why it is the last.
    for place in (long.index(b"avih") + 8 + 16, long.index(b"strh") + 8 + 32):
        long = long[:place] + (5).to_bytes(4, "little") + long[place + 4 :]
    *lines, last = server.post("/detect_video", long).text.splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(len(lines))) and len(lines) in (5, 6)
    assert len(lines) == 5 or "error" in json.loads(last)


def test_other_addresses_and_methods(server: Server) -> None:
    assert server.post("/nothing", b"").status == 405
    assert server.post("/../../app.py", b"").status in (404, 405)


def test_a_client_that_leaves_early_leaves_nothing_behind(folder: Path, server: Server) -> None:
    clip = write_clip(folder / "left.avi", 6).read_bytes()
    head = f"POST /detect_video HTTP/1.1\r\nHost: x\r\nContent-Length: {len(clip)}\r\n\r\n".encode()
    for sent in (head + clip, head + clip[:50]):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(sent)
    end = time.monotonic() + 30
    while list((folder / "temporary").glob("app_video_*")):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert server.post("/detect", encoded(grey(7))).status == 200


def test_sigterm_lets_answers_end_and_too_many_requests_are_refused(tmp_path: Path) -> None:
    model = write_drawn_model(tmp_path / "slow.onnx", SLOW)
    image, answers = encoded(grey(128)), []
    with running(model, "--max_waiting", 2) as server:
        clients = [threading.Thread(target=lambda: answers.append(server.post("/detect", image))) for _ in range(3)]
        for client in clients:
            client.start()
        end = time.monotonic() + 30
        while not answers:  # the third one is refused at once, while the network computes
            assert time.monotonic() < end
            time.sleep(0.01)
        assert answers[0].status == 503 and answers[0].headers["retry-after"] == "1"
        assert answers[0].error == "2 requests wait already (--max_waiting); try again"
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(60)
        _, err = server.process.communicate(timeout=60)
        assert (server.process.returncode, err) == (143, "terminated\n")
        with pytest.raises(ConnectionRefusedError):
            server.post("/detect", image)
    assert [answer.status for answer in answers] == [503, 200, 200]
    assert len({answer.text for answer in answers[1:]}) == 1 and len(json.loads(answers[1].text)["predictions"]) == 2


def test_sigterm_lets_a_video_end(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.avi", 6).read_bytes()
    with running(write_drawn_model(tmp_path / "slow.onnx", SLOW)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("POST", "/detect_video", clip)
        answer = connection.getresponse()
        lines = [answer.readline()]
        server.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 30
        while not refuses(server):
            assert time.monotonic() < end
            time.sleep(0.01)
        assert server.process.poll() is None  # further frames are being computed
        lines += answer.readlines()
        connection.close()
        _, err = server.process.communicate(timeout=60)
        assert (server.process.returncode, err) == (143, "terminated\n")
    found = [json.loads(line) for line in lines]
    assert [(line["frame"], len(line["predictions"])) for line in found] == [(frame, 2) for frame in range(6)]


def refuses(server: Server) -> bool:
    """Whether no connection is accepted any more."""
    try:
        socket.create_connection(("127.0.0.1", server.port)).close()
    except ConnectionRefusedError:
        return True
    return False


def options(**changes: object) -> Namespace:
    return Namespace(**{**{name: default for name, (default, _) in OPTIONS.items()}, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"port": "http"}, "--port http: should be a whole number from 0 to 65535"),
        ({"port": 65_536}, "--port 65536: should be a whole number from 0 to 65535"),
        ({"max_bytes": 0}, "--max_bytes 0: should be a whole number of at least 1"),
        ({"max_waiting": True}, "--max_waiting True: should be a whole number of at least 1"),
        ({"host": "nowhere.invalid"}, "--host nowhere.invalid --port 8000: "),
    ],
)
def test_mistakes_of_options(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        serve(None, {"checkpoint_path": "a.onnx"}, options(**changes))


def test_a_port_that_is_taken_and_a_missing_checkpoint(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"--host 127.0.0.1 --port {port}: Address already in use"):
            serve(None, {"checkpoint_path": "a.onnx"}, options(port=port))
    with pytest.raises(UserError, match="--checkpoint_path is missing; give a checkpoint, or a file"):
        serve(None, {}, options())
    with pytest.raises(UserError, match="none.onnx does not exist"):
        serve(None, {"ckpt_file": str(tmp_path / "none.onnx")}, options(port=0))


def test_the_body_of_an_answer_does_not_wait_for_its_header() -> None:
    with listening_socket(options(port=0)) as listening, socket.create_connection(listening.getsockname()):
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_a_missing_package_is_one_line(tmp_path: Path, package: str) -> None:
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('none', name='{package}')")
    words = ["app.py", "--checkpoint_path", "a.onnx"]
    _, error = run(*words, cwd=tmp_path, expect=2, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert error == f"error: app.py needs the package {package}: pip install starlette uvicorn\n"

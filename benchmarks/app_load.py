r"""Requests per second and latency of app.py at 1, 4 and 16 clients, against the bare network's time.

    python benchmarks/app_load.py --checkpoint_path outputs/first/detector.onnx

Times the network alone on a prepared input, and `Detector.predict` on an encoded image, in this process. Then starts
app.py with the same file, and lets each number of clients send images, one after the other over a connection that
stays open, for --seconds. The images are drawn (--side pixels, JPEG), or those of --images. Clients and server share
the machine's cores.
"""

import argparse
import http.client
import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402  after the path
import numpy as np  # noqa: E402

from src.data.image_files import find_images  # noqa: E402
from src.data.synthetic_scene import SceneOptions, random_scene  # noqa: E402
from src.predictor import Detector  # noqa: E402


def drawn_images(side: int, count: int = 8) -> list[bytes]:
    """Scenes of the synthetic data, as JPEG files."""
    scene, rng = SceneOptions(side, side, 3), np.random.default_rng(1)
    return [cv2.imencode(".jpg", random_scene(scene, rng)[0][..., ::-1])[1].tobytes() for _ in range(count)]


def median_seconds(call: Callable[[], object], seconds: float) -> float:
    call()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


@contextmanager
def server(checkpoint: str, keys: list[str], clients: int) -> Iterator[int]:
    """The port of app.py, once it answers."""
    command = [sys.executable, str(ROOT / "app.py"), "--checkpoint_path", checkpoint, "--port", "0", *keys]
    process = subprocess.Popen([*command, "--max_waiting", str(clients)], stdout=subprocess.PIPE, text=True)
    try:
        lines = iter(process.stdout.readline, "")
        line = next((line for line in lines if line.startswith("the page is")), None)
        if line is None:
            sys.exit("app.py ended")
        yield int(line.split("/")[2].rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(120)


def client(port: int, images: Iterator[bytes], end: float, times: list[float]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while time.perf_counter() < end:
        image = next(images)
        start = time.perf_counter()
        connection.request("POST", "/detect", image)
        response = connection.getresponse()
        json.loads(response.read())
        assert response.status == 200, response.status
        times.append(time.perf_counter() - start)
    connection.close()


def load(port: int, clients: int, images: list[bytes], seconds: float) -> tuple[float, np.ndarray]:
    """Requests per second, and the seconds of each."""
    times: list[float] = []
    start = time.perf_counter()
    turns = [itertools.cycle(images[i % len(images) :] + images) for i in range(clients)]
    threads = [threading.Thread(target=client, args=(port, turn, start + seconds, times)) for turn in turns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(times) / (time.perf_counter() - start), np.array(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint_path", required=True)
    parser.add_argument("--images", help="folder of images to send")
    parser.add_argument("--side", type=int, default=640, help="of drawn images, in pixels")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    args, keys = parser.parse_known_args()  # the rest goes to app.py
    images = [path.read_bytes() for path in find_images(args.images)] if args.images else drawn_images(args.side)
    detector = Detector(args.checkpoint_path, overrides={"num_parallel_workers": 0})
    pipeline = detector.pipeline
    image, info = (part[None] for part in pipeline.load(images[0]))
    network = median_seconds(lambda: np.asarray(pipeline.net.predict(image, info).boxes), args.seconds)
    whole = median_seconds(lambda: detector.predict(images[0]), args.seconds)
    print(f"network alone: {1000 * network:.1f} ms, {1 / network:.2f} per second")
    print(f"Detector.predict: {1000 * whole:.1f} ms, {1 / whole:.2f} per second\n")
    print("| clients | requests per second | share of the network's rate | median ms | 95 % below, ms |")
    print("|---|---|---|---|---|")
    with server(args.checkpoint_path, keys, max(args.clients)) as port:
        for clients in args.clients:
            rate, times = load(port, clients, images, args.seconds)
            median, most = 1000 * np.quantile(times, [0.5, 0.95])
            print(f"| {clients} | {rate:.2f} | {rate * network:.2f} | {median:.0f} | {most:.0f} |", flush=True)


if __name__ == "__main__":
    main()

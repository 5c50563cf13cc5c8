"""Start-up of a data set in MindRecord files: all annotations without the images, against MindSpore's own reader.

    python benchmarks/mindrecord_reading.py
    python benchmarks/mindrecord_reading.py --images 20000 --image_bytes 150000 --shards 8

Both sides read the same files to the same rows (a checksum says so), in a process per turn, one after the other in
turns; the shortest turn of each counts. Seconds and memory are those of reading: imports come before, and of the peak
memory what the process had by then is taken off. `read` is what the process asked the system for, which is what a disk
or a network drive would have to deliver where the files are not in memory already. The images are random bytes.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.data.mindrecord.rows import IMAGE, SCHEMA, Row, compact_json, rows_sha256

OBJECTS = 7  # objects per image, and
POINTS = 24  # points per outline: about what COCO has
SIDES = ("this project", "MindSpore's FileReader")


def write_files(folder: Path, images: int, image_bytes: int, shards: int) -> None:
    from src.data.mindrecord.writing import ShardWriter, page_size_for

    rng = np.random.default_rng(0)
    writer = ShardWriter(folder, "data", shards, page_size_for(image_bytes, images * image_bytes // shards))
    for number in range(images):
        image = rng.bytes(image_bytes)
        outlines = np.round(rng.uniform(0, 640, (OBJECTS, 2 * POINTS)), 2).tolist()
        annotations = [
            {"id": OBJECTS * number + n, "image_id": number, "category_id": 1, "bbox": points[:4], "area": 1.0,
             "iscrowd": 0, "segmentation": [points]}
            for n, points in enumerate(outlines)
        ]  # fmt: skip
        name = f"{number:012d}.jpg"
        row = Row(number, number, 480, 640, zlib.crc32(image), name, f"/data/{name}", compact_json(annotations))
        writer.add(row, image)
    writer.finish()


def shards_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix != ".db")


def read_ours(folder: Path) -> list[Row]:
    from src.data.mindrecord.shard_file import read_shard

    return [placed.row for path in shards_in(folder) for placed in read_shard(path)]


def read_mindspore(folder: Path) -> list[Row]:
    """With all the columns but the images."""
    from mindspore.mindrecord import FileReader

    reader = FileReader([str(path) for path in shards_in(folder)], columns=[name for name in SCHEMA if name != IMAGE])
    rows = [Row(**fields) for fields in reader.get_next()]
    reader.close()
    return rows


def bytes_read() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def turn(side: str, folder: Path) -> None:
    """Read once, and print what that took as JSON."""
    import mindspore.mindrecord  # noqa: F401  both sides: training has it loaded anyway

    import src.data.mindrecord.shard_file  # noqa: F401

    read = dict(zip(SIDES, (read_ours, read_mindspore), strict=True))[side]
    before, read_before = resource.getrusage(resource.RUSAGE_SELF), bytes_read()
    start = time.perf_counter()
    rows = read(folder)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    answer = {
        "seconds": seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "megabytes": (after.ru_maxrss - before.ru_maxrss) / 1024,
        "read": (bytes_read() - read_before) / 2**20,
        "sha256": rows_sha256(rows),
    }
    print("@" + json.dumps(answer))


def answer_of(side: str, folder: Path) -> dict:
    command = [sys.executable, __file__, "--side", side, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(next(line[1:] for line in done.stdout.splitlines() if line.startswith("@")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="images (2000)")
    parser.add_argument("--image_bytes", type=int, default=100_000, help="size of each (100000)")
    parser.add_argument("--shards", type=int, default=2, help="files (2)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (5)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        turn(arguments.side, Path(arguments.folder))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), arguments.images, arguments.image_bytes, arguments.shards)
        turns = [{side: answer_of(side, Path(folder)) for side in SIDES} for _ in range(arguments.rounds)]
    least = {
        side: {name: min(one[side][name] for one in turns) for name in ("seconds", "cpu_seconds", "megabytes", "read")}
        for side in SIDES
    }
    print(f"{arguments.images} images of {arguments.image_bytes} bytes in {arguments.shards} files")
    print(f"{'':24s} {'seconds':>8s} {'CPU s':>8s} {'peak MB':>8s} {'read MB':>8s}")
    for side, values in least.items():
        print(f"{side:24s} " + " ".join(f"{value:8.3f}" for value in values.values()))
    ours, theirs = (least[side] for side in SIDES)
    ratios = (f"{theirs[name] / ours[name]:8.1f}" if ours[name] else f"{'':8s}" for name in ours)
    print(f"{'ratio':24s} " + " ".join(ratios))
    same = len({one[side]["sha256"] for one in turns for side in SIDES}) == 1
    print("both read the same rows" if same else "the rows DIFFER")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())

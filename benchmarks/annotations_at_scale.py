"""Reading annotations of COCO's size: CPU time, memory of the first and of a further process, and a second start.

    python benchmarks/annotations_at_scale.py
    python benchmarks/annotations_at_scale.py --images 20000 --objects 150000

Writes an annotation file of the size of COCO's training annotations (118,287 images, 860,000 objects with polygons, 540
MB) and as many empty images, and opens it as the training data of a mask model, in a process of its own per line:

    first         nothing is cached yet
    second start  the cache is there
    further       while another process has the data open
    plain lists   the peer: the file as dicts and lists, as `json.load` gives them, kept for the run

Peak memory is that of opening. RSS, own and PSS are what the process holds after every record and mask was read once,
as in an epoch: all, what belongs to it alone, and with shared pages by halves, thirds, ...; imports are taken off.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

NAMES = [f"class {k}" for k in range(80)]
WIDTH, HEIGHT = 640, 480
POINTS = 28  # per outline, on average
OUTLINES = 20_000  # different ones
CROWDS = 0.012  # of the objects; with run lengths instead of polygons
SECOND_PART = 0.15  # of the objects with polygons have two of them


def outlines(rng: np.random.Generator, count: int) -> list[tuple[str, str]]:
    """(segmentation, bbox) as JSON: closed curves around a centre, points in hundredths of a pixel as COCO's are."""
    made = []
    for _ in range(count):
        points = int(np.clip(rng.lognormal(np.log(POINTS) - 0.3, 0.8), 4, 300))
        radius = rng.lognormal(3.6, 0.8)
        angle = np.sort(rng.uniform(0, 2 * np.pi, points))
        spread = radius * rng.uniform(0.6, 1.0, points)
        x = np.clip(rng.uniform(20, WIDTH - 20) + spread * np.cos(angle), 0, WIDTH)
        y = np.clip(rng.uniform(20, HEIGHT - 20) + spread * np.sin(angle), 0, HEIGHT)
        flat = np.round(np.stack([x, y], 1), 2).ravel().tolist()
        parts = [flat[: len(flat) // 4 * 2], flat[len(flat) // 4 * 2 :]] if rng.random() < SECOND_PART else [flat]
        box = [round(float(v), 2) for v in (x.min(), y.min(), max(np.ptp(x), 1), max(np.ptp(y), 1))]
        made.append((json.dumps([part for part in parts if len(part) >= 6] or [flat]), json.dumps(box)))
    return made


def run_lengths(rng: np.random.Generator) -> tuple[str, str]:
    """A crowd: uncompressed run lengths over the whole image."""
    counts = rng.integers(1, 2 * HEIGHT, int(rng.integers(50, 500)))
    counts = counts[np.cumsum(counts) < WIDTH * HEIGHT]
    text = json.dumps({"counts": [*counts.tolist(), int(WIDTH * HEIGHT - counts.sum())], "size": [HEIGHT, WIDTH]})
    return text, json.dumps([0, 0, WIDTH, HEIGHT])


def write_data(folder: Path, images: int, objects: int) -> Path:
    """The annotation file, and empty images."""
    rng = np.random.default_rng(0)
    path, pictures = folder / "annotations/instances_train2017.json", folder / "train2017"
    path.parent.mkdir(parents=True)
    pictures.mkdir()
    shapes, crowds = outlines(rng, OUTLINES), [run_lengths(rng) for _ in range(200)]
    ids = rng.permutation(5 * images)[:images].tolist()
    owners, labels = rng.integers(images, size=objects).tolist(), rng.integers(80, size=objects).tolist()
    chosen, crowd = rng.integers(OUTLINES, size=objects).tolist(), (rng.random(objects) < CROWDS).tolist()
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {"year": 2017}, "licenses": [], "images": [')
        for start in range(0, images, 1000):
            part = ids[start : start + 1000]
            file.write(", " * (start > 0) + ", ".join(_image_entry(i) for i in part))
            for i in part:
                (pictures / f"{i:012d}.jpg").touch()
        file.write('], "annotations": [')
        for n in range(objects):
            shape, box = crowds[chosen[n] % 200] if crowd[n] else shapes[chosen[n]]
            file.write(
                f'{", " * (n > 0)}{{"segmentation": {shape}, "area": {1234.5678 + n:.4f}, "iscrowd": {int(crowd[n])}, '
                f'"image_id": {ids[owners[n]]}, "bbox": {box}, "category_id": {labels[n] + 1}, "id": {n + 1}}}'
            )
        categories = [{"supercategory": "thing", "id": k + 1, "name": name} for k, name in enumerate(NAMES)]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    return path


def _image_entry(image_id: int) -> str:
    name = f"{image_id:012d}.jpg"
    return json.dumps(
        {"license": 3, "file_name": name, "coco_url": f"http://images.cocodataset.org/train2017/{name}",
         "height": HEIGHT, "width": WIDTH, "date_captured": "2013-11-14 11:18:45",
         "flickr_url": f"http://farm9.staticflickr.com/8186/{image_id}_aae7e9b3a2_z.jpg", "id": image_id}
    )  # fmt: skip


def memory() -> dict[str, float]:
    """MB of this process: resident, shared by its part, its own alone, and the peak so far."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    own = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"rss": kilobytes["Rss"] / 1e3, "pss": kilobytes["Pss"] / 1e3, "own": own / 1e3, "peak": peak / 1e3}


def ours(path: Path) -> object:
    from src.data.formats.coco import CocoDataset

    return CocoDataset(path, NAMES, with_masks=True)


def plain_lists(path: Path) -> object:
    """What keeps the parsed file: images, and the annotations of each."""
    with path.open(encoding="utf-8") as file:
        content = json.load(file)
    annotations: dict[int, list[dict]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        annotations[annotation["image_id"]].append(annotation)
    return content, annotations


def serve(kind: str, path: Path) -> None:
    """Open the data, print what that took, read every record, print the memory again; end with the input."""
    import_module("src.data.formats.coco")
    before = memory()
    start, start_cpu = time.perf_counter(), time.process_time()
    data = plain_lists(path) if kind == "plain" else ours(path)
    opened = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - start_cpu}
    after = memory()
    start = time.perf_counter()
    polygons = 0 if kind == "plain" else sum(len(mask) for record in data.records for mask in record.masks)
    opened |= {"epoch": time.perf_counter() - start, "polygons": polygons, "peak": after["peak"]}
    read = memory()
    opened |= {f"opened_{key}": after[key] - before[key] for key in ("rss", "pss", "own")}
    print(json.dumps(opened | {f"read_{key}": read[key] - before[key] for key in ("rss", "pss", "own")}), flush=True)
    sys.stdin.read()


def start(kind: str, path: Path, cache: Path) -> tuple[subprocess.Popen, dict]:
    command = [sys.executable, __file__, "--serve", kind, "--path", str(path)]
    pipe = subprocess.PIPE
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{kind} ended early")
    return process, json.loads(line)


def end(process: subprocess.Popen) -> None:
    process.stdin.close()
    process.wait()


def report(name: str, found: dict) -> None:
    columns = (found["seconds"], found["cpu"], found["peak"], *(found[f"read_{key}"] for key in ("rss", "own", "pss")))
    print(f"{name:<14}{columns[0]:>8.2f}{columns[1]:>8.2f}" + "".join(f"{value:>9.0f}" for value in columns[2:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--objects", type=int, default=860_000)
    parser.add_argument("--folder", type=Path, help="where the data is written, or lies from an earlier run")
    parser.add_argument("--peer", type=int, default=1, help="0: without plain lists")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.serve, args.path)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary) / "data"
        path = folder / "annotations/instances_train2017.json"
        if not path.exists():
            write_data(folder, args.images, args.objects)
        measure(path, Path(temporary), args.peer)


def measure(path: Path, cache: Path, peer: int) -> None:
    print(f"{path}: {path.stat().st_size / 1e6:.0f} MB")
    print(f"\n{'':<14}{'s':>8}{'CPU s':>8}{'peak MB':>9}{'RSS MB':>9}{'own MB':>9}{'PSS MB':>9}")
    first, found = start("ours", path, cache)
    report("first", found)
    end(first)
    second, found = start("ours", path, cache)
    report("second start", found)
    further, found = start("ours", path, cache)
    report("further", found)
    print(f"{'':<14}every record and mask once: {found['epoch']:.2f} s")
    end(further)
    end(second)
    if peer:
        process, found = start("plain", path, cache)
        report("plain lists", found)
        end(process)


if __name__ == "__main__":
    main()

"""Data pipeline: COCO images to normalised, padded batches, against a plain OpenCV loop in one process.

    python benchmarks/data_pipeline.py
    python benchmarks/data_pipeline.py --dataset /data/coco-2017/validation --size 640 --workers 2 --images 500
    python benchmarks/data_pipeline.py --dataset /data/coco-2017/train2017 --size 1024 --masks 1
    python benchmarks/data_pipeline.py --mindrecord 1

The peer does the same work with the usual calls: imread, resize, BGR to RGB, float normalise, pad, transpose, stack.
With --masks it also decodes each object's mask with pycocotools and resizes it to a bitmap of the network's input,
where the loader draws canvases of 128 x 128.
With --mindrecord all images of the data set are packed into MindRecord files too (create_data.py's work, timed once),
and the same loaders read those; their batches must be equal bit for bit.
Without --dataset, 640 x 480 synthetic images are written to a temporary folder. Each file is read once before anything
is timed, rounds alternate, and the best round of each counts. Exit code 1 when the batches differ by more than 1e-5.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from src.common.program import run_command
from src.data.augmentation import train_transforms
from src.data.batch import BatchLayout, MaskSize
from src.data.detection_dataset import DetectionDataset
from src.data.formats.coco import CocoDataset
from src.data.formats.coco_files import find_annotation_file
from src.data.loader import BatchLoader
from src.data.mindrecord.create import create_mindrecord
from src.data.mindrecord.dataset import MindRecordDataset
from src.data.mindrecord.manifest import read_manifest
from src.data.network_input import Normalizer
from src.data.record import Record
from src.data.synthetic import write_synthetic_dataset
from src.data.synthetic_scene import SceneOptions
from src.data.workers import WorkerOptions
from src.schema import Config

MEAN = np.array([123.675, 116.28, 103.53], np.float32)
STD = np.array([58.395, 57.12, 57.375], np.float32)
NUM_GTS = 100


def plain_masks(record: Record, new_size: tuple[int, int], size: int) -> np.ndarray:
    """uint8 [G, size, size], a bitmap of the network's input an object."""
    bitmaps = np.zeros((len(record.masks), size, size), np.uint8)
    for bitmap, segmentation in zip(bitmaps, record.masks, strict=True):
        runs = segmentation
        if isinstance(segmentation, list):
            runs = coco_mask.merge(coco_mask.frPyObjects(segmentation, record.height, record.width))
        elif isinstance(segmentation["counts"], list):
            runs = coco_mask.frPyObjects(segmentation, record.height, record.width)
        resized = cv2.resize(coco_mask.decode(runs), new_size, interpolation=cv2.INTER_NEAREST)
        bitmap[: new_size[1], : new_size[0]] = resized
    return bitmaps


def plain_loop(records: list[Record], size: int, batch_size: int):
    """Batches float32 [B, 3, size, size] (and masks, left to drop) the way a first version of such code makes them."""
    for start in range(0, len(records), batch_size):
        images = []
        for record in records[start : start + batch_size]:
            image = cv2.imread(record.image)
            height, width = image.shape[:2]
            factor = min(size / height, size / width)
            new_size = int(width * factor + 0.5), int(height * factor + 0.5)
            image = cv2.cvtColor(cv2.resize(image, new_size), cv2.COLOR_BGR2RGB)
            image = (image.astype(np.float32) - MEAN) / STD
            padded = np.zeros((size, size, 3), np.float32)
            padded[: image.shape[0], : image.shape[1]] = image
            images.append(padded.transpose(2, 0, 1))
            if record.masks is not None:
                plain_masks(record, new_size, size)
        yield np.stack(images)


def make_loader(
    dataset: DetectionDataset, size: int, batch_size: int, workers: int, use_processes: bool
) -> BatchLoader:
    return BatchLoader(
        dataset,
        train_transforms((size, size), keep_ratio=True),
        BatchLayout(
            batch_size,
            (size, size),
            NUM_GTS,
            Normalizer(MEAN, STD),
            masks=None if dataset.records[0].masks is None else MaskSize(128),
        ),
        workers=WorkerOptions(workers, use_processes),
    )


def timed(batches, count: int) -> float:
    """Images a second of an iterator of batches, each touched once and dropped."""
    start = time.perf_counter()
    for _ in batches:
        pass
    return count / (time.perf_counter() - start)


def largest_difference(dataset: CocoDataset, size: int, batch_size: int) -> float:
    ours = make_loader(dataset, size, batch_size, 0, False).epoch(0)
    pairs = zip(plain_loop(dataset.records[: 4 * batch_size], size, batch_size), ours, strict=False)
    return max(float(np.abs(peer - batch["image"][: len(peer)]).max()) for peer, batch in pairs)


def packed(dataset: CocoDataset, path: str, folder: str, arguments: argparse.Namespace) -> MindRecordDataset:
    """The same images from MindRecord files, which are written to `folder`; prints how long that takes."""
    config = Config(
        coco_classes=["background", *dataset.class_names],
        num_classes=len(dataset.class_names) + 1,
        val_dataset=path,
        mindrecord_dir=folder,
        num_parallel_workers=arguments.workers,
        progress_bar="on",
    )
    start = time.perf_counter()
    create_mindrecord(config, training=False)
    seconds = time.perf_counter() - start
    stored = MindRecordDataset(
        folder, config.eval_prefix, dataset.class_names, arguments.masks == 1, first=arguments.images
    )
    print(f"packed, read back and opened at {read_manifest(stored.annotation_file).images / seconds:.1f} images/s")
    return stored


def is_equal(first: BatchLoader, second: BatchLoader) -> bool:
    """Whether two loaders give the same batches, bit for bit."""
    pairs = zip(first.epoch(0), second.epoch(0), strict=True)
    return all(np.array_equal(a[name], b[name]) for a, b in pairs for name in a)


def measure(
    dataset: CocoDataset, stored: MindRecordDataset | None, arguments: argparse.Namespace
) -> list[tuple[str, float, float]]:
    """(name, best, median) images a second of the peer and of the loader in its variants."""
    size, batch_size = arguments.size, arguments.batch_size
    records = dataset.records
    loaders = {}
    for kind, source in (("loader", dataset), ("MindRecord", stored)):
        if source is not None:
            loaders |= {
                f"{kind}, no workers": make_loader(source, size, batch_size, 0, False),
                f"{kind}, {arguments.workers} threads": make_loader(source, size, batch_size, arguments.workers, False),
                f"{kind}, {arguments.workers} processes": make_loader(
                    source, size, batch_size, arguments.workers, True
                ),
            }
    rates: dict[str, list[float]] = {"plain cv2 loop, 1 process": [], **{name: [] for name in loaders}}
    threads = cv2.getNumThreads()
    for loader in loaders.values():
        timed(loader.epoch(0), len(records))
    for _ in range(arguments.rounds):
        cv2.setNumThreads(threads)
        rates["plain cv2 loop, 1 process"].append(timed(plain_loop(records, size, batch_size), len(records)))
        cv2.setNumThreads(1)
        for name, loader in loaders.items():
            rates[name].append(timed(loader.epoch(0), len(records)))
    for loader in loaders.values():
        loader.close()
    return [(name, max(values), statistics.median(values)) for name, values in rates.items()]


def open_dataset(path: str, most: int, with_masks: bool) -> CocoDataset:
    annotation_file = find_annotation_file(path, "val")
    names = [category["name"] for category in json.loads(annotation_file.read_bytes())["categories"]]
    return CocoDataset(path, names, "val", with_masks=with_masks, first=most)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", help="data set folder or annotation file; empty: synthetic images")
    parser.add_argument("--images", type=int, default=256, help="use the first so many (256)")
    parser.add_argument("--size", type=int, default=640, help="side of the network's input (640)")
    parser.add_argument("--batch_size", type=int, default=8, help="images a batch (8)")
    parser.add_argument("--workers", type=int, default=2, help="threads or processes (2)")
    parser.add_argument("--masks", type=int, choices=(0, 1), default=0, help="1: decode and draw masks too (0)")
    parser.add_argument("--mindrecord", type=int, choices=(0, 1), default=0, help="1: MindRecord files too (0)")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions (5)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not arguments.dataset:
            options = SceneOptions(width=640, height=480, max_object=400, min_object=30, max_objects=8)
            write_synthetic_dataset(folder, 0, arguments.images, options=options)
        path = arguments.dataset or str(Path(folder) / "validation")
        dataset = open_dataset(path, arguments.images, arguments.masks == 1)
        difference = largest_difference(dataset, arguments.size, arguments.batch_size)
        stored, same = None, True
        if arguments.mindrecord:
            stored = packed(dataset, path, str(Path(folder) / "packed"), arguments)
            loaders = [make_loader(one, arguments.size, arguments.batch_size, 0, False) for one in (dataset, stored)]
            same = is_equal(*loaders)
        results = measure(dataset, stored, arguments)
    print(f"{len(dataset)} images, input {arguments.size}, batches of {arguments.batch_size}")
    print(f"largest difference between the two: {difference:.1e}")
    print(f"{'pipeline':28s} {'images/s, best':>14s} {'median':>8s} {'ratio':>6s}")
    for name, best, median in results:
        print(f"{name:28s} {best:14.1f} {median:8.1f} {best / results[0][1]:6.2f}")
    if stored is not None:
        print(f"batches from MindRecord files are {'the same bit for bit' if same else 'DIFFERENT'}")
    return int(difference > 1e-5 or not same)


if __name__ == "__main__":
    run_command(main)

"""Batches, prepared ahead by threads or processes, the same whatever their number."""

import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import connection, get_context, parent_process
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from src.common.errors import UserError
from src.data.augmentation import train_transforms
from src.data.data_source import Dataset, open_data
from src.data.image import ImageError
from src.data.instaboost import build_instaboost
from src.data.mask_canvas import DrawMasks, holds_whole_bitmaps
from src.data.network_input import Normalizer, image_info
from src.data.record import Record
from src.data.transforms import (
    Sample,
    Transform,
    apply_transforms,
    choose_targets,
    read_sample,
)
from src.schema.instaboost import InstaBoostKeys

if TYPE_CHECKING:
    from src.schema import Config

logger = logging.getLogger(__name__)

Batch = dict[str, Any]
FILLER_ID = -1  # image_id of slots that hold no image


class BatchLoader:
    """Batches of fixed shapes from a data set, in an order that depends on (seed, epoch) alone.

    A batch is a dict of arrays: image float32 [B, 3, H, W]; image_info float32 [B, 6] (see `network_input.image_info`);
    image_id int64 [B], -1 in slots that fill up evaluation's last batch; boxes float32 [B, N, 4] in network pixels;
    labels int32 [B, N]; valid bool [B, N]; and path, a list of B strings. With masks also masks uint8 [B, N, S, S], or
    [B, N, H, W] where S is at least H and W (see `mask_canvas.mask_canvases`).

    With `world` processes, global batch t is images t*B*world ... of the order, and rank r takes the r-th B of them, so
    that `world` processes of B images make the batches of one process of world*B.

    Attributes:
        dataset: the data set with its `records` and `problems`.
        broken: one line for each image that could not be read so far.
    """

    def __init__(
        self,
        dataset: Dataset,
        transforms: Sequence[Transform],
        normalizer: Normalizer,
        input_hw: tuple[int, int],
        batch_size: int,
        num_gts: int,
        seed: int = 1,
        training: bool = False,
        rank: int = 0,
        world: int = 1,
        num_workers: int = 0,
        use_processes: bool = False,
        skip_broken: bool = False,
        mask_crop_size: int = 0,
        mask_divider: int = 1,
    ):
        """Start no worker yet.

        Args:
            dataset: has a list `records`.
            transforms: applied to each sample; each image has a generator of its own, seeded by (seed, epoch, index).
            normalizer, input_hw: what the network takes.
            batch_size: B, images a batch on this rank.
            num_gts: N; of more objects the N largest are kept.
            training: shuffle, leave out the last incomplete batch, and take a broken image for an error (unless
                `skip_broken`: then the next readable image stands in). Otherwise: file order, all images, the last
                batch filled up, and broken images become fillers.
            rank, world: this process among how many.
            num_workers: 0: prepare in the calling thread.
            use_processes: decode and transform in processes.
            mask_crop_size: S, side of the masks; the records must have masks then. 0: batches without masks.
            mask_divider: network pixels a mask pixel, see `mask_canvas.mask_windows`.

        Raises:
            UserError: training with fewer images than a batch of all devices.
        """
        self.dataset = dataset
        self.records: list[Record] = dataset.records
        self.normalizer = normalizer
        self.input_hw = input_hw
        self.batch_size = batch_size
        self.num_gts = num_gts
        self.seed = seed
        self.training = training
        self.rank = rank
        self.world = world
        self.skip_broken = skip_broken
        self.broken: list[str] = []
        self._transforms = list(transforms)
        self._mask_hw: tuple[int, int] | None = None
        if mask_crop_size:
            self._transforms.append(DrawMasks(num_gts, input_hw, mask_crop_size, mask_divider))
            is_whole = holds_whole_bitmaps(mask_crop_size, input_hw)
            self._mask_hw = input_hw if is_whole else (mask_crop_size, mask_crop_size)
        self._num_workers = num_workers
        self._use_processes = use_processes and num_workers > 0
        self._threads: ThreadPoolExecutor | None = None
        self._processes: ProcessPoolExecutor | None = None
        if training and len(self) == 0:
            raise UserError(
                f"{dataset.annotation_file}: {len(self.records)} images are fewer than a batch "
                f"({batch_size} images x {world} devices); set a smaller batch_size"
            )

    def __len__(self) -> int:
        """Batches an epoch, on each rank."""
        across = self.batch_size * self.world
        return len(self.records) // across if self.training else -(-len(self.records) // across)

    def epoch(self, epoch_index: int, start_step: int = 0) -> Iterator[Batch]:
        """Batches `start_step`, `start_step` + 1, ... of an epoch. Earlier ones are not decoded.

        Raises:
            UserError: a broken image in training without `skip_broken`.
        """
        order = self._order(epoch_index)
        steps = iter(range(start_step, len(self)))
        ahead = 1 + -(-self._num_workers // self.batch_size) if self._num_workers else 1
        pending: deque[tuple[Batch, list[Future]]] = deque()
        try:
            while True:
                while len(pending) < ahead and (step := next(steps, None)) is not None:
                    pending.append(self._start_batch(order, epoch_index, step))
                if not pending:
                    return
                batch, futures = pending.popleft()
                for future in futures:
                    future.result()
                yield batch
        finally:
            for _, futures in pending:
                for future in futures:
                    future.cancel()

    def close(self) -> None:
        """Stop the workers; the loader can be used again and then starts new ones."""
        for pool in (self._threads, self._processes):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)
        self._threads = self._processes = None

    def _order(self, epoch_index: int) -> np.ndarray:
        if not self.training:
            return np.arange(len(self.records))
        return np.random.default_rng([self.seed, epoch_index]).permutation(len(self.records))

    def _start_batch(self, order: np.ndarray, epoch_index: int, step: int) -> tuple[Batch, list[Future]]:
        """An empty batch, and the work that fills it."""
        size = self.batch_size
        first = (step * self.world + self.rank) * size
        indices = order[first : first + size]
        batch = self._empty_batch()
        for slot in range(len(indices), size):
            self._fill_slot(batch, slot)
        self._start_workers()
        submit = self._threads.submit if self._threads else _run_now
        work = [submit(self._fill, batch, slot, int(index), epoch_index) for slot, index in enumerate(indices)]
        return batch, work

    def _empty_batch(self) -> Batch:
        size, gts = self.batch_size, self.num_gts
        batch = {
            "image": np.empty((size, 3, *self.input_hw), np.float32),
            "image_info": np.zeros((size, 6), np.float32),
            "image_id": np.full(size, FILLER_ID, np.int64),
            "boxes": np.zeros((size, gts, 4), np.float32),
            "labels": np.zeros((size, gts), np.int32),
            "valid": np.zeros((size, gts), bool),
            "path": [""] * size,
        }
        if self._mask_hw:
            batch["masks"] = np.zeros((size, gts, *self._mask_hw), np.uint8)
        return batch

    def _fill(self, batch: Batch, slot: int, index: int, epoch_index: int) -> None:
        """Prepare image `index`, or what stands in for it, and write it into a slot."""
        for step in range(len(self.records)):
            tried = (index + step) % len(self.records)
            record = self.records[tried]
            try:
                sample = self._prepare(record, (self.seed, epoch_index, tried))
            except ImageError as error:
                if self.training and not self.skip_broken:
                    raise UserError(f"{error}; mend or remove it, or set skip_broken") from None
                self._note_broken(str(error))
                if not self.training:
                    self._fill_slot(batch, slot)
                    return
            else:
                self._write(batch, slot, record, sample)
                return
        raise UserError(f"{self.dataset.annotation_file}: not one of its images can be read")

    def _prepare(self, record: Record, key: tuple[int, ...]) -> Sample:
        if self._processes is None:
            return prepare(record, self._transforms, key)
        return self._processes.submit(_prepare_in_process, record, key).result()

    def _write(self, batch: Batch, slot: int, record: Record, sample: Sample) -> None:
        self.normalizer.write(sample["image"], batch["image"][slot])
        batch["image_info"][slot] = image_info(sample)
        batch["image_id"][slot] = record.image_id
        batch["path"][slot] = record.name
        chosen = choose_targets(sample["boxes"], sample["crowd"], self.num_gts)
        batch["boxes"][slot, : len(chosen)] = sample["boxes"][chosen]
        batch["labels"][slot, : len(chosen)] = sample["labels"][chosen]
        batch["valid"][slot, : len(chosen)] = True
        if self._mask_hw:
            batch["masks"][slot, : len(chosen)] = sample["canvases"]

    def _fill_slot(self, batch: Batch, slot: int) -> None:
        """A black image of the input's own size, scale 1, in a slot that no image is left for."""
        batch["image"][slot] = 0
        batch["image_info"][slot] = (*self.input_hw, *self.input_hw, 1, 1)

    def _note_broken(self, line: str) -> None:
        if line not in self.broken:
            self.broken.append(line)
            logger.warning("%s; skipped", line)

    def _start_workers(self) -> None:
        if self._threads is not None or not self._num_workers:
            return
        # Images are the unit of parallel work here; OpenCV's own threads inside each of them would only compete.
        cv2.setNumThreads(1)
        if self._use_processes:
            # Not fork: MindSpore's threads are running by now.
            self._processes = ProcessPoolExecutor(
                self._num_workers, get_context("spawn"), initializer=_start_process, initargs=(self._transforms,)
            )
        self._threads = ThreadPoolExecutor(self._num_workers, thread_name_prefix="loader")


def prepare(record: Record, transforms: Sequence[Transform], key: tuple[int, ...]) -> Sample:
    """Decode and transform one record with a generator seeded by `key` (seed, epoch, index). Raises ImageError."""
    return apply_transforms(read_sample(record), transforms, np.random.default_rng(key))


_process_transforms: list[Transform] = []


def _start_process(transforms: list[Transform]) -> None:
    """Runs once in each worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle: it then closes the pool.
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _process_transforms[:] = transforms


def _exit_with_parent() -> None:
    """A parent killed by SIGKILL cannot stop its workers, and they would wait for it for ever."""
    connection.wait([parent_process().sentinel])
    os._exit(1)


def _prepare_in_process(record: Record, key: tuple[int, ...]) -> Sample:
    return prepare(record, _process_transforms, key)


def _run_now(function, *args) -> Future:
    """What a pool's `submit` does, without a pool: errors come out of `result()`."""
    future: Future = Future()
    try:
        future.set_result(function(*args))
    except Exception as error:
        future.set_exception(error)
    return future


def build_train_loader(config: "Config", rank: int = 0, world: int = 1, augment: bool = True) -> BatchLoader:
    """Loader of the configuration's training data, with augmentation, and with masks for a model that learns them.

    Without `augment`, images come in the same order, only resized.

    Raises:
        UserError: see `open_data`; missing images, unless skip_broken; too few images.
    """
    dataset = open_data(config, training=True, with_masks=config.mask_options is not None)
    _check_category_ids(config, dataset)
    if dataset.missing_images and not config.skip_broken:
        raise UserError(
            f"{len(dataset.missing_images)} images of {dataset.annotation_file} are missing, the first: "
            f"{dataset.missing_images[0]}; add them, or set skip_broken to train without them"
        )
    _note_crowded(dataset, config.num_gts)
    transforms = _augmentation(config) if augment else _plain_transforms(config)
    masks = {}
    if (options := config.mask_options) is not None:
        masks = {"mask_crop_size": options.crop_size, "mask_divider": options.divider}
    return _build(config, dataset, transforms, config.batch_size, True, rank, world, **masks)


def build_eval_loader(config: "Config", rank: int = 0, world: int = 1) -> BatchLoader:
    """Loader of the configuration's evaluation data, without augmentation. Missing images are in `dataset.problems`."""
    dataset = open_data(config, training=False)
    _check_category_ids(config, dataset)
    return _build(config, dataset, _plain_transforms(config), config.test_batch_size, False, rank, world)


def _augmentation(config: "Config") -> list[Transform]:
    transforms = train_transforms(
        (config.img_height, config.img_width),
        config.keep_ratio,
        flip_ratio=config.flip_ratio,
        expand_ratio=config.expand_ratio,
        ratio_range=config.ratio_range,
        fill=config.img_mean if config.to_rgb else config.img_mean[::-1],
        photo_ratio=config.photo_ratio,
        channel_order_ratio=config.channel_order_ratio,
        iou_crop_ratio=config.iou_crop_ratio,
    )
    instaboost = build_instaboost(config) if isinstance(config, InstaBoostKeys) else None
    return transforms if instaboost is None else [instaboost, *transforms]


def _plain_transforms(config: "Config") -> list[Transform]:
    return train_transforms((config.img_height, config.img_width), config.keep_ratio)


def _build(config, dataset, transforms, batch_size, training, rank, world, **masks) -> BatchLoader:
    return BatchLoader(
        dataset,
        transforms,
        Normalizer(config.img_mean, config.img_std, config.to_rgb),
        config.input_hw,
        batch_size,
        config.num_gts,
        seed=config.seed,
        training=training,
        rank=rank,
        world=world,
        num_workers=config.num_parallel_workers,
        use_processes=config.python_multiprocessing,
        skip_broken=config.skip_broken,
        **masks,
    )


def _check_category_ids(config: "Config", dataset: Dataset) -> None:
    if config.category_ids and list(config.category_ids) != dataset.category_ids:
        raise UserError(
            f"{dataset.annotation_file}: its category ids in the order of coco_classes are {dataset.category_ids}, "
            f"category_ids says {list(config.category_ids)}; correct category_ids or leave it empty"
        )


def _note_crowded(dataset: Dataset, num_gts: int) -> None:
    """Say once that images have more objects than training can take."""
    crowded = [record for record in dataset.records if np.count_nonzero(~record.crowd) > num_gts]
    if crowded:
        dataset.problems.append(
            f"{len(crowded)} images have more than num_gts ({num_gts}) objects, the first: {crowded[0].name}; "
            f"only the {num_gts} largest are learnt"
        )

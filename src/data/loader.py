"""Batches of a data set, prepared ahead, the same whatever the number of workers."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from src.common.errors import UserError
from src.data.batch import Batch, BatchLayout
from src.data.batch_plan import PlannedBatch, plan_batches
from src.data.detection_dataset import DetectionDataset
from src.data.image import ImageError
from src.data.mask_canvas import DrawMasks
from src.data.orientation import lies_across
from src.data.record import Record
from src.data.sample import Sample
from src.data.sampling import EpochOrder, images_per_epoch, shuffled
from src.data.transforms import Transform
from src.data.workers import WorkerOptions, Workers

logger = logging.getLogger(__name__)

REDRAWS = 100  # images drawn for one whose objects were all cut away, before it is taken as it is


@dataclass(frozen=True)
class Shard:
    """This process among those that share the work: number `rank` of `world`."""

    rank: int = 0
    world: int = 1


class BatchLoader:
    """Batches of fixed shapes from a data set, in an order that depends on (seed, epoch) alone (see `shuffled`).

    With `world` processes, global batch t has B*world images (t*B*world ... of the order where all have one frame, see
    `plan_batches` where it turns), and rank r takes the r-th B of them, so that `world` processes of B images make the
    batches of one process of world*B.

    Attributes:
        dataset: the data set with its `records` and `problems`.
        records: those of the data set.
        factors: see the constructor.
        broken: one line for each image that could not be read so far.
    """

    def __init__(
        self,
        dataset: DetectionDataset,
        transforms: Sequence[Transform],
        layout: BatchLayout,
        training: bool = False,
        seed: int = 1,
        shard: Shard | None = None,
        workers: WorkerOptions | None = None,
        skip_broken: bool = False,
        factors: np.ndarray | None = None,
    ) -> None:
        """Start no worker yet.

        Args:
            dataset: its records must have masks where batches have them.
            transforms: applied to each sample; each image has a generator of its own, seeded by (seed, epoch, index).
            layout: what a batch holds.
            training: shuffle, leave out the last incomplete batch, and take a broken image for an error (unless
                `skip_broken`: then the next readable image stands in). For an image of which the transforms cut away
                all objects a random one stands in, as in mmdetection. Otherwise: file order, all images, the last
                batch (of either orientation) filled up, and broken images become fillers.
            seed: of order and augmentation.
            shard: this process among how many; None: alone.
            workers: what prepares images; None: the calling thread.
            skip_broken: train in spite of broken images.
            factors: float64 [N], at least 1: how often each image comes in an epoch on average; None: once.

        Raises:
            UserError: training with fewer images than a batch of all devices.
        """
        self.dataset = dataset
        self.records: Sequence[Record] = dataset.records
        self.layout = layout
        self.training = training
        self.seed = seed
        self.shard = shard or Shard()
        self.skip_broken = skip_broken
        self.factors = factors
        self.broken: list[str] = []
        sizes = ((record.height, record.width) for record in self.records)
        self._turned: np.ndarray = np.array([lies_across(size, layout.turning_hw) for size in sizes], bool)
        steps = list(transforms)
        if layout.masks is not None:
            steps.append(DrawMasks(layout.num_gts, layout.input_hw, layout.masks.crop_size, layout.masks.divider))
        self._workers = Workers(workers or WorkerOptions(), steps)
        if training and len(self) == 0:
            raise UserError(
                f"{dataset.annotation_file}: {len(self.records)} images are fewer than a batch "
                f"({layout.batch_size} images x {self.shard.world} devices); set a smaller batch_size"
            )

    def __len__(self) -> int:
        """Batches per epoch, on each rank."""
        size = self.layout.batch_size * self.shard.world
        if self.training:
            return (len(self.records) if self.factors is None else images_per_epoch(self.factors)) // size
        return sum(-(-count // size) for count in np.bincount(self._turned, minlength=2).tolist())

    def epoch(self, epoch_index: int, start_step: int = 0) -> Iterator[Batch]:
        """Batches `start_step`, `start_step` + 1, ... of an epoch. Earlier ones are not decoded.

        Raises:
            UserError: a broken image in training without `skip_broken`.
        """
        order = self._order(epoch_index)
        planned = iter(self._plan(order)[start_step:])
        count = self._workers.options.count
        ahead = 1 + -(-count // self.layout.batch_size) if count else 1
        pending: deque[tuple[Batch, list[Future]]] = deque()
        try:
            while True:
                while len(pending) < ahead and (one := next(planned, None)) is not None:
                    pending.append(self._start_batch(one, order, epoch_index))
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
        self._workers.close()

    def _order(self, epoch_index: int) -> EpochOrder:
        count = len(self.records)
        if not self.training:
            return EpochOrder(np.arange(count), np.zeros(count, np.int64))
        return shuffled(count, self.seed, epoch_index, self.factors)

    def _plan(self, order: EpochOrder) -> list[PlannedBatch]:
        """The batches of all devices, as places in the order."""
        size = self.layout.batch_size * self.shard.world
        return plan_batches(np.arange(len(order.images)), self._turned[order.images], size, self.training)

    def _start_batch(self, planned: PlannedBatch, order: EpochOrder, epoch_index: int) -> tuple[Batch, list[Future]]:
        """An empty batch, and the work that fills it."""
        size = self.layout.batch_size
        first = self.shard.rank * size
        places = planned.indices[first : first + size]
        batch = self.layout.empty(planned.turned)
        for slot in range(len(places), size):
            self.layout.write_filler(batch, slot)
        work = []
        images, copies = order.images[places].tolist(), order.copies[places].tolist()
        for slot, (index, copy) in enumerate(zip(images, copies, strict=True)):
            key = (self.seed, epoch_index, copy) if copy else (self.seed, epoch_index)
            work.append(self._workers.submit(self._prepare_slot, batch, slot, index, key, planned.turned))
        return batch, work

    def _prepare_slot(self, batch: Batch, slot: int, index: int, key: tuple[int, ...], turned: bool) -> None:
        """Prepare image `index`, or what stands in for it, and write it into a slot; `key` seeds the augmentation."""
        prepared = self._prepare(index, key, turned)
        for attempt in range(1, REDRAWS + 1):
            if prepared is None or not (self.training and _lost_its_objects(*prepared)):
                break
            redraw = (*key, index, attempt)
            prepared = self._prepare(int(np.random.default_rng(redraw).integers(len(self.records))), redraw, turned)
        if prepared is None:
            self.layout.write_filler(batch, slot)
        else:
            self.layout.write_sample(batch, slot, *prepared)

    def _prepare(self, index: int, key: tuple[int, ...], turned: bool) -> tuple[Record, Sample] | None:
        """Image `index` with a generator seeded by `key` and its number, in the frame as it is or `turned`.

        Returns:
            What was prepared, for a broken image what the constructor says; None: a filler takes its place.

        Raises:
            UserError: a broken image in training without `skip_broken`, or no image that can be read.
        """
        for step in range(len(self.records)):
            tried = (index + step) % len(self.records)
            record = self.records[tried]
            try:
                return record, self._workers.prepare(record, (*key, tried), turned)
            except ImageError as error:
                if self.training and not self.skip_broken:
                    raise UserError(f"{error}; fix or remove it, or set skip_broken") from None
                self._note_broken(str(error))
                if not self.training:
                    return None
        raise UserError(f"{self.dataset.annotation_file}: not one of its images can be read")

    def _note_broken(self, line: str) -> None:
        if line not in self.broken:
            self.broken.append(line)
            logger.warning("%s; skipped", line)


def _lost_its_objects(record: Record, sample: Sample) -> bool:
    """Whether a record has objects to learn and the sample made of it none."""
    return not record.crowd.all() and bool(sample.crowd.all())

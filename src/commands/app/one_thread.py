"""A network that is called from many threads, and computes in one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from src.predictor import Detector

if TYPE_CHECKING:
    from mindspore import Tensor

    from src.blocks.detections import Detections
    from src.models.api import Predictor
    from src.predictor.pipeline import Pipeline


class OneThread:
    """A `Predictor` whose batches go through a network one after the other, in a thread of its own.

    MindSpore's settings (graph mode, device) belong to the thread that made them, so the network is made there too.

    Args:
        net: what computes.
        thread: the executor, of one thread, that made it.
    """

    training = False

    def __init__(self, net: Predictor, thread: ThreadPoolExecutor) -> None:
        self.net, self.thread = net, thread

    def predict(self, images: np.ndarray | Tensor, image_info: np.ndarray | Tensor) -> Detections:
        """Detections of a batch, as arrays; waits for those that came before."""
        return self.thread.submit(self._computed, images, image_info).result()

    def _computed(self, images: np.ndarray | Tensor, image_info: np.ndarray | Tensor) -> Detections:
        found = self.net.predict(images, image_info)
        masks = None if found.masks is None else np.asarray(found.masks)
        boxes, scores, labels, valid = (np.asarray(part) for part in found[:4])
        return type(found)(boxes, scores, labels, valid, masks)

    def set_train(self, mode: bool = True) -> None:
        """What answers requests does not learn."""
        if mode:
            raise ValueError("this network is not trained")


def pipeline_in_one_thread(make: Callable[[], Detector]) -> Pipeline:
    """The pipeline of a detector, which may be called from any thread: images are read and prepared in the caller's.

    Args:
        make: makes the detector; called in the thread that will compute.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="network")
    making = thread.submit(make)
    try:
        pipeline = making.result().pipeline
    except BaseException:  # a signal, too: Python must not end while the thread imports
        thread.shutdown()
        raise
    return replace(pipeline, net=OneThread(pipeline.net, thread), options=replace(pipeline.options, workers=0))

"""The package instaboostfast, optional, behind the interface of the native transform."""

import importlib
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from src.common.errors import UserError
from src.data.instaboost.settings import Settings
from src.data.masks import MaskPatch, decode_mask
from src.data.sample import Sample

_global_random_state = threading.Lock()


class PackageInstaBoost:
    """InstaBoost by instaboostfast; see `InstaBoost` for what the native one does differently.

    Crowds are not handed over and stay in the annotations as they are. Where the package cannot augment an image or
    loses an instance of it, the image stays as it is: ground truth is never lost. It pastes with a hard edge only.
    """

    def __init__(self, **settings: Any) -> None:
        """Arguments: see `Settings`. Raises UserError for impossible values and when the package is missing."""
        self.settings = Settings(**settings)
        if any(not float(bound).is_integer() for bound in self.settings.theta):
            raise UserError(f"theta: instaboostfast takes whole degrees, not {list(self.settings.theta)}")
        _import_package()

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Raises UserError for a sample whose masks were not read."""
        if rng.random() >= self.settings.aug_prob:
            return sample
        if sample.masks is None:
            raise UserError("InstaBoost needs masks: use a model with a mask head, or set aug_prob to 0")
        height, width = sample.image_hw
        indices = np.flatnonzero(~sample.crowd).tolist()
        annotations = [
            _annotation(index, int(sample.labels[index]), sample.masks[index], sample.image_hw) for index in indices
        ]
        package, seed = _import_package(), int(rng.integers(2**32))
        config = self._config(package)
        image = cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR)
        try:
            moved, image = _seeded(seed, package.get_new_data, annotations, image, config, background=None)
        except (ValueError, IndexError, AssertionError, cv2.error):
            return sample  # Boxes of no pixel, and probabilities that add up to less than 1 after a restriction.
        if sorted(annotation["index"] for annotation in moved) != indices:
            return sample
        boxes, masks = sample.boxes.copy(), list(sample.masks)
        for annotation in moved:
            mask = decode_mask(annotation["segmentation"][0], height, width)
            if not mask.area:
                return sample
            boxes[annotation["index"]] = mask.box
            masks[annotation["index"]] = mask
        return replace(sample, image=cv2.cvtColor(image, cv2.COLOR_BGR2RGB), boxes=boxes, masks=masks)

    def _config(self, package: ModuleType) -> object:
        settings = self.settings
        return package.InstaBoostConfig(
            action_candidate=tuple(settings.action_candidate),
            action_prob=tuple(settings.action_prob),
            scale=tuple(settings.scale),
            dx=settings.dx,
            dy=settings.dy,
            theta=tuple(int(bound) for bound in settings.theta),
            color_prob=settings.color_prob,
            heatmap_flag=settings.heatmap_flag,
        )


def _import_package() -> ModuleType:
    """instaboostfast, made to return masks as run lengths.

    Its own conversion of masks to polygons fails on numpy >= 1.24 for masks of several parts, and fills their holes.
    """
    try:
        package = importlib.import_module("instaboostfast")
        affine_transform = importlib.import_module("instaboostfast.affine_transform")
    except ImportError as error:
        raise UserError(
            f"instaboost_backend instaboostfast: the package cannot be imported ({error}); install it with "
            "'pip install instaboostfast==0.1.2', or set instaboost_backend to native"
        ) from None
    vars(affine_transform)["binary_mask_to_polygon"] = _run_lengths
    return package


def _run_lengths(bitmap: np.ndarray) -> list[dict]:
    """A list of one uncompressed RLE, which the package takes where it expects polygons; empty without a pixel."""
    if not bitmap.any():
        return []
    column = bitmap.ravel(order="F") != 0
    changes = np.flatnonzero(np.diff(column, prepend=False, append=not column[-1]))
    counts = np.diff(changes, prepend=0)
    return [{"size": list(bitmap.shape), "counts": counts.tolist()}]


def _annotation(index: int, label: int, mask: MaskPatch, image_hw: tuple[int, int]) -> dict:
    """What the package reads of an object. Never a compressed RLE, which it refuses."""
    x1, y1, x2, y2 = mask.box
    return {
        "index": index,
        "category_id": label,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "segmentation": _run_lengths(mask.bitmap(*image_hw)),
    }


def _seeded(seed: int, function: Callable, *args: object, **kwargs: object) -> Any:
    """Call what draws from the global generators of random and numpy, and leave these as they were."""
    with _global_random_state:
        states = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed)
        try:
            return function(*args, **kwargs)
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])

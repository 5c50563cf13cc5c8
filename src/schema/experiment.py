"""The configuration of an experiment, whatever its detector."""

from pathlib import Path
from typing import NamedTuple

from pydantic import PrivateAttr

from src.schema.data_keys import AugmentationKeys, DataKeys, ImageKeys
from src.schema.inference_keys import ExportKeys, InferenceKeys
from src.schema.run_keys import DistributedKeys, ModelArtsKeys, RunKeys
from src.schema.training_keys import CheckpointKeys, OptimizerKeys, TrainingKeys


class MaskOptions(NamedTuple):
    """How a detector's masks are kept in training and cut in prediction.

    Attributes:
        crop_size: side of an object's ground-truth mask in memory, in mask pixels.
        divider: network pixels per mask pixel.
        threshold: least probability of a pixel that belongs to a predicted mask.
    """

    crop_size: int
    divider: int
    threshold: float


class Config(
    # The last group's keys come first in --help and in saved configurations.
    ModelArtsKeys,
    ExportKeys,
    InferenceKeys,
    CheckpointKeys,
    AugmentationKeys,
    ImageKeys,
    DataKeys,
    DistributedKeys,
    TrainingKeys,
    OptimizerKeys,
    RunKeys,
):
    """The keys that every experiment has; `detector` chooses the subclass that adds the network's."""

    _config_path: str = PrivateAttr("")

    @property
    def class_names(self) -> list[str]:
        """Names of the foreground classes; label k is `class_names[k]`."""
        return self.coco_classes[1:]

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network's input: `img_height`, `img_width` rounded up to `divider`."""
        height, width = (-(-side // self.divider) * self.divider for side in (self.img_height, self.img_width))
        return height, width

    @property
    def turning_hw(self) -> tuple[int, int] | None:
        """`img_height` and `img_width` where they are exchanged for images of the other orientation; None: never."""
        size = (self.img_height, self.img_width)
        return size if self.turn_frame and self.img_height != self.img_width else None

    @property
    def input_shapes(self) -> tuple[tuple[int, int], ...]:
        """Each height and width that the network's input may have: `input_hw`, and turned where the frame turns."""
        height, width = self.input_hw
        if self.turning_hw is None or height == width:
            return ((height, width),)
        return (height, width), (width, height)

    def in_fixed_frame(self, turned: bool = False) -> "Config":
        """The same configuration with a frame that does not turn: the one that it has, or the `turned` one."""
        width, height = (self.img_height, self.img_width) if turned else (self.img_width, self.img_height)
        changes = {"img_width": width, "img_height": height, "turn_frame": False, "export_turned": False}
        return self.model_copy(update=changes)

    @property
    def warmup_epochs(self) -> tuple[int, int, int, int, int]:
        """Epochs of the five ramps of `lr_type: five_phase`."""
        return (
            self.warmup_epochs1,
            self.warmup_epochs2,
            self.warmup_epochs3,
            self.warmup_epochs4,
            self.warmup_epochs5,
        )

    @property
    def checkpoint_folder(self) -> Path:
        """Where a training keeps its checkpoints."""
        return Path(self.save_checkpoint_path or Path(self.train_outputs, self.brief, "checkpoints"))

    @property
    def mask_options(self) -> MaskOptions | None:
        """How masks are kept and cut; None for a detector of boxes alone."""
        return None

    @property
    def mask_threshold(self) -> float | None:
        """The probability that makes a pixel part of a mask; None for a detector of boxes alone."""
        return None if self.mask_options is None else self.mask_options.threshold

    @property
    def iou_types(self) -> tuple[str, ...]:
        """What is evaluated: boxes, and masks where the detector has them."""
        return ("bbox",) if self.mask_options is None else ("bbox", "segm")

    @property
    def config_path(self) -> str:
        """The YAML file it was read from."""
        return self._config_path

"""What the rest of the project knows of a detector: its network's methods, and everything else in one `DetectorSpec`.

Imports no MindSpore: configurations are checked through specs before anything heavy is loaded. A spec's functions that
need MindSpore import it when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from src.schema import Config

if TYPE_CHECKING:
    from mindspore import Parameter, Tensor, nn

    from src.blocks.detections import Detections

Arrays = dict[str, np.ndarray]
Problem = tuple[str, str]  # dotted key, what is wrong with it and what would be right


@runtime_checkable
class Predictor(Protocol):
    """What finds objects: a detector, or an exported file of one.

    Attributes:
        training: whether it is in training mode.
    """

    training: bool

    def predict(self, images: np.ndarray | Tensor, image_info: np.ndarray | Tensor) -> Detections:
        """Detections of a batch.

        The network computes as in evaluation whatever mode it is in, and is left in that mode.

        Args:
            images: float32 [B,3,H,W], normalized.
            image_info: float32 [B,6], see `src.blocks.image_info`.
        """

    def set_train(self, mode: bool = True) -> nn.Cell | None:
        """Switch training mode."""


@runtime_checkable
class Detector(Predictor, Protocol):
    """A network that learns and predicts: an `nn.Cell`, of whose methods those that are called stand here.

    Attributes:
        backbone: the part whose weights `backbone.pretrained` names.
        loss_names: names of the loss terms, in the order in which a trainer logs them.
    """

    backbone: nn.Cell
    loss_names: tuple[str, ...]

    def extract_features(self, images: Tensor) -> tuple[Tensor, ...]:
        """Levels after the neck, finest first, of images float32 [B,3,H,W], normalized."""

    def dense_outputs(self, images: Tensor) -> tuple:
        """Raw outputs of the dense head for images float32 [B,3,H,W], normalized."""

    def losses(
        self,
        images: Tensor,
        image_info: Tensor,
        boxes: Tensor,
        labels: Tensor,
        valid: Tensor,
        masks: Tensor | None = None,
        normalizer: Tensor | None = None,
        seed: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses of a batch, float32 scalars by the names in `loss_names`; finite without objects.

        Args:
            images: float32 [B,3,H,W], normalized.
            image_info: float32 [B,6], see `src.blocks.image_info`.
            boxes: float32 [B,N,4], x1 y1 x2 y2 in network pixels.
            labels: int32 [B,N], 0..K-1.
            valid: bool [B,N]; False for padding.
            masks: uint8 [B,N,S,S] canvases around the objects, or [B,N,H,W] bitmaps (see `MaskTargets`), for detectors
                that learn masks.
            normalizer: what detectors that divide by positives divide by; None: the batch's number, at least 1.
            seed: int32 scalar, of random choices of anchors and regions where there are any; None: 0.
        """

    def set_train(self, mode: bool = True) -> nn.Cell:
        """Switch training mode."""

    def get_parameters(self) -> Iterator[Parameter]:
        """All parameters."""

    def trainable_params(self) -> list[Parameter]:
        """Parameters that training changes."""

    def parameters_dict(self) -> dict[str, Parameter]:
        """All parameters by name."""

    def cells_and_names(self) -> Iterator[tuple[str, nn.Cell]]:
        """All cells inside, by their dotted names."""


@runtime_checkable
class CountsPositives(Protocol):
    """A `Detector` whose losses are divided by the number of positive anchors, which several batches can share."""

    def count_positives(self, boxes: Tensor, labels: Tensor, valid: Tensor, image_info: Tensor) -> Tensor:
        """Positive anchors of a batch, a float32 scalar: what its losses are divided by.

        It depends on the targets only, so that a trainer can sum it over micro-batches and devices beforehand.
        Arguments as of `Detector.losses`.
        """


class RawForm(Protocol):
    """A cell that gives decoded boxes [B,N,4] and scores [B,N,K] of all candidates: the raw form of exported files.

    Attributes:
        input_names: what it takes: `image` and, where it is needed, `image_info`.
        level_sizes: number of rows of each level; their sum is N.
    """

    input_names: tuple[str, ...]
    level_sizes: Sequence[int]

    def set_train(self, mode: bool = True) -> nn.Cell:
        """Switch training mode."""


@dataclass(frozen=True)
class AnchorSpec:
    """Where a detector's anchors are configured.

    Attributes:
        section: dotted name of the section with scales or octaves, ratios and strides.
        positive_iou: dotted name of the key with the IoU that makes an anchor positive.
        center_offset: where in its cell an anchor lies, in strides (see `AnchorGenerator`).
    """

    section: str
    positive_iou: str
    center_offset: float = 0.0


@dataclass(frozen=True)
class ClassBias:
    """A parameter whose length shows the number of classes.

    Attributes:
        name: of the parameter.
        background: 1 where the background has an output too, else 0.
    """

    name: str
    background: int


@dataclass(frozen=True)
class PublishedFormat:
    """Weights that others published under names of their own.

    Attributes:
        matches: whether {name: array} has these names.
        convert: (arrays, configuration) -> arrays by mmdetection's names, which this project's follow; raises UserError
            where the configuration computes something else than the weights' network did.
        backbone: (arrays, epsilon of the backbone's batch normalizations) -> arrays whose backbone has mmdetection's
            names, for `backbone.pretrained`.
    """

    matches: Callable[[Arrays], bool]
    convert: Callable[[Arrays, Any], Arrays]
    backbone: Callable[[Arrays, float], Arrays]


@dataclass(frozen=True)
class ExportSpec:
    """What is exported of a detector.

    Attributes:
        raw_form: detector -> its raw form.
        selection: (configuration, level sizes) -> how raw outputs become detections (the card's `selection`).
        score_threshold: configuration -> least score of a detection.
        default_form: the form that `export_form: auto` stands for.
        dynamic_batch: whether the network takes any number of images per call; those of one that does not are computed
            one by one where an ONNX file takes any number.
        fixed_rows: whether a row of the raw form is always the same anchor's. Where the network chooses regions,
            rounding may change their order, and a file is compared by what its rows become.
        rois_are_aligned: configuration -> whether RoIAlign counts from the centres of pixels (ONNX files have one
            answer for all of them); raises UserError where there are two.
    """

    raw_form: Callable[[Any], RawForm]
    selection: Callable[[Any, Sequence[int]], dict[str, Any]]
    score_threshold: Callable[[Any], float]
    default_form: Literal["raw", "detections"] = "raw"
    dynamic_batch: bool = True
    fixed_rows: bool = True
    rois_are_aligned: Callable[[Any], bool] = lambda config: True


@dataclass(frozen=True)
class RegionCounts:
    """Work of the heads of regions of interest, for `count_parameters`.

    Attributes:
        macs: multiply-accumulate operations per layer.
        num_rois, num_masks: regions that they were counted for.
    """

    macs: dict[str, int]
    num_rois: int
    num_masks: int


def no_problems(keys: Any) -> Iterator[Problem]:
    """The checks of a configuration, or of a section, whose keys cannot contradict each other."""
    return iter(())


@dataclass(frozen=True)
class DetectorSpec:
    """All that is known about a detector outside its network.

    Attributes:
        config_class: nested values of a configuration (unchecked) -> the class that holds its keys. Raises
            `UnknownNameError` for a backbone that the detector does not take.
        checks: configuration -> contradictions between its keys.
        build: configuration -> the network with initial weights.
        class_biases: parameters that show the number of classes; the first that weights hold is read.
        export: what is exported.
        anchors: where its anchors are configured; None: it has none.
        published_keys: {spelling of a published README: key, or keys that it sets together}.
        published_weights: formats of weights that convert to this detector.
        default_config: (file name of a program, its command line's keys) -> the configuration of a published command
            that names none; None: not this detector's.
        region_counts: (network, configuration) -> work of the heads of regions; None: there are none.
        takes_turned_frame: whether the network takes each of the configuration's `input_shapes`; else only the first.
        own_data: configuration that experiments on data of one's own start from: a small network, trained from scratch;
            None: the user names one.
    """

    config_class: Callable[[Mapping[str, Any]], type[Config]]
    build: Callable[[Any], Detector]
    export: ExportSpec
    checks: Callable[[Any], Iterator[Problem]] = no_problems
    class_biases: tuple[ClassBias, ...] = ()
    anchors: AnchorSpec | None = None
    published_keys: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    published_weights: tuple[PublishedFormat, ...] = ()
    default_config: Callable[[str, Mapping[str, Any]], Path | None] = lambda program, arguments: None
    region_counts: Callable[[Any, Any], RegionCounts] | None = None
    takes_turned_frame: bool = False
    own_data: Path | None = None


class UnknownNameError(ValueError):
    """A name that stands in no table.

    Attributes:
        key: dotted key that gave it.
        name: what was given.
        known: what there is.
    """

    def __init__(self, key: str, name: object, known: Sequence[str]) -> None:
        super().__init__(f"{key}: {name!r} is not allowed: known are {', '.join(known)}")
        self.key, self.name, self.known = key, name, tuple(known)

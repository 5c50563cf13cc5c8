"""The JSON beside an exported file: what it takes, what it gives, and how images and outputs are treated around it.

`model.mindir` has `model.json` beside it, `model.onnx` has `model.onnx.json`, and `model.ms` `model.ms.json`. Whoever
runs the file needs no configuration and no checkpoint.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from src.common.atomic import atomic_path
from src.common.checksum import sha256_of
from src.common.errors import UserError
from src.common.text import shown
from src.data.network_input import EvalTransform, Normalizer
from src.deploy.onnx_metadata import read_metadata
from src.schema import Config

# -1: any number
Shape = Annotated[list[Annotated[int, Field(ge=-1, lt=2**31)]], Field(max_length=8)]
Side = Annotated[int, Field(gt=0, le=2**16)]
Count = Annotated[int, Field(gt=0, lt=2**31)]
Fraction = Annotated[float, Field(ge=0, le=1)]
ApOfPrecisions = Annotated[dict[Literal["float32", "float16", "int8"], Fraction], Field(min_length=2, max_length=2)]
Suppression = Literal["greedy", "soft_linear", "soft_gaussian"]
Sigma = Annotated[float, Field(gt=0, le=100)]
Mean = Annotated[list[Annotated[float, Field(ge=-1e30, le=1e30)]], Field(min_length=3, max_length=3)]
Std = Annotated[list[Annotated[float, Field(gt=1e-30, le=1e30)]], Field(min_length=3, max_length=3)]


DETECTIONS = ["boxes", "scores", "labels", "valid"]


class CardPart(BaseModel):
    """No unknown names, and no infinite numbers."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Port(CardPart):
    """An input or an output of the file."""

    name: str
    shape: Shape
    dtype: Literal["float32", "int32", "bool"] = "float32"


class Preprocessing(CardPart):
    """From an image to the network's input.

    Resize into (keep_ratio) or onto img_height x img_width, (pixel - mean) / std per channel, planes; what is left of
    input_height x input_width, right and below, is 0.
    """

    img_height: Side
    img_width: Side
    input_height: Side
    input_width: Side
    keep_ratio: bool
    to_rgb: bool
    img_mean: Mean
    img_std: Std

    @classmethod
    def of(cls, config: Config) -> "Preprocessing":
        """What `src.data.network_input.EvalTransform` does for this configuration."""
        height, width = config.input_hw
        names = ("img_height", "img_width", "keep_ratio", "to_rgb", "img_mean", "img_std")
        return cls(input_height=height, input_width=width, **{name: getattr(config, name) for name in names})

    def transform(self) -> EvalTransform:
        """What makes the network's input of an image."""
        normalizer = Normalizer(self.img_mean, self.img_std, self.to_rgb)
        size, input_size = (self.img_height, self.img_width), (self.input_height, self.input_width)
        return EvalTransform(size, input_size, self.keep_ratio, normalizer)


class LevelsSelection(CardPart):
    """The best pairs of each level: fields of a `DenseSelection`, which knows what those left out are."""

    kind: Literal["levels"]
    level_sizes: list[Annotated[int, Field(ge=0, lt=2**31)]]
    score_thr: Fraction = 0.0
    nms_pre: Count = 1
    iou_threshold: Fraction = 0.0
    max_per_img: Count = 1
    suppression: Suppression = "greedy"
    soft_sigma: Sigma = 1.0
    min_bbox_size: Annotated[float, Field(ge=0)] = 0.0


class ClassesSelection(CardPart):
    """The best boxes of each class: fields of a `MultiBoxSelection`, which knows what those left out are."""

    kind: Literal["classes"]
    score_thr: Fraction = 0.0
    nms_pre: Count = 1
    iou_threshold: Fraction = 0.0
    max_per_img: Count = 1
    suppression: Suppression = "greedy"
    soft_sigma: Sigma = 1.0


_SELECTION: TypeAdapter = TypeAdapter(Annotated[LevelsSelection | ClassesSelection, Field(discriminator="kind")])


class ExportCard(CardPart):
    """Everything that is known about an exported file.

    Attributes:
        format: MINDIR, AIR or ONNX; LITE: a MINDIR or .ms file of MindSpore Lite, OM: of CANN.
        form: raw (boxes and scores of all candidates) or detections (suppression inside).
        detector: the configuration's `detector`.
        inputs, outputs: in the file's order; batch size -1: any.
        preprocessing: from images to the input `image`.
        class_names: foreground classes; score column and label k belong to `class_names[k]`.
        category_ids: the data set's ids in that order, or empty.
        selection: raw: how boxes and scores become detections (see `raw_selection.py`); None for detections.
        mask_threshold: the probability that makes a pixel part of a mask; None without masks.
        checkpoint, checkpoint_sha256: what was exported.
        sha256: of the exported file.
        source, source_sha256: LITE and OM: the ONNX file that was converted; empty for others.
        precision: type of its layers.
        difference: the largest difference of its outputs from those of the checkpoint, on the images that they were
            compared on; None: nothing was compared.
        ap: other precisions than float32: AP on the validation data of the file in float32, and of this one, of masks
            where it has them, else of boxes; None: not measured.
        bbox_ap: the same of boxes, where `ap` is that of masks.
        float32_layers: int8: layers that were left in float32 because too much AP was lost with them quantized.
    """

    format: Literal["MINDIR", "AIR", "ONNX", "LITE", "OM"]
    form: Literal["raw", "detections"]
    detector: str
    inputs: Annotated[list[Port], Field(min_length=1)]
    outputs: Annotated[list[Port], Field(min_length=1)]
    preprocessing: Preprocessing
    class_names: Annotated[list[str], Field(min_length=1)]
    category_ids: list[Annotated[int, Field(ge=-(2**63), lt=2**63)]]
    selection: dict[str, Any] | None
    mask_threshold: Annotated[float, Field(gt=0, le=1)] | None
    checkpoint: str
    checkpoint_sha256: str
    sha256: str = ""
    source: str = ""
    source_sha256: str = ""
    precision: Literal["float32", "float16", "int8"] = "float32"
    difference: Annotated[float, Field(ge=0)] | None = None
    ap: ApOfPrecisions | None = None
    bbox_ap: ApOfPrecisions | None = None
    float32_layers: list[str] = []

    @field_validator("selection")
    @classmethod
    def _of_a_known_kind(cls, values: dict[str, Any] | None) -> dict[str, Any] | None:
        if values is not None:
            _SELECTION.validate_python(values, strict=True)
        return values

    @property
    def batch_size(self) -> int | None:
        """Images per call; None: any number."""
        size = self.inputs[0].shape[0]
        return None if size < 0 else size

    @property
    def has_masks(self) -> bool:
        """Whether the file gives masks."""
        return self.outputs[-1].name == "masks"

    def save(self, path: str | Path) -> None:
        """Write the card of the exported file `path` beside it."""
        with atomic_path(card_path(path)) as temporary:
            temporary.write_text(json.dumps(self.model_dump(), indent=1) + "\n", encoding="utf-8")


def card_path(exported: str | Path) -> Path:
    """Where the card of an exported file lies: model.json for model.mindir, model.onnx.json for model.onnx."""
    path = Path(exported)
    return path.with_suffix(".json") if path.suffix == ".mindir" else path.with_name(f"{path.name}.json")


def load_card(exported: str | Path) -> ExportCard:
    """The card of an exported file, which is the one it was written for: beside it, or in an ONNX file that is alone.

    Raises:
        UserError: the file or its card is missing, no card, or they do not belong together.
    """
    exported, card = Path(exported), card_path(exported)
    if not exported.is_file():
        raise UserError(f"{exported} does not exist; export.py writes such files")
    inside = not card.exists() and exported.suffix == ".onnx"
    loaded = _parsed(exported, _text_inside(exported)) if inside else _parsed(card, _text_beside(exported))
    if inside:
        loaded.sha256 = sha256_of(exported)
    elif loaded.sha256 != sha256_of(exported):
        raise UserError(f"{exported} is not the file that {card.name} was written for (its SHA-256 differs)")
    return loaded


def load_card_of_converted(converted: str | Path) -> ExportCard:
    """The card of a file that may be a conversion: its own, else a.onnx.json, which names a.onnx's checksum.

    MindSpore Lite's converter writes a.mindir or a.ms of a.onnx, and knows nothing of cards. Where a.onnx lies beside
    it, it must be the file that the card was written for.

    Raises:
        UserError: as `load_card`.
    """
    converted = Path(converted)
    source = converted.with_suffix(".onnx")
    if converted.suffix == ".onnx" or card_path(converted).exists() or not card_path(source).exists():
        return load_card(converted)
    if not converted.is_file():
        raise UserError(f"{converted} does not exist")
    if source.is_file():
        return load_card(source)
    return _parsed(card_path(source), _text_beside(source))


def _text_beside(exported: Path) -> bytes:
    card = card_path(exported)
    try:
        return card.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{card} is missing: the JSON that export.py wrote belongs beside {exported.name}") from None
    except OSError as error:
        raise UserError(f"{card}: cannot be read ({error.strerror})") from None


def _text_inside(exported: Path) -> bytes:
    if not (fields := read_metadata(exported)):
        raise UserError(
            f"{card_path(exported)} is missing: the JSON that export.py wrote belongs beside {exported.name}"
        )
    return json.dumps(fields).encode()


def _parsed(card: Path, text: bytes) -> ExportCard:
    """The card that a file holds or is."""
    try:
        loaded = ExportCard.model_validate_json(text, strict=True)
    except (ValidationError, UnicodeDecodeError) as error:
        reason = _reason(error) if isinstance(error, ValidationError) else "not a text file in UTF-8"
        raise UserError(f"{card}: not the JSON that export.py writes beside its files ({reason})") from None
    if misfit := _misfit(loaded):
        raise UserError(f"{card}: not the JSON that export.py writes beside its files ({misfit})")
    return loaded


def _misfit(card: ExportCard) -> str | None:
    """What of a card contradicts another part of it; None: nothing."""
    p, classes = card.preprocessing, len(card.class_names)
    image, *others = card.inputs
    if image.name != "image" or image.shape[1:] != [3, p.input_height, p.input_width] or image.shape[0] == 0:
        return "the first input must be image, [batch, 3, input_height, input_width]"
    if [port.name for port in others] not in ([], ["image_info"]):
        return "there can be one more input, image_info"
    if p.img_height > p.input_height or p.img_width > p.input_width:
        return "img_height x img_width is larger than input_height x input_width"
    if card.category_ids and len(card.category_ids) != classes:
        return f"category_ids has {len(card.category_ids)} ids for {classes} class_names"
    if (card.form == "raw") != (card.selection is not None):
        return "selection belongs to the form raw, and to no other"
    return _misfit_of_outputs(card)


def _misfit_of_outputs(card: ExportCard) -> str | None:
    names = [port.name for port in card.outputs]
    if card.selection is None:
        return _misfit_of_detections(card, names)
    if names != ["boxes", "scores"]:
        return "the outputs of the form raw are boxes and scores"
    boxes, scores = (port.shape for port in card.outputs)
    if len(boxes) != 3 or boxes[1] < 1 or boxes[2] != 4 or len(scores) != 3 or scores[1] != boxes[1] or scores[2] < 1:
        return "boxes must be [batch, anchors, 4] and scores [batch, anchors, columns]"
    if (sizes := card.selection.get("level_sizes")) is not None and sum(sizes) != boxes[1]:
        return f"level_sizes add up to {sum(sizes)}, boxes has {boxes[1]} anchors"
    return None


def _misfit_of_detections(card: ExportCard, names: list[str]) -> str | None:
    if names not in (DETECTIONS, [*DETECTIONS, "masks"]):
        return f"the outputs of detections are {', '.join(DETECTIONS)} and masks, if any"
    boxes, *others = (port.shape[1:] for port in card.outputs)
    rows = boxes[:1]
    if boxes != [*rows, 4] or others[:3] != [rows] * 3 or any(len(m) != 3 or m[:1] != rows for m in others[3:]):
        return "boxes must be [batch, rows, 4], scores, labels and valid [batch, rows], masks [batch, rows, S, S]"
    return "masks need a mask_threshold" if card.has_masks and card.mask_threshold is None else None


def _reason(error: ValidationError) -> str:
    """The first thing that is wrong: where, and what."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    return f"{where} is {shown(first['input'])}: {message}" if where else message


def refuse_other_config(exported: str | Path, card: ExportCard, config: Config) -> None:
    """Raise unless a configuration describes the same detector, classes and input as an exported file.

    Raises:
        UserError: the first difference.
    """
    ours = {"detector": config.detector, "classes": config.class_names, **Preprocessing.of(config).model_dump()}
    theirs = {"detector": card.detector, "classes": card.class_names, **card.preprocessing.model_dump()}
    for name, value in theirs.items():
        if ours[name] != value:
            where = config.config_path or "the configuration"
            raise UserError(
                f"{exported} was exported with {name} {_short(value)}, but {where} has {_short(ours[name])}"
            )


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > 6:
        return f"({len(value)}) {', '.join(map(str, value[:3]))}, ..."
    return str(value)

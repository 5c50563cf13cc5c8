"""The JSON beside an exported file: what it takes, what it gives, and how images and outputs are treated around it.

`model.mindir` has `model.json` beside it, `model.onnx` has `model.onnx.json`. Whoever runs the file needs no
configuration and no checkpoint.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from src.common.atomic import atomic_path
from src.common.checksum import sha256_of
from src.common.errors import UserError
from src.schema import Config

Shape = list[int]  # -1: any number


class Port(BaseModel):
    """An input or an output of the file."""

    name: str
    shape: Shape
    dtype: Literal["float32", "int32", "bool"] = "float32"


class Preprocessing(BaseModel):
    """From an image to the network's input.

    Resize into (keep_ratio) or onto img_height x img_width, (pixel - mean) / std per channel, planes; what is left of
    input_height x input_width, right and below, is 0.
    """

    img_height: int
    img_width: int
    input_height: int
    input_width: int
    keep_ratio: bool
    to_rgb: bool
    img_mean: list[float]
    img_std: list[float]

    @classmethod
    def of(cls, config: Config) -> "Preprocessing":
        """What `src.data.network_input.EvalTransform` does for this configuration."""
        height, width = config.input_hw
        names = ("img_height", "img_width", "keep_ratio", "to_rgb", "img_mean", "img_std")
        return cls(input_height=height, input_width=width, **{name: getattr(config, name) for name in names})


class ExportCard(BaseModel):
    """Everything that is known about an exported file.

    Attributes:
        format: MINDIR, AIR or ONNX.
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
    """

    model_config = ConfigDict(extra="forbid")

    format: Literal["MINDIR", "AIR", "ONNX"]
    form: Literal["raw", "detections"]
    detector: str
    inputs: list[Port]
    outputs: list[Port]
    preprocessing: Preprocessing
    class_names: list[str]
    category_ids: list[int]
    selection: dict[str, Any] | None
    mask_threshold: float | None
    checkpoint: str
    checkpoint_sha256: str
    sha256: str = ""

    @property
    def batch_size(self) -> int | None:
        """Images per call; None: any number."""
        size = self.inputs[0].shape[0]
        return None if size < 0 else size

    def save(self, path: str | Path) -> None:
        """Write the card of the exported file `path` beside it."""
        with atomic_path(card_path(path)) as temporary:
            temporary.write_text(json.dumps(self.model_dump(), indent=1) + "\n", encoding="utf-8")


def card_path(exported: str | Path) -> Path:
    """Where the card of an exported file lies: model.json for model.mindir, model.onnx.json for model.onnx."""
    path = Path(exported)
    return path.with_suffix(".json") if path.suffix == ".mindir" else path.with_name(f"{path.name}.json")


def load_card(exported: str | Path) -> ExportCard:
    """The card of an exported file, which is the one it was written for.

    Raises:
        UserError: the file or its card is missing, no card, or they do not belong together.
    """
    exported, card = Path(exported), card_path(exported)
    if not exported.is_file():
        raise UserError(f"{exported} does not exist; export.py writes such files")
    try:
        loaded = ExportCard.model_validate_json(card.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"{card} is missing: the JSON that export.py wrote belongs beside {exported.name}") from None
    except (ValidationError, UnicodeDecodeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else "not a text file in UTF-8"
        raise UserError(f"{card}: not the JSON that export.py writes beside its files ({reason})") from None
    if loaded.sha256 != sha256_of(exported):
        raise UserError(f"{exported} is not the file that {card.name} was written for (its SHA-256 differs)")
    return loaded


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

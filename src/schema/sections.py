"""Sections that several detectors share, and the types of keys."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

# Bounds of what a network can be, far beyond any use: a slip of the hand is refused before it costs hours or memory.
LARGEST_FLOAT = 1e30  # float32 holds it and its products with pixels
SMALLEST_POSITIVE = 1e-30  # float32 tells it from 0
LARGEST_INT = 2**31 - 1
MOST_LEVELS = 10
MOST_LAYERS = 200
MOST_CHANNELS = 2**14
LONGEST_SIDE = 2**14  # pixels

Positive = Annotated[float, Field(gt=0, le=LARGEST_FLOAT), AfterValidator(lambda value: _not_tiny(value))]
NonNegative = Annotated[float, Field(ge=0, le=LARGEST_FLOAT)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Factor = Annotated[float, Field(gt=0, le=1000), AfterValidator(lambda value: _not_tiny(value))]  # on sides, in strides
PositiveInt = Annotated[int, Field(gt=0, le=LARGEST_INT)]
NonNegativeInt = Annotated[int, Field(ge=0, le=LARGEST_INT)]
Levels = Annotated[int, Field(gt=0, le=MOST_LEVELS)]
Layers = Annotated[int, Field(gt=0, le=MOST_LAYERS)]
Channels = Annotated[int, Field(gt=0, le=MOST_CHANNELS)]
Side = Annotated[int, Field(gt=0, le=LONGEST_SIDE)]
Count = Annotated[int, Field(gt=0, le=10**7)]  # of boxes, images, devices: what takes memory each
Number = Annotated[float, Field(ge=-LARGEST_FLOAT, le=LARGEST_FLOAT)]
Triple = Annotated[list[Number], Field(min_length=3, max_length=3)]
PositiveTriple = Annotated[list[Positive], Field(min_length=3, max_length=3)]
Four = Annotated[list[Number], Field(min_length=4, max_length=4)]
PositiveFour = Annotated[list[Positive], Field(min_length=4, max_length=4)]
AnchorShapes = Annotated[list[Factor], Field(min_length=1, max_length=100)]
Strides = Annotated[list[Side], Field(min_length=1, max_length=MOST_LEVELS)]
Text = Annotated[
    str,
    BeforeValidator(
        lambda value: str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    ),
]
# A file or folder; the published READMEs write "none" as None, which YAML reads as a word.
PathText = Annotated[str, BeforeValidator(lambda value: "" if value in NO_PATHS else value)]
NO_PATHS = (None, "None", "null")
SWITCH_WORDS = {"true": "1", "yes": "1", "on": "1", "false": "", "no": "", "off": "", "0": "", "none": "", "null": ""}
SwitchOrPath = Annotated[str, BeforeValidator(lambda value: _switch_or_path(value))]  # a switch, or a path of one's own
Activation = Literal["relu", "swish"]

PUBLISHED_ONLY = "published_only"


def _not_tiny(value: float) -> float:
    if value < SMALLEST_POSITIVE:
        raise ValueError(f"should be at least {SMALLEST_POSITIVE:g}")
    return value


def _switch_or_path(value: Any) -> Any:
    """`resume` and `compile_cache`: "1" for a switch that is on, "" for one that is off, a path as it is."""
    if value is None or isinstance(value, bool | int):
        return "1" if value is True or value == 1 else value or ""
    return SWITCH_WORDS.get(value.lower(), value) if isinstance(value, str) else value


def key(default: Any, comment: str, **limits: Any) -> Any:
    """A configuration key with its default and its comment."""
    return Field(default, description=comment, **limits)


def published_key(default: Any, comment: str, **limits: Any) -> Any:
    """A published key that nothing reads here; checks refuse values that would have changed something."""
    return key(default, comment, json_schema_extra={PUBLISHED_ONLY: True}, **limits)


def is_published_only(field: FieldInfo) -> bool:
    """Whether a key was made by `published_key`."""
    return isinstance(field.json_schema_extra, dict) and PUBLISHED_ONLY in field.json_schema_extra


class Section(BaseModel):
    """A part of the configuration. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults_of_sections(cls, values: Any) -> Any:
        """Keys that a file leaves out of a section take that section's defaults, which are its place's own."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for name, field in cls.model_fields.items():
            if isinstance(values.get(name), dict) and isinstance(field.default, BaseModel):
                values[name] = _merged(field.default.model_dump(), values[name])
        return values


def _merged(defaults: dict, values: dict) -> dict:
    merged = {**defaults, **values}
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(defaults.get(name), dict):
            merged[name] = _merged(defaults[name], value)
    return merged


class NormConfig(Section):
    type: Literal["BN", "SyncBN"] = key("BN", "BN, or SyncBN: statistics over all devices")
    momentum: Fraction = key(0.01, "share of the new batch in the running statistics (PyTorch's convention)")
    eps: Positive = key(0.001, "added to the variance")
    frozen: bool = key(False, "use the stored statistics in training too, and do not train gamma and beta")


class BackboneConfig(Section):
    """What all backbones have; a subclass adds its own keys."""

    type: str = key("", "backbone type")
    pretrained: PathText = key("", "path to weights pretrained on ImageNet (.ckpt, .pth, .safetensors or .npz)")

    @property
    def frozen(self) -> int:
        """Parts that do not train: -1 none, 0 the stem, n the stem and n stages."""
        return -1

    @property
    def needs_pretraining(self) -> bool:
        """Whether a training from random weights starts badly, as it does without any batch normalization."""
        return False


class SuppressionKeys(Section):
    """Keys of every section that says how overlapping boxes are suppressed."""

    suppression: Literal["greedy", "soft_linear", "soft_gaussian"] = key(
        "greedy", "NMS: greedy drops boxes that overlap a better one; soft ones lower their scores (soft-NMS)"
    )
    soft_sigma: Annotated[float, Field(ge=0.01, le=100)] = key(
        0.5, "soft_gaussian: scores are multiplied by exp(-IoU^2 / soft_sigma)"
    )


class BBoxCoderConfig(Section):
    target_means: Four = key([0.0, 0.0, 0.0, 0.0], "subtracted from the box deltas")
    target_stds: PositiveFour = key([1.0, 1.0, 1.0, 1.0], "box deltas are divided by these")


class BoxLossConfig(Section):
    type: Literal["smooth_l1", "l1"] = key("smooth_l1", "localization loss")
    beta: Positive = key(0.11, "smooth L1: where the quadratic part ends")
    loss_weight: NonNegative = key(1.0, "weight of the localization loss")


class AssignerConfig(Section):
    pos_iou_thr: Fraction = key(0.5, "an anchor of at least this IoU with an object is positive")
    neg_iou_thr: Fraction = key(0.5, "an anchor below this IoU with every object is negative")
    min_pos_iou: Fraction = key(0.00001, "least IoU of an object's best anchor for it to become positive")
    match_low_quality: bool = key(True, "make each object's best anchors positive whatever their IoU")

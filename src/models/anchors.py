"""The anchors that a configuration describes. Imports no MindSpore."""

from typing import Any

from src.blocks.anchor_generator import AnchorGenerator
from src.common.errors import UserError
from src.models.api import AnchorSpec
from src.models.table import spec_of
from src.schema import Config, lookup


def anchor_spec(config: Config) -> AnchorSpec:
    """Where a configuration says what its anchors are.

    Raises:
        UserError: its detector has none.
    """
    spec = spec_of(config).anchors
    if spec is None:
        raise UserError(f"{config.config_path}: {config.detector} has no anchors")
    return spec


def build_anchor_generator(config: Config, **changes: Any) -> AnchorGenerator:
    """The anchors of a configuration, or those with some keys of their section changed.

    `clip`, where the section has it, is left to the detector.
    """
    section = anchor_section(config).model_copy(update=changes)
    offset = anchor_spec(config).center_offset
    return AnchorGenerator(**section.model_dump(exclude={"clip"}), center_offset=offset)


def anchor_section(config: Config) -> Any:
    """The section with a configuration's anchors."""
    return lookup(config, anchor_spec(config).section)


def positive_iou(config: Config) -> float:
    """The IoU from which on a configuration makes an anchor positive."""
    return lookup(config, anchor_spec(config).positive_iou)

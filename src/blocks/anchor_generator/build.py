"""The anchors that a configuration describes. Imports no MindSpore."""

from src.blocks.anchor_generator.anchor_generator import AnchorGenerator

TWO_STAGE = ("mask_rcnn", "cascade_mask_rcnn")
CENTER_OFFSETS = {"refinedet": 0.5}  # of the others the anchors lie at the corners of the cells


def anchor_section_name(detector: str) -> str:
    """Dotted name of the section with the anchors: of the region proposal network in detectors that have one."""
    return "rpn.anchor_generator" if detector in TWO_STAGE else "bbox_head.anchor_generator"


def build_anchor_generator(detector: str, section) -> AnchorGenerator:
    """The generator of an anchor section of a configuration.

    Args:
        detector: its name.
        section: what `anchor_section_name` names. `clip`, where there is such a key, is left to the detector.
    """
    options = section.model_dump(exclude={"clip"})
    return AnchorGenerator(**options, center_offset=CENTER_OFFSETS.get(detector, 0.0))

"""Features of regions of interest."""

from src.blocks.roi_extractors.single_roi_extractor import SingleRoIExtractor
from src.ops.roi_align.roi_align import RoIAlign

__all__ = ["RoIAlign", "SingleRoIExtractor"]

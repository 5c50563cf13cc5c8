"""Features of regions of interest."""

from src.blocks.roi_extractors.roi_align import RoIAlign
from src.blocks.roi_extractors.single_roi_extractor import SingleRoIExtractor

__all__ = ["RoIAlign", "SingleRoIExtractor"]

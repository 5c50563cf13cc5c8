"""Detectors: the only place where blocks meet."""

from src.blocks.detectors.builder import build_detector
from src.blocks.detectors.detections import Detections
from src.blocks.detectors.retinanet import RetinaNet

__all__ = ["Detections", "RetinaNet", "build_detector"]

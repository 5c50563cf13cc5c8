"""Find objects in images: a checkpoint or an exported file as one object. Importing it imports no MindSpore."""

from src.predictor.detector import Detector
from src.predictor.image_detections import ImageDetections

__all__ = ["Detector", "ImageDetections"]

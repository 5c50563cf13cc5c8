"""Mask R-CNN and, with several stages in its RoI head, Cascade Mask R-CNN."""

"""Metrics of detections and anchors, masks as run-length codes, prediction files. Importing it needs no MindSpore."""

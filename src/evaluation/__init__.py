"""COCO metrics, prediction files, curves, pictures and the inference loop. Importing it does not import mindspore."""

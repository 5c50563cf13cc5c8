"""Cards of networks that do not exist, for what only reads cards."""

from pathlib import Path

from src.common.checksum import sha256_of
from src.deploy.export_card import ExportCard, Port, Preprocessing

PREPROCESSING = Preprocessing(
    img_height=64,
    img_width=64,
    input_height=64,
    input_width=96,
    keep_ratio=True,
    to_rgb=True,
    img_mean=[123.675, 116.28, 103.53],
    img_std=[58.395, 57.12, 57.375],
)
DETECTIONS = [
    ("boxes", [4], "float32"),
    ("scores", [], "float32"),
    ("labels", [], "int32"),
    ("valid", [], "bool"),
    ("masks", [28, 28], "float32"),
]


def write_card(network: Path, class_names: list[str], level_sizes: list[int], **changes) -> ExportCard:
    """Write a file that stands for a network, and its card; `changes` are other fields of the card.

    Its rows are the sum of `level_sizes`. Detections have masks where there is a mask_threshold.
    """
    network.write_bytes(b"stands for a network")
    anchors, preprocessing = sum(level_sizes), changes.pop("preprocessing", PREPROCESSING)
    outputs = [("boxes", [4], "float32"), ("scores", [len(class_names)], "float32")]
    if changes.get("form") == "detections":
        changes["selection"] = None
        outputs = DETECTIONS if changes.get("mask_threshold") else DETECTIONS[:4]
    values = {
        "format": "MINDIR",
        "form": "raw",
        "detector": "retinanet",
        "inputs": [Port(name="image", shape=[1, 3, preprocessing.input_height, preprocessing.input_width])],
        "outputs": [Port(name=name, shape=[1, anchors, *sides], dtype=dtype) for name, sides, dtype in outputs],
        "preprocessing": preprocessing,
        "class_names": class_names,
        "category_ids": [],
        "selection": {
            "kind": "levels",
            "level_sizes": level_sizes,
            "score_thr": 0.05,
            "nms_pre": 1000,
            "iou_threshold": 0.5,
            "max_per_img": 100,
            "min_bbox_size": 0.0,
        },
        "mask_threshold": None,
        "checkpoint": "none",
        "checkpoint_sha256": "",
        "sha256": sha256_of(network),
    }
    card = ExportCard(**{**values, **changes})
    card.save(network)
    return card

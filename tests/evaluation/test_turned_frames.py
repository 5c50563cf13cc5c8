"""Evaluation and inference where portrait images get the turned frame: every image once, results in their order."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.blocks.detections import Detections
from src.blocks.original_pixels import to_original_pixels
from src.data.builders import build_eval_loader
from src.data.image import ImageError, load_image
from src.data.network_input import EvalTransform
from src.engine.evaluation_loop import EvaluationOptions, evaluate_detector
from src.evaluation.coco_evaluator import CocoEvaluator
from src.model_utils.device_adapter import Device
from src.models.mask_rcnn.config import MaskRCNNConfig
from src.predictor.detect_images import InferenceOptions, detect_images
from tests.data.coco_files import IDS, NAMES, annotation, content

COUNT, STEP = 11, 20  # image number n, from 1, is grey of n * STEP; fillers are black
NUMBERS = range(1, COUNT + 1)


class GreyDetector:
    """Knows the objects by the grey of their image, and finds them in pixels of the network's input."""

    training = False

    def __init__(self, boxes: dict[int, list[float]]) -> None:
        self.boxes, self.shapes, self.seen = boxes, [], []

    def set_train(self, mode: bool = True) -> None:
        pass

    def predict(self, images: np.ndarray, info: np.ndarray) -> Detections:
        self.shapes.append(images.shape)
        numbers = np.round(images[:, 0, 0, 0] / STEP).astype(int)
        self.seen.append(numbers.tolist())
        x, y, width, height = np.array([self.boxes[n] for n in numbers], np.float32).T
        boxes = np.stack([x, y, x + width, y + height], 1) * info[:, [5, 4, 5, 4]]
        assert (boxes[:, 2:] <= info[:, [3, 2]] + 0.5).all() and (info[:, 2:4] <= images.shape[2:]).all()
        found = to_original_pixels(boxes[:, None], info)
        ones = np.ones((len(images), 1))
        return Detections(found, 0.9 * ones, numbers[:, None] % 3, ones.astype(bool), None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Images of one grey each, some upright, with ids that fall, and an object in the corner of each."""
    (tmp_path / "data").mkdir()
    images, objects = [], []
    for n in NUMBERS:
        height, width = (120 + n, 80) if n % 4 in (1, 2) else (60, 90 + n)
        cv2.imencode(".png", np.full((height, width, 3), n * STEP, np.uint8))[1].tofile(tmp_path / f"data/{n:02d}.png")
        images.append({"id": 100 - n, "file_name": f"{n:02d}.png", "height": height, "width": width})
        objects.append(annotation(n, 100 - n, [width - 50, height - 40, 50, 40], IDS[n % 3]))
    (tmp_path / "labels.json").write_text(json.dumps(content(images, objects)))
    return tmp_path


@pytest.fixture
def config(root: Path) -> MaskRCNNConfig:
    return MaskRCNNConfig(
        val_dataset=str(root), coco_classes=["background", *NAMES], num_classes=4, img_width=96, img_height=64,
        divider=32, test_batch_size=4, num_parallel_workers=2, img_mean=[0, 0, 0], img_std=[1, 1, 1],
    )  # fmt: skip


@pytest.fixture
def detector(root: Path) -> GreyDetector:
    labels = json.loads((root / "labels.json").read_text())
    return GreyDetector({0: [0, 0, 1, 1]} | {100 - one["image_id"]: one["bbox"] for one in labels["annotations"]})


def test_evaluation_counts_every_image_and_keeps_their_order(config: MaskRCNNConfig, detector: GreyDetector) -> None:
    loader = build_eval_loader(config)
    evaluator = CocoEvaluator.for_dataset(loader.dataset)
    metrics = evaluate_detector(detector, loader, evaluator, Device("CPU"), EvaluationOptions(None, "off"))
    loader.close()
    assert set(detector.shapes) == {(4, 3, 64, 96), (4, 3, 96, 64)} and len(detector.shapes) == len(loader) == 4
    assert metrics.num_images == COUNT and metrics.num_detections == COUNT
    assert metrics.stats["bbox_mAP"] == pytest.approx(1)
    assert [result["image_id"] for result in evaluator.results()] == [100 - n for n in NUMBERS]


def test_inference_keeps_the_order_of_the_images(
    root: Path, config: MaskRCNNConfig, detector: GreyDetector, tmp_path: Path
) -> None:
    paths = sorted((root / "data").iterdir())
    paths[3].write_bytes(b"broken")
    prepare = EvalTransform.from_config(config)
    options = InferenceOptions(NAMES, [], batch_size=4, workers=2)
    predictions, broken = detect_images(detector.predict, lambda path: prepare(load_image(path)), paths, options)
    assert list(predictions) == [str(path) for path in paths if path != paths[3]] and len(broken) == 1
    assert set(detector.shapes) == {(4, 3, 64, 96), (4, 3, 96, 64)}
    assert detector.seen == [[1, 2, 5, 6], [3, 7, 8, 11], [9, 10, 10, 10]]
    for n, path in zip(NUMBERS, paths, strict=True):
        if path != paths[3]:
            (found,) = predictions[str(path)]["predictions"]
            x, y, width, height = detector.boxes[n]
            assert list(found["bbox"].values()) == pytest.approx([x, y, width, height], abs=0.01)
            assert found["class"]["label"] == n % 3
    with pytest.raises(ImageError):
        prepare(load_image(paths[3]))

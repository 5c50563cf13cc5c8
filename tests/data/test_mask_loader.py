"""Batches of models with masks: shapes, agreement of masks with boxes, workers, and segmentations that are broken."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from src.common.errors import UserError
from src.data.builders import build_eval_loader, build_train_loader
from src.data.mask_canvas import paste_canvas
from src.data.masks import tight_patch
from src.data.synthetic import write_synthetic_dataset
from src.data.synthetic_scene import SceneOptions
from src.models.mask_rcnn.config import MaskRCNNConfig
from src.models.retinanet.config import RetinaNetConfig
from src.schema import Config
from tests.data.coco_files import NAMES, write_dataset
from tests.data.test_loader import assert_same, epoch

COUNT = 12
SHAPES = ["circle", "square", "triangle", "star"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Synthetic images with polygons, run lengths and crowds; every third annotation's RLE is compressed."""
    folder = tmp_path_factory.mktemp("shapes")
    options = SceneOptions(width=80, height=64, max_object=48, max_objects=6, crowd_share=0.3)
    write_synthetic_dataset(folder, COUNT, 0, options=options)
    labels = folder / "train" / "labels.json"
    content = json.loads(labels.read_text())
    kinds = set()
    for number, annotation in enumerate(content["annotations"]):
        segmentation = annotation["segmentation"]
        if number % 3 == 0 or (isinstance(segmentation, dict) and number % 3 == 1):
            packed = coco_mask.frPyObjects(segmentation, 64, 80)
            packed = coco_mask.merge(packed) if isinstance(packed, list) else packed
            annotation["segmentation"] = {"size": [64, 80], "counts": packed["counts"].decode()}
        kinds.add(type(annotation["segmentation"]))
    assert kinds == {list, dict}
    labels.write_text(json.dumps(content))
    return folder / "train"


def make_config(root, names=SHAPES, model=MaskRCNNConfig, **keys) -> Config:
    values = {
        "train_dataset": str(root),
        "val_dataset": str(root),
        "coco_classes": ["background", *names],
        "num_classes": len(names) + 1,
        "img_width": 128,
        "img_height": 96,
        "divider": 32,
        "batch_size": 3,
        "num_gts": 5,
        "num_parallel_workers": 0,
        "flip_ratio": 0.5,
        "expand_ratio": 0.3,
        "ratio_range": [0.6, 1.6],
    }
    if model is MaskRCNNConfig:
        values |= {"mask_crop_size": 32, "aug_prob": 1.0}
    return model(**{**values, **keys})


@pytest.mark.parametrize(("size", "shape"), [(32, (32, 32)), (100, (100, 100)), (128, (96, 128)), (200, (96, 128))])
def test_masks_lie_in_their_boxes(shapes, size, shape):
    config = make_config(shapes, mask_crop_size=size)
    seen = 0
    for batch in epoch(config):
        assert batch["masks"].shape == (3, 5, *shape) and batch["masks"].dtype == np.uint8
        assert batch["image"].shape[2:] == (96, 128)
        assert not batch["masks"][~batch["valid"]].any()
        for mask, box in zip(batch["masks"][batch["valid"]], batch["boxes"][batch["valid"]], strict=True):
            found = tight_patch((paste_canvas(mask, box, 1, (96, 128)) > 64).astype(np.uint8)).box
            coarseness = max(*(box[2:] - box[:2] + 3), size) / size
            difference = np.abs(np.array(found) - box)
            assert difference.max() <= 1 + coarseness or min(box[2:] - box[:2]) < 4
            seen += 1
    assert seen > 20


def test_masks_change_nothing_else(shapes):
    """Where no object has to be dropped for its mask."""
    config = make_config(shapes, ratio_range=[0.6, 0.9], aug_prob=0.0)
    boxes_only = make_config(shapes, model=RetinaNetConfig, ratio_range=[0.6, 0.9])
    for batch, plain in zip(epoch(config), epoch(boxes_only), strict=True):
        assert batch["masks"].any()
        assert_same([replace(batch, masks=None)], [plain])


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(shapes, workers):
    assert_same(epoch(make_config(shapes)), epoch(make_config(shapes, num_parallel_workers=workers)))


def test_processes_change_nothing(shapes):
    config = make_config(shapes, num_parallel_workers=3, python_multiprocessing=True)
    assert_same(epoch(make_config(shapes)), epoch(config))


def test_without_augmentation_images_come_in_the_same_order(shapes):
    config = make_config(shapes)
    plain = list(build_train_loader(config, augment=False).epoch(1))
    assert [b["image_id"].tolist() for b in plain] == [b["image_id"].tolist() for b in epoch(config, 1)]
    for batch in plain:
        assert (batch["image_info"][:, 2:4] == [96, 120]).all()


def test_evaluation_reads_no_masks(shapes):
    loader = build_eval_loader(make_config(shapes))
    assert all(record.masks is None for record in loader.records)
    assert "masks" not in next(loader.epoch(0))


def break_mask(root, number: int, segmentation) -> None:
    content = json.loads((root / "labels.json").read_text())
    content["annotations"][number]["segmentation"] = segmentation
    (root / "labels.json").write_text(json.dumps(content))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_mask_stops_training_with_its_path(tmp_path, workers):
    write_dataset(tmp_path, 6)
    break_mask(tmp_path, 2, {"size": [40, 60], "counts": [100, 50]})
    keys = {"names": NAMES, "num_parallel_workers": workers}
    with pytest.raises(UserError, match=r"002\.png: object 2 of 2: the runs .* skip_broken"):
        epoch(make_config(tmp_path, **keys))
    loader = build_train_loader(make_config(tmp_path, skip_broken=True, **keys))
    batches = list(loader.epoch(0))
    loader.close()
    assert len(batches) == 2 and "002.png" in loader.broken[0]


def test_objects_that_cover_no_pixel_are_left_out(tmp_path):
    write_dataset(tmp_path, 3)
    break_mask(tmp_path, 1, [[5, 5, 5, 5, 5, 5]])
    (batch,) = epoch(make_config(tmp_path, names=NAMES, ratio_range=[1, 1], aug_prob=0.0))
    assert sorted(batch["valid"].sum(axis=1)) == [0, 1, 1]


def test_a_data_set_of_boxes_alone(tmp_path):
    write_dataset(tmp_path, 6)
    for number in range(6):
        break_mask(tmp_path, number, [])
    with pytest.raises(UserError, match=r"labels\.json: no object has a mask"):
        build_train_loader(make_config(tmp_path, names=NAMES))

"""browse_dataset.py: pages that show the network's input."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from src.commands.browse import browse, denormalise, picture
from src.common.errors import UserError
from src.data.builders import build_eval_loader, build_train_loader
from src.models.mask_rcnn.config import MaskRCNNConfig
from src.schema import Config
from tests.data.coco_files import NAMES, noise_image, write_dataset

KEYS = {
    "coco_classes": ["background", *NAMES],
    "num_classes": 4,
    "img_width": 64,
    "img_height": 64,
    "num_parallel_workers": 0,
}


@pytest.mark.parametrize("to_rgb", [True, False])
def test_denormalise_gives_the_pixels_back(tmp_path, to_rgb):
    write_dataset(tmp_path, 1, height=64, width=64)
    config = Config(val_dataset=str(tmp_path), to_rgb=to_rgb, **KEYS)
    (batch,) = build_eval_loader(config).epoch(0)
    image = denormalise(batch["image"][0], config.img_mean, config.img_std, to_rgb)
    assert np.array_equal(image, noise_image(64, 64, 0)[..., ::-1])


def test_boxes_are_drawn(tmp_path):
    write_dataset(tmp_path, 3)
    config = Config(val_dataset=str(tmp_path), **KEYS)
    batches = list(build_eval_loader(config).epoch(0))
    with_boxes = picture(batches[2], config)
    without = picture(replace(batches[2], valid=np.zeros_like(batches[2]["valid"])), config)
    assert with_boxes.shape == without.shape and (with_boxes != without).mean() > 0.01


def test_pages(tmp_path):
    write_dataset(tmp_path / "set", 5)
    config = Config(train_dataset=str(tmp_path / "set"), val_dataset=str(tmp_path / "set"), **KEYS)
    pages = browse(config, tmp_path / "out", "train", 18)
    assert [path.name for path in pages] == ["train_01.png", "train_02.png"]
    assert all(cv2.imread(str(path)) is not None for path in pages)
    assert [path.name for path in browse(config, tmp_path / "out", "val", 18)] == ["val_01.png"]


def test_masks_are_drawn(tmp_path):
    write_dataset(tmp_path, 6)
    config = MaskRCNNConfig(train_dataset=str(tmp_path), mask_crop_size=32, batch_size=1, aug_prob=0.0, **KEYS)
    batch = next(batch for batch in build_train_loader(config, augment=False).epoch(0) if batch["valid"].any())
    with_masks = picture(batch, config)
    without = picture(replace(batch, masks=None), config)
    y1, x1, y2, x2 = np.round(batch["boxes"][0, 0, [1, 0, 3, 2]] * 480 / 64).astype(int)
    inside = (with_masks != without)[28:][y1 + 30 : y2 - 10, x1 + 10 : x2 - 10]  # 28: the title's bar
    assert inside.size and inside.any(axis=2).mean() > 0.9


def test_before_and_after(tmp_path):
    write_dataset(tmp_path / "set", 5)
    config = MaskRCNNConfig(train_dataset=str(tmp_path / "set"), mask_crop_size=32, aug_prob=1.0, **KEYS)
    (single,) = browse(config, tmp_path / "one", "train", 2)
    (double,) = browse(config, tmp_path / "two", "train", 2, before_after=True)
    shapes = [cv2.imread(str(path)).shape for path in (single, double)]
    assert shapes[1][1] == 2 * shapes[0][1] - 6
    with pytest.raises(UserError, match="--split train"):
        browse(config, tmp_path / "out", "val", 2, before_after=True)


@pytest.mark.parametrize(("split", "count"), [("test", 4), ("train", 0), ("train", "x")])
def test_wrong_arguments(tmp_path, split, count):
    config = Config(train_dataset=str(write_dataset(tmp_path)), **KEYS)
    with pytest.raises(UserError, match="--split test|--num_images"):
        browse(config, tmp_path / "out", split, count)


@pytest.mark.end_to_end
def test_as_a_command(tmp_path):
    write_dataset(tmp_path / "set", 3)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({**KEYS, "batch_size": 2, "train_dataset": str(tmp_path / "set")}))
    program = [sys.executable, "browse_dataset.py", "--config_path", str(tmp_path / "c.yaml")]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [*program, "--output_dir", str(tmp_path / "out"), "--num_images", "2", "--divider", "128"],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "out" / "train_01.png")
    failed = subprocess.run([*program, "--divider", "128"], cwd=root, capture_output=True, text=True)
    assert failed.returncode == 2 and failed.stderr.startswith("error: --output_dir is missing")

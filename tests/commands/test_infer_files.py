"""What the Ascend 310 program does, in Python: a file for each output of an image, in the card's types."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from src.commands.infer_files import images_below, infer_files
from src.common.errors import UserError
from src.data.image import load_image
from src.deploy.exported_model import open_exported
from src.deploy.result_files import RESULTS, TIMES, read_results
from tests.data.coco_files import noise_image
from tests.deploy.drawn_model import write_drawn_model


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    (tmp_path / "images").mkdir()
    for number, (height, width) in enumerate([(20, 30), (40, 10)]):
        cv2.imencode(".png", noise_image(height, width, number))[1].tofile(tmp_path / f"images/{number}.png")
    return images_below(tmp_path / "images")


def test_detections_and_masks(tmp_path: Path, images: list[Path]) -> None:
    exported = open_exported(write_drawn_model(tmp_path / "drawn.onnx"))
    assert infer_files(exported.run, exported.card, images, tmp_path) == 2
    assert len(list((tmp_path / RESULTS).iterdir())) == 5 * len(images)
    assert (tmp_path / TIMES).read_text().endswith("ms of infer_count 2\n")
    prepare = exported.card.preprocessing.transform()
    for path in images:
        image, info = prepare(load_image(path))
        found = read_results(tmp_path / RESULTS, path, exported.card.outputs)
        for values, expected in zip(found, exported.run(image[None], info[None]), strict=True):
            assert values.dtype == expected.dtype
            np.testing.assert_array_equal(values, expected[0])


def test_no_image_can_be_read(tmp_path: Path, images: list[Path]) -> None:
    exported = open_exported(write_drawn_model(tmp_path / "drawn.onnx"))
    for path in images:
        path.write_text("no image")
    with pytest.raises(UserError, match="none of its images could be read"):
        infer_files(exported.run, exported.card, images, tmp_path)

"""A data-set format is one file and one line in the table: here a toy one that no other file knows."""

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from src.commands.evaluate import evaluate
from src.commands.train import train
from src.common.errors import UserError
from src.config import load_config
from src.data.builders import build_eval_loader, build_train_loader
from src.data.formats.coco import CocoDataset
from src.data.formats.table import FORMATS
from src.data.mindrecord.create import create_mindrecord
from src.data.mindrecord.manifest import read_manifest
from src.data.open_dataset import check_or_pack_dataset, open_dataset
from src.data.stored_image import StoredImage
from src.data.synthetic import write_synthetic_dataset
from src.model_utils.device_adapter import Device
from src.schema import Config
from tests.data.test_loader import assert_same, epoch
from tests.end_to_end.commands import TINY_CONFIG, logged

# A line per object: image, name of the class, x1, y1, x2, y2.
FORMAT_FILE = """
import csv
from pathlib import Path

from src.data.formats.api import DatasetFormat, given_path, training_subset
from src.data.formats.listed import ListedDataset, ListedImage, ListedObject
from src.data.reader_checks import subset


class CsvDataset(ListedDataset):
    def __init__(self, path, class_names, category_ids, images_dir="", first=0, every=0):
        images = {}
        with Path(path).open(newline="") as file:
            for number, (name, label, *corners) in enumerate(csv.reader(file), 1):
                where = f"{path}, line {number}"
                image = images.setdefault(name, ListedImage(where, str(Path(images_dir or Path(path).parent) / name)))
                image.objects.append(ListedObject(where, class_names.index(label), tuple(map(float, corners))))
        super().__init__(Path(path), subset(list(images.values()), first, every), class_names, category_ids)


def open_split(config, training, with_masks):
    path = given_path(config, training) or config.anno_path
    return CsvDataset(path, config.class_names, config.category_ids, "", *training_subset(config, training))


def open_path(path, class_names, category_ids, images_dir):
    return CsvDataset(path, class_names, category_ids, images_dir)


FORMAT = DatasetFormat("anno_path", False, open_split, open_path)
"""


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 training and 4 validation images of 128 x 128 pixels with objects, annotated in the toy format too."""
    folder = tmp_path_factory.mktemp("csv")
    names = write_synthetic_dataset(folder, 12, 6)
    for split, count in (("train", 8), ("validation", 4)):
        dataset = CocoDataset(folder / split, names)
        records = [record for record in dataset.records if len(record.boxes)][:count]
        with (folder / split / "data" / "objects.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [Path(record.image).name, names[label], *box.tolist()]
                for record in records
                for label, box in zip(record.labels, record.boxes, strict=True)
            )
    return folder


@pytest.fixture
def config(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    (tmp_path / "csv_format.py").write_text(FORMAT_FILE)
    monkeypatch.setitem(FORMATS, "csv", imported(tmp_path / "csv_format.py").FORMAT)
    (tmp_path / "tiny.yaml").write_text(
        f"{TINY_CONFIG}dataset: csv\ntrain_dataset: {shapes}/train/data/objects.csv\n"
        f"val_dataset: {shapes}/validation/data/objects.csv\ntrain_outputs: {tmp_path}/out\nbrief: toy\n"
    )
    return load_config(tmp_path / "tiny.yaml", {"epoch_size": 1, "run_eval": 1, "num_parallel_workers": 0})


def packed(config: Config, folder: Path) -> Config:
    """The same configuration with its data in MindRecord files, and nowhere else."""
    stored = config.model_copy(update={"mindrecord_dir": str(folder)})
    for training in (True, False):
        create_mindrecord(stored, training=training)
    return stored.model_copy(update={"train_dataset": "", "val_dataset": ""})


def test_batches_from_the_images_and_from_mindrecord_files(config: Config, tmp_path: Path) -> None:
    stored = packed(config, tmp_path / "packed")
    assert read_manifest(tmp_path / "packed" / "train.mindrecord.json").dataset == "csv"
    assert_same(epoch(config, 1), epoch(stored, 1))
    assert_same(epoch(config, build=build_eval_loader), epoch(stored, build=build_eval_loader))
    records = build_train_loader(stored).records
    assert len(records) == 8 and all(isinstance(record.image, StoredImage) for record in records)


def test_it_trains_and_evaluates(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # MindSpore refuses to choose the device in a process that has used it, such as this one.
    for module in ("src.commands.train", "src.predictor.trained_detector"):
        monkeypatch.setattr(f"{module}.setup_device", lambda config: Device("CPU"))
    train(config)
    losses = logged(tmp_path / "out" / "toy")
    assert len(losses) == 4 and np.isfinite(list(losses.values())).all()
    (checkpoint,) = (tmp_path / "out" / "toy" / "checkpoints").glob("last*.ckpt")
    stored = packed(config, tmp_path / "packed").model_copy(update={"checkpoint_path": str(checkpoint)})
    metrics = evaluate(stored)
    assert metrics.num_images == 4
    trained = logged(tmp_path / "out" / "toy", "bbox_mAP", "eval")[4]
    assert metrics.stats["bbox_mAP"] == pytest.approx(trained, abs=1e-9)


def test_it_is_opened_by_a_path(config: Config, shapes: Path) -> None:
    expected = open_dataset(config, training=False)
    path = shapes / "validation/data/objects.csv"
    dataset = FORMATS["csv"].open_path(str(path), config.class_names, [], "")
    assert dataset.coco_annotations() == expected.coco_annotations()


def test_masks_and_paths_are_asked_for_as_of_any_format(config: Config) -> None:
    with pytest.raises(UserError, match="dataset is 'csv', whose annotations have no masks"):
        open_dataset(config, training=True, with_masks=True)
    nowhere = config.model_copy(update={"train_dataset": ""})
    with pytest.raises(UserError, match="--train_dataset is missing in .*, and so is anno_path: .*dataset is 'csv'"):
        check_or_pack_dataset(nowhere, training=True)


def test_a_format_that_is_not_in_the_table(config: Config) -> None:
    message = (
        r"command line: dataset is 'imagenet'; known are coco, voc, other, yolo, labelme, lvis, cvat, fiftyone, csv"
    )
    with pytest.raises(UserError, match=message):
        load_config(Path(__file__).parents[2] / "configs/demo/nas_fpn.yaml", {"dataset": "imagenet"})
    stored = config.model_copy(update={"mindrecord_dir": "x"})
    with pytest.raises(
        UserError, match="--create_dataset imagenet: must be coco, voc, other, yolo, labelme, lvis, cvat, fiftyone, csv"
    ):
        create_mindrecord(stored, "imagenet")

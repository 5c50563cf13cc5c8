"""What a MindRecord data set is made from: the images of a reader with their annotations as COCO would have them."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from src.data.detection_dataset import DetectionDataset
from src.data.mindrecord.manifest import LeftOut
from src.data.mindrecord.rows import compact_json
from src.data.raw_dataset import open_raw_dataset
from src.data.reading_speed import without_garbage_collection
from src.schema import Config


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image that is there.

    Attributes:
        position: place in the source, from 0.
        path: of the image.
        size: of its file, bytes.
        entry: COCO's id, file_name, height and width.
        annotations: COCO's annotations, as JSON.
        category_ids: of each annotation.
    """

    position: int
    path: str
    size: int
    entry: dict
    annotations: str
    category_ids: tuple[int, ...]


@dataclass
class Source:
    """A data set to be stored.

    Attributes:
        dataset: name of its format, see `FORMATS`.
        split: train or val.
        name: what messages call it.
        category_ids: id of each class by its name, in label order.
        with_masks: see `Manifest`.
        voc_metrics: see `Manifest`.
        images: those that are there.
        left_out: those that are missing.
        problems: one line for each thing that the reader skipped.
    """

    dataset: str
    split: str
    name: str
    category_ids: dict[str, int]
    voc_metrics: bool
    problems: list[str]
    with_masks: bool = False
    images: list[SourceImage] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def sha256(self) -> str:
        """Changes when classes, annotations, or the names or sizes of images do."""
        digest = hashlib.sha256(compact_json([self.dataset, self.category_ids]).encode())
        for image in self.images:
            digest.update(compact_json([image.size, image.entry]).encode() + image.annotations.encode())
        for one in self.left_out:
            digest.update(compact_json([one.entry, one.annotations]).encode())
        return digest.hexdigest()


def read_source(config: Config, training: bool) -> Source:
    """The training or the evaluation data of a configuration, all of it: subsets are taken when it is used.

    Raises:
        UserError: see `open_raw_dataset`.
    """
    everything = config.model_copy(update={"train_dataset_num": 0, "train_dataset_divider": 0})
    dataset = open_raw_dataset(everything, training)
    source = Source(
        dataset=config.dataset,
        split="train" if training else "val",
        name=str(dataset.annotation_file.absolute()),
        category_ids=dict(zip(dataset.class_names, dataset.category_ids, strict=True)),
        voc_metrics=dataset.voc_metrics,
        problems=[line for line in dataset.problems if "missing; " not in line],
    )
    with without_garbage_collection():
        _add_images(source, dataset)
    return source


def _add_images(source: Source, dataset: DetectionDataset) -> None:
    content = dataset.coco_annotations()
    annotations = defaultdict(list)
    for annotation in content["annotations"]:
        annotations[annotation.get("image_id")].append(annotation)
    present = {record.image_id: record.name for record in dataset.records}
    missing = iter(dataset.missing_images)
    for position, image in enumerate(content["images"]):
        entry = {key: image[key] for key in ("id", "file_name")}
        entry |= {key: int(image[key]) for key in ("height", "width")}
        members = annotations[image["id"]]
        source.with_masks |= any(annotation.get("segmentation") for annotation in members)
        path = present.get(image["id"])
        if path is None:
            path = next(missing, image["file_name"])
            source.left_out.append(
                LeftOut(position=position, path=path, reason=f"{path}: missing", entry=entry, annotations=members)
            )
            continue
        categories = tuple(annotation["category_id"] for annotation in members)
        source.images.append(
            SourceImage(position, path, Path(path).stat().st_size, entry, compact_json(members), categories)
        )

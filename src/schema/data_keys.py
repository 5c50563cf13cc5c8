"""Keys of every experiment: its data, and what images become before the network."""

from typing import Annotated, Literal

from pydantic import Field

from src.schema.sections import (
    Fraction,
    NonNegativeInt,
    PathText,
    PositiveTriple,
    Section,
    Side,
    Triple,
    key,
)


class DataKeys(Section):
    """Images and annotations."""

    num_parallel_workers: Annotated[int, Field(ge=0, le=1024)] = key(6, "threads (or processes) that prepare images")
    python_multiprocessing: bool = key(False, "processes instead of threads")
    dataset: str = key(
        "coco",
        "annotations: coco (COCO's JSON), voc (Pascal VOC's XML), other (a TXT list), yolo (data.yaml), labelme (its "
        "JSON), lvis (LVIS's JSON), cvat (CVAT's XML) or fiftyone (FiftyOne's labels.json)",
    )
    train_dataset: PathText = key(
        "", "training data: folder or annotation file; empty: coco_root, voc_root or anno_path"
    )
    val_dataset: PathText = key("", "the same for evaluation")
    coco_root: PathText = key("", "coco: root folder, where train_dataset or val_dataset is empty")
    train_data_type: str = key("train2017", "coco_root: name of the training images' folder and annotations")
    val_data_type: str = key("val2017", "coco_root: the same for evaluation")
    instance_set: PathText = key("", "coco_root: annotation file in it, {} stands for the data type; empty: as found")
    voc_root: PathText = key("", "voc: VOCdevkit or one of its years, where train_dataset or val_dataset is empty")
    voc_train_sets: list[str] = key([], "voc: image sets to train on, such as VOC2007/trainval; empty: as found")
    voc_val_sets: list[str] = key([], "voc: image sets to evaluate, such as VOC2007/test; empty: as found")
    keep_difficult: bool = key(False, "voc: train on objects marked difficult too")
    image_dir: PathText = key(
        "", "other, labelme, lvis, cvat, fiftyone: folder of the images; empty: that of the annotations, or as they say"
    )
    anno_path: PathText = key(
        "",
        "other, yolo, labelme, lvis, cvat, fiftyone: list, file or folder, where train_dataset or val_dataset is empty",
    )
    mindrecord_dir: PathText = key(
        "", "folder of MindRecord files, read instead of images, made from them where missing; empty: images"
    )
    prefix: str = key("train.mindrecord", "mindrecord_dir: name of the training data there; empty: images")
    eval_prefix: str = key("eval.mindrecord", "mindrecord_dir: name of the evaluation data there; empty: images")
    mindrecord_verify: bool = key(False, "compare the checksums of whole MindRecord files at the start")
    coco_classes: list[str] = key([], "class names, 'background' first; empty: those of the training data")
    category_ids: list[Annotated[int, Field(ge=-(2**63), lt=2**63)]] = key(
        [], "the data set's own category ids in the order of coco_classes, for infer.py"
    )
    num_classes: Annotated[int, Field(ge=2, le=100_001)] = key(
        81, "number of classes, background included; left out: as many as coco_classes has"
    )
    train_dataset_num: NonNegativeInt = key(0, "use the first so many training images; 0: all")
    train_dataset_divider: NonNegativeInt = key(0, "of those, use every so many-th training image; 0: all")

    sampler: Literal["shuffle", "repeat_factor"] = key(
        "shuffle", "each training image once per epoch, or those with rare classes more often (LVIS's repeat factors)"
    )
    repeat_threshold: Annotated[float, Field(gt=0, le=1)] = key(
        0.001, "repeat_factor: classes in a smaller share of the images are rare"
    )


class ImageKeys(Section):
    """From an image to the input of the network."""

    img_width: Side = key(640, "width of the network's input")
    img_height: Side = key(640, "height of the network's input")
    divider: Annotated[int, Field(gt=0, le=1024)] = key(64, "width and height are rounded up to a multiple of it")
    img_mean: Triple = key([123.675, 116.28, 103.53], "subtracted, channel by channel, in the order to_rgb gives")
    img_std: PositiveTriple = key([58.395, 57.12, 57.375], "divided by")
    to_rgb: bool = key(True, "RGB, or BGR")
    keep_ratio: bool = key(True, "keep the aspect ratio and pad, or stretch")
    turn_frame: bool = key(
        False, "turn img_width x img_height by 90 degrees for images of the other orientation, or fit them in as it is"
    )


class AugmentationKeys(Section):
    """What is changed at random in training."""

    flip_ratio: Fraction = key(0.5, "probability of a horizontal flip")
    expand_ratio: Fraction = key(0.0, "probability of an expansion on a larger canvas")
    ratio_range: Annotated[list[Annotated[float, Field(ge=0.01, le=100)]], Field(min_length=2, max_length=2)] = key(
        [1.0, 1.0], "scale jitter: the image is resized by a factor from this range, then cropped or padded"
    )
    photo_ratio: Fraction = key(0.0, "probability of SSD's changes of brightness, contrast, saturation and hue")
    channel_order_ratio: Fraction = key(0.0, "probability of another order of the colour channels")
    iou_crop_ratio: Fraction = key(0.0, "probability of SSD's crop: a window that overlaps an object as drawn")

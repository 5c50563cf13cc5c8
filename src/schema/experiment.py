"""Keys of every experiment, whatever its detector."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, PrivateAttr

from src.common.entries import LONGEST_NAME
from src.schema.sections import (
    LARGEST_FLOAT,
    SMALLEST_POSITIVE,
    BackboneConfig,
    Count,
    Fraction,
    NonNegative,
    NonNegativeInt,
    PathText,
    Positive,
    PositiveInt,
    PositiveTriple,
    Section,
    Side,
    Text,
    Triple,
    key,
)
from src.schema.statistics import AUTO_METRIC

SWITCH_WORDS = {"true": "1", "yes": "1", "on": "1", "false": "", "no": "", "off": "", "0": "", "none": "", "null": ""}
LEAST_TILE = 32  # pixels
AmpLevel = Literal["O0", "O1", "O2", "O3", "auto"]


class MaskOptions(NamedTuple):
    """How a detector's masks are kept in training and cut in prediction.

    Attributes:
        crop_size: side of an object's ground-truth mask in memory, in mask pixels.
        divider: network pixels per mask pixel.
        threshold: least probability of a pixel that belongs to a predicted mask.
    """

    crop_size: int
    divider: int
    threshold: float


def _checkpoint_name(pattern: str) -> str:
    """A pattern for names of checkpoints, as it is."""
    if not re.fullmatch(r"(?!step_|best_)[^/{}]+\{epoch\}[^/{}]+\{step\}[^/{}]*\.ckpt", pattern):
        raise ValueError("must be like NAME-{epoch}_{step}.ckpt, and begin neither with step_ nor with best_")
    return pattern


def _number_or_dynamic(value: Any) -> float | Literal["dynamic"]:
    """`loss_scale`: a number over 0, or the word."""
    if value == "dynamic":
        return "dynamic"
    with suppress(TypeError, ValueError):
        if SMALLEST_POSITIVE <= float(value) <= LARGEST_FLOAT:
            return float(value)
    raise ValueError("should be a number over 0, or dynamic")


def _several(value: object) -> object:
    """One text as a list of it, an empty one as an empty list."""
    if isinstance(value, str):
        return [value] if value else []
    return value


def _comma_separated(value: object) -> object:
    """A text as the list of its parts between commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _views(value: object) -> object:
    """`tta`: words and numbers between commas, or one number, as a list."""
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else _comma_separated(value)


def _tile(side: int) -> int:
    """`tile`: none, or one that shows something."""
    if 0 < side < LEAST_TILE:
        raise ValueError(f"should be 0 or at least {LEAST_TILE}")
    return side


def _folder_name(name: str) -> str:
    """The name of one folder, as it is."""
    if "/" in name or name in (".", "..") or len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME:
        raise ValueError(
            f"is the name of one folder, at most {LONGEST_NAME} bytes and without /; train_outputs has the rest"
        )
    return name


def _switch_or_path(value: Any) -> Any:
    """`resume` and `compile_cache`: "1" for a switch that is on, "" for one that is off, a path as it is."""
    if value is None or isinstance(value, bool | int):
        return "1" if value is True or value == 1 else value or ""
    return SWITCH_WORDS.get(value.lower(), value) if isinstance(value, str) else value


class Config(Section):
    """The keys that every experiment has; `detector` chooses the subclass that adds the network's."""

    detector: str = key("", "which detector")
    backbone: BackboneConfig = key(BackboneConfig(), "backbone")

    # where things go and what runs them
    train_outputs: str = key("./train_outputs", "folder of all experiments")
    brief: Annotated[Text, AfterValidator(_folder_name)] = key(
        "run", "name of this experiment: its folder in train_outputs"
    )
    device_target: Literal["auto", "CPU", "GPU", "Ascend"] = key("auto", "device; auto: Ascend, GPU or CPU as found")
    mode: Literal["graph", "pynative"] = key("graph", "graph: compiled, for work; pynative: for debugging")
    compile_cache: Annotated[str, BeforeValidator(_switch_or_path)] = key(
        "1", "keep compiled graphs for the next start (CPU): 1 in the user's cache, 0 not, or a folder of your own"
    )
    seed: NonNegativeInt = key(1, "of weights, order and augmentation")
    deterministic: bool = key(False, "ask MindSpore for operators that repeat exactly (slower)")

    # optimizer
    opt_type: Literal["sgd", "adam", "adamw"] = key("sgd", "optimizer: sgd (with momentum), adam or adamw")
    lr: Positive = key(0.14, "base learning rate")
    base_batch_size: NonNegativeInt = key(
        0, "images per step (all devices, accumulated) that lr was set for; 0: unknown"
    )
    auto_scale_lr: bool = key(False, "multiply lr by the images per step over base_batch_size")
    min_lr: NonNegative = key(1e-7, "least learning rate")
    momentum: Fraction = key(0.9, "momentum of SGD, beta1 of Adam")
    weight_decay: NonNegative = key(4e-5, "L2 regularization (decoupled for adamw); not on BN and biases")
    warmup_step: NonNegativeInt = key(4000, "steps of warm-up")
    warmup_ratio: Fraction = key(0.1, "learning rate at the start of the warm-up, as a share of lr")
    lr_steps: Annotated[list[NonNegativeInt], Field(max_length=1000)] = key(
        [320, 340], "multistep: after these epochs the rate is divided by 10"
    )
    lr_type: Literal["multistep", "cosine", "linear", "five_phase"] = key(
        "multistep", "learning rate after the warm-up; five_phase: the five ramps of warmup_epochs1 to 5, then a cosine"
    )
    lr_init: NonNegative = key(1e-6, "five_phase: learning rate of the first step")
    lr_end_rate: Fraction = key(0.005, "five_phase: last learning rate as a share of lr")
    warmup_epochs1: NonNegativeInt = key(2, "five_phase: epochs of the ramp from lr_init to lr / 30000")
    warmup_epochs2: NonNegativeInt = key(5, "five_phase: epochs of the ramp from lr / 10000 to lr / 1000")
    warmup_epochs3: NonNegativeInt = key(23, "five_phase: epochs of the ramp from lr / 1000 to lr / 100")
    warmup_epochs4: NonNegativeInt = key(60, "five_phase: epochs of the ramp from lr / 100 to lr / 10")
    warmup_epochs5: NonNegativeInt = key(160, "five_phase: epochs of the ramp from lr / 10 to lr")
    grad_clip: NonNegative = key(0, "greatest norm of all gradients together; 0: no clipping")

    # train
    num_gts: Annotated[int, Field(gt=0, le=10_000)] = key(100, "most objects of an image in training")
    batch_size: Count = key(16, "images per device and forward pass")
    accumulate_step: PositiveInt = key(1, "forward passes per update: an artificial batch size multiplier")
    test_batch_size: Count = key(1, "images per forward pass in evaluation and inference")
    loss_scale: Annotated[float | Literal["dynamic"], PlainValidator(_number_or_dynamic)] = key(
        256,
        "the loss is multiplied, the gradients divided by it; dynamic: as large as they allow, updates with gradients "
        "that are not finite are skipped",
    )
    scale_start: Positive = key(65536, "loss_scale dynamic: the first scale")
    scale_window: PositiveInt = key(2000, "loss_scale dynamic: the scale doubles after so many updates without a skip")
    scale_min: Positive = key(1, "loss_scale dynamic: least scale")
    scale_max: Positive = key(2**24, "loss_scale dynamic: greatest scale")
    amp_level: AmpLevel = key(
        "O0",
        "half precision in training: O0 none; O1 convolutions and fully connected layers; O2 all between them too, but "
        "batch normalization; O3 that as well; auto: as O1, without casting back",
    )
    amp_infer: AmpLevel = key("O0", "the same in evaluation and inference of checkpoints")
    amp_dtype: Literal["float16", "bfloat16"] = key(
        "float16", "type of amp_level and amp_infer; bfloat16 on GPU and Ascend only"
    )
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = key(
        0, "keep averages of the weights that lose this share per update, such as 0.999; 0: none"
    )
    ema_eval: bool = key(True, "evaluate, infer and export with the averages of a checkpoint that has them")
    epoch_size: PositiveInt = key(350, "number of epochs")
    run_eval: bool = key(True, "evaluate while training")
    eval_every: PositiveInt = key(1, "epochs between evaluations")
    val_loss: bool = key(False, "evaluate the loss terms on the validation data, too")
    main_metric: str = key(
        AUTO_METRIC,
        "value of an evaluation that decides which checkpoint is best: bbox_mAP, segm_mAP_50 and so on, bbox_mAP/CLASS "
        "of a class, or val_loss; auto: segm_mAP where there are masks, else bbox_mAP",
    )
    patience: NonNegativeInt = key(0, "stop after so many evaluations without a better main_metric; 0: never")
    enable_graph_kernel: bool = key(False, "kernel fusion (GPU and Ascend)")
    jit_level: Literal["", "O0", "O1", "O2"] = key(
        "",
        "how far MindSpore's compiler optimizes (all the same on the CPU, untested elsewhere); empty: its own choice",
    )
    recompute: bool = key(
        False, "the backward pass computes the activations of the backbone's blocks again: less memory, more time"
    )
    profile: Annotated[int, Field(ge=0, le=1000)] = key(
        0,
        "write MindSpore's profile of so many training steps into profile/ of the experiment, and log a table; 0: none",
    )
    finetune: bool = key(False, "load what fits of pre_trained and print what does not")
    datasink: bool = key(
        False, "sink steps to the GPU or Ascend: batches wait there in a queue (tried on one GPU; CPU: no effect)"
    )
    sink_size: PositiveInt = key(
        20, "datasink: most steps taken before their losses are fetched and logged; signals wait for them"
    )
    pre_trained: PathText = key("", "checkpoint to start from, or zoo:NAME")
    pre_trained_epoch_size: NonNegativeInt = key(
        0, "epochs that pre_trained was trained for: epochs and learning rate go on from there"
    )
    global_step: NonNegativeInt = key(0, "the same in steps, where pre_trained stopped within an epoch")
    resume: Annotated[str, BeforeValidator(_switch_or_path)] = key(
        "", "continue: 1 from the experiment's last checkpoint, or the path of a checkpoint"
    )
    log_every: PositiveInt = key(100, "steps between log lines")
    log_format: Literal["timed", "monitor", "monitor_lr"] = key(
        "timed",
        "log lines: timed, with time and loss terms; monitor: as MindSpore's LossMonitor and TimeMonitor, with the "
        "learning rate as monitor_lr",
    )
    progress_bar: Annotated[
        Literal["auto", "on", "off"],
        # YAML takes these words for truth values
        BeforeValidator(lambda value: {True: "on", False: "off"}[value] if isinstance(value, bool) else value),
    ] = key("auto", "auto: when a person watches")
    mlflow: bool = key(False, "log metrics to MLflow too")
    tensorboard: bool = key(False, "write metrics for TensorBoard too: event files in tensorboard/ of the experiment")
    skip_broken: bool = key(False, "train in spite of missing or broken images")

    max_image_pixels: PositiveInt = key(
        100_000_000, "images of more pixels are refused before they are decoded, which takes 3 bytes for each"
    )
    strict_images: bool = key(
        False, "refuse JPEG files that are damaged, but can be decoded, as broken ones; 0: a warning names them"
    )

    # distributed training
    run_distribute: bool = key(False, "distributed training")
    device_id: NonNegativeInt = key(0, "device to use")
    device_num: Annotated[int, Field(gt=0, le=65_536)] = key(1, "number of devices (distributed training)")
    rank_id: NonNegativeInt = key(0, "this process among device_num; the launcher's when it says")

    # data
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

    # images
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

    # augmentation
    flip_ratio: Fraction = key(0.5, "probability of a horizontal flip")
    expand_ratio: Fraction = key(0.0, "probability of an expansion on a larger canvas")
    ratio_range: Annotated[list[Annotated[float, Field(ge=0.01, le=100)]], Field(min_length=2, max_length=2)] = key(
        [1.0, 1.0], "scale jitter: the image is resized by a factor from this range, then cropped or padded"
    )
    photo_ratio: Fraction = key(0.0, "probability of SSD's changes of brightness, contrast, saturation and hue")
    channel_order_ratio: Fraction = key(0.0, "probability of another order of the colour channels")
    iou_crop_ratio: Fraction = key(0.0, "probability of SSD's crop: a window that overlaps an object as drawn")

    # callbacks
    save_every: NonNegativeInt = key(100, "steps between periodical checkpoints; 0: only at the end of an epoch")
    save_checkpoint_epochs: PositiveInt = key(1, "epochs between the periodical checkpoints at an epoch's end")
    save_checkpoint_path: str = key("", "folder of the checkpoints; empty: checkpoints/ in the experiment's folder")
    checkpoint_name: Annotated[list[Annotated[str, AfterValidator(_checkpoint_name)]], BeforeValidator(_several)] = key(
        [],
        "more names of each periodical checkpoint, one or a list, such as NAME-{epoch}_{step}.ckpt (step in the epoch)",
    )
    keep_checkpoint_max: PositiveInt = key(5, "most periodical checkpoints kept")
    keep_best_checkpoints_max: PositiveInt = key(5, "most best checkpoints kept")

    # evaluation and inference
    checkpoint_path: PathText = key(
        "", "checkpoint to evaluate, predict with or export, or zoo:NAME; .mindir and .onnx evaluate, too"
    )
    runtime: Literal["auto", "mindspore", "onnxruntime", "openvino"] = key(
        "auto", "what runs an exported file: mindspore .mindir, onnxruntime or openvino .onnx; auto: the first of these"
    )
    providers: Annotated[
        list[Literal["CPU", "CUDA", "TensorRT", "OpenVINO"]], BeforeValidator(_comma_separated), Field(max_length=4)
    ] = key([], "onnxruntime: what it runs on, the preferred first, such as CUDA,CPU; empty: CPU")
    prediction_path: PathText = key("", "eval.py: JSON of predictions to write, or to evaluate where it exists")
    report: PathText = key("", "eval.py: folder for a web page with tables, curves and pictures of the worst errors")
    pred_input: str = key(
        "",
        "infer.py: image, folder of images (with those below it), pattern such as 'day?/*.jpg', or video; export.py: "
        "image to compare on, empty: a drawn one",
    )
    pred_output: str = key("", "infer.py: JSON file to write; of a video a line of JSON for each frame")
    save_video: PathText = key(
        "", "infer.py: video to write (.mp4 or .avi), with what was found in pred_input's frames"
    )
    tile: Annotated[int, Field(ge=0, le=2**14), AfterValidator(_tile)] = key(
        0, "infer.py, eval.py: side in pixels of the tiles that larger images are seen in, merged; 0: none"
    )
    overlap: Annotated[float, Field(ge=0, le=0.9)] = key(
        0.2, "of neighbouring tiles, and of the windows of scales over 1, as a share of their side"
    )
    tta: Annotated[
        list[Literal["flip"] | Annotated[float, Field(ge=0.25, le=4)]], BeforeValidator(_views), Field(max_length=8)
    ] = key([], "infer.py, eval.py: further views of each image, such as flip,0.8,1.5: mirrored, smaller, larger")
    merge: Literal["nms", "wbf"] = key(
        "nms", "boxes of one object in several tiles or views: nms takes the best, wbf averages them by score"
    )
    merge_iou: Fraction = key(0.5, "merge: boxes of a class with a larger IoU are of one object")

    # export
    file_name: str = key("", "export.py: file to write, with or without its suffix; empty: the checkpoint's name")
    file_format: Annotated[
        Literal["MINDIR", "AIR", "ONNX"],
        BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
    ] = key("MINDIR", "export.py: MINDIR, ONNX, or AIR (only on Ascend)")
    export_form: Literal["auto", "raw", "detections"] = key(
        "auto",
        "raw: boxes and scores of all candidates; detections: NMS inside; auto: raw, for mask models detections",
    )
    export_batch_size: Count = key(1, "images per call of the exported file")
    export_dynamic_batch: bool = key(False, "the exported file takes any number of images per call")
    opset: Annotated[int, Field(ge=16, le=21)] = key(17, "export.py: ONNX: version of the operators")
    precision: Literal["float32", "float16", "int8"] = key(
        "float32", "export.py: ONNX: type of the layers; int8 needs calibration_images"
    )
    calibration_images: PathText = key(
        "", "export.py: int8: folder of images like those to come, which the ranges of values are read from"
    )
    export_turned: bool = key(False, "turn_frame: the exported file takes the turned frame, img_height wide")

    # ModelArts
    enable_modelarts: bool = key(False, "run on ModelArts: data comes from data_url, results go to train_url")
    data_url: str = key("", "ModelArts: OBS folder of the data, downloaded to data_path")
    train_url: str = key("", "ModelArts: OBS folder that output_path is uploaded to")
    checkpoint_url: str = key("", "ModelArts: OBS folder of checkpoints, downloaded to load_path")
    data_path: str = key("/cache/data", "ModelArts: folder for the data")
    output_path: str = key("/cache/train", "ModelArts: folder for all that is written; relative paths are taken in it")
    load_path: str = key("/cache/checkpoint_path", "ModelArts: folder for the checkpoints of checkpoint_url")
    modelarts_dataset_unzip_name: str = key(
        "", "ModelArts: NAME.zip in data_path is unpacked to data_path/NAME; empty: those that paths need"
    )

    _config_path: str = PrivateAttr("")

    @property
    def class_names(self) -> list[str]:
        """Names of the foreground classes; label k is `class_names[k]`."""
        return self.coco_classes[1:]

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network's input: `img_height`, `img_width` rounded up to `divider`."""
        height, width = (-(-side // self.divider) * self.divider for side in (self.img_height, self.img_width))
        return height, width

    @property
    def turning_hw(self) -> tuple[int, int] | None:
        """`img_height` and `img_width` where they are exchanged for images of the other orientation; None: never."""
        size = (self.img_height, self.img_width)
        return size if self.turn_frame and self.img_height != self.img_width else None

    @property
    def input_shapes(self) -> tuple[tuple[int, int], ...]:
        """Each height and width that the network's input may have: `input_hw`, and turned where the frame turns."""
        height, width = self.input_hw
        if self.turning_hw is None or height == width:
            return ((height, width),)
        return (height, width), (width, height)

    def in_fixed_frame(self, turned: bool = False) -> "Config":
        """The same configuration with a frame that does not turn: the one that it has, or the `turned` one."""
        width, height = (self.img_height, self.img_width) if turned else (self.img_width, self.img_height)
        changes = {"img_width": width, "img_height": height, "turn_frame": False, "export_turned": False}
        return self.model_copy(update=changes)

    @property
    def warmup_epochs(self) -> tuple[int, int, int, int, int]:
        """Epochs of the five ramps of `lr_type: five_phase`."""
        return (
            self.warmup_epochs1,
            self.warmup_epochs2,
            self.warmup_epochs3,
            self.warmup_epochs4,
            self.warmup_epochs5,
        )

    @property
    def checkpoint_folder(self) -> Path:
        """Where a training keeps its checkpoints."""
        return Path(self.save_checkpoint_path or Path(self.train_outputs, self.brief, "checkpoints"))

    @property
    def mask_options(self) -> MaskOptions | None:
        """How masks are kept and cut; None for a detector of boxes alone."""
        return None

    @property
    def mask_threshold(self) -> float | None:
        """The probability that makes a pixel part of a mask; None for a detector of boxes alone."""
        return None if self.mask_options is None else self.mask_options.threshold

    @property
    def iou_types(self) -> tuple[str, ...]:
        """What is evaluated: boxes, and masks where the detector has them."""
        return ("bbox",) if self.mask_options is None else ("bbox", "segm")

    @property
    def config_path(self) -> str:
        """The YAML file it was read from."""
        return self._config_path

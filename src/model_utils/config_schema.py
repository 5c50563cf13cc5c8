"""Every configuration key: name, type, default, allowed values and the comment that `--help` shows.

Keys and meanings follow the published READMEs; keys this project adds say so in their comment only where it matters.
Checks that need more than one key are in `config_checks.py`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Triple = Annotated[list[float], Field(min_length=3, max_length=3)]
Four = Annotated[list[float], Field(min_length=4, max_length=4)]
Text = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value)]
Activation = Literal["relu", "swish"]


def key(default, comment: str, **limits):
    """A configuration key with its default and its comment."""
    return Field(default, description=comment, **limits)


class Section(BaseModel):
    """A part of the configuration. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_default=True)


class NormConfig(Section):
    type: Literal["BN", "SyncBN"] = key("BN", "BN, or SyncBN: statistics over all devices")
    momentum: Fraction = key(0.01, "share of the new batch in the running statistics (PyTorch's convention)")
    eps: Positive = key(0.001, "added to the variance")
    frozen: bool = key(False, "use the stored statistics in training too, and do not train gamma and beta")


class BackboneConfig(Section):
    type: Literal["spinenet"] = key("spinenet", "backbone type")
    arch: Text = key("49", "backbone architecture: 49S, 49, 96, 143 or 190")
    width: Positive | None = key(None, "factor on the number of filters; empty: the architecture's")
    out_channels: PositiveInt | None = key(None, "channels of each endpoint; empty: the architecture's")
    block_repeats: PositiveInt | None = key(None, "residual blocks a scale-permuted block; empty: the architecture's")
    act: Activation = key("relu", "activation inside the backbone")
    endpoint_act: Literal["none", "relu", "swish"] = key(
        "none", "activation after the endpoints: none in PyTorch checkpoints, relu or swish in TensorFlow's"
    )
    zero_init_residual: bool = key(False, "start with a zero gamma in the last BN of each residual branch")
    norm_cfg: NormConfig = key(NormConfig(), "batch normalization of the backbone")


class BBoxCoderConfig(Section):
    target_means: Four = key([0.0, 0.0, 0.0, 0.0], "subtracted from the box deltas")
    target_stds: Four = key([1.0, 1.0, 1.0, 1.0], "box deltas are divided by these")


class FocalLossConfig(Section):
    gamma: NonNegative = key(2.0, "focusing exponent of the focal loss")
    alpha: Fraction = key(0.25, "weight of the positives; negatives weigh 1 - alpha")
    loss_weight: NonNegative = key(1.0, "weight of the classification loss")


class BoxLossConfig(Section):
    type: Literal["smooth_l1", "l1"] = key("smooth_l1", "localization loss")
    beta: Positive = key(0.11, "smooth L1: where the quadratic part ends")
    loss_weight: NonNegative = key(1.0, "weight of the localization loss")


class AnchorGeneratorConfig(Section):
    octave_base_scale: Positive = key(3, "side of the smallest anchor in strides")
    scales_per_octave: PositiveInt = key(3, "anchor scales a level")
    ratios: list[Positive] = key([0.5, 1.0, 2.0], "height / width of the anchors", min_length=1)
    strides: list[PositiveInt] = key([8, 16, 32, 64, 128], "pixels between anchors, a level each", min_length=1)


class BBoxHeadConfig(Section):
    type: Literal["retina_sepbn"] = key("retina_sepbn", "dense head: convolutions shared by the levels, BN a level")
    num_ins: PositiveInt = key(5, "number of levels")
    in_channels: PositiveInt = key(256, "channels of each level")
    stacked_convs: PositiveInt = key(4, "convolutions before the output, in both branches")
    feat_channels: PositiveInt = key(256, "channels of these convolutions")
    act: Activation = key("relu", "activation after each convolution")
    prior_prob: Annotated[float, Field(gt=0, lt=1)] = key(0.01, "initial probability of each class")
    bbox_coder: BBoxCoderConfig = key(BBoxCoderConfig(), "box encoding")
    loss_cls: FocalLossConfig = key(FocalLossConfig(), "classification loss")
    loss_bbox: BoxLossConfig = key(BoxLossConfig(), "localization loss")
    anchor_generator: AnchorGeneratorConfig = key(AnchorGeneratorConfig(), "anchors")
    norm_cfg: NormConfig = key(NormConfig(), "batch normalization of the head")


class AssignerConfig(Section):
    pos_iou_thr: Fraction = key(0.5, "an anchor of at least this IoU with an object is positive")
    neg_iou_thr: Fraction = key(0.5, "an anchor below this IoU with every object is negative")
    min_pos_iou: Fraction = key(0.00001, "least IoU of an object's best anchor for it to become positive")
    match_low_quality: bool = key(True, "make each object's best anchors positive whatever their IoU")


class TrainConfig(Section):
    assigner: AssignerConfig = key(AssignerConfig(), "which anchors are positive")


class NMSConfig(Section):
    iou_threshold: Fraction = key(0.5, "a box of the same class with a larger IoU is dropped")


class TestConfig(Section):
    nms_pre: PositiveInt = key(1000, "best candidates a level before NMS")
    min_bbox_size: NonNegative = key(0, "least width and height of a box, in network pixels")
    score_thr: Fraction = key(0.05, "least score of a candidate")
    max_per_img: PositiveInt = key(100, "most detections an image")
    nms: NMSConfig = key(NMSConfig(), "non-maximum suppression")


class Config(Section):
    """The whole configuration of an experiment."""

    # where things go and what runs them
    train_outputs: str = key("./train_outputs", "folder of all experiments")
    brief: Text = key("run", "name of this experiment: its folder in train_outputs")
    device_target: Literal["auto", "CPU", "GPU", "Ascend"] = key("auto", "device; auto: Ascend, GPU or CPU as found")
    mode: Literal["graph", "pynative"] = key("graph", "graph: compiled, for work; pynative: for debugging")
    seed: NonNegativeInt = key(1, "of weights, order and augmentation")
    deterministic: bool = key(False, "ask MindSpore for operators that repeat exactly (slower)")

    # network
    detector: Literal["retinanet"] = key("retinanet", "which detector")
    backbone: BackboneConfig = key(BackboneConfig(), "backbone")
    bbox_head: BBoxHeadConfig = key(BBoxHeadConfig(), "dense head")
    train_cfg: TrainConfig = key(TrainConfig(), "targets in training")
    test_cfg: TestConfig = key(TestConfig(), "post-processing")

    # optimizer
    opt_type: Literal["sgd", "adam", "adamw"] = key("sgd", "optimizer: sgd (with momentum), adam or adamw")
    lr: Positive = key(0.14, "base learning rate")
    base_batch_size: NonNegativeInt = key(0, "images a step (all devices, accumulated) that lr was set for; 0: unknown")
    min_lr: NonNegative = key(1e-7, "least learning rate")
    momentum: Fraction = key(0.9, "momentum of SGD, beta1 of Adam")
    weight_decay: NonNegative = key(4e-5, "L2 regularization (decoupled for adamw); not on BN and biases")
    warmup_step: NonNegativeInt = key(4000, "steps of warm-up")
    warmup_ratio: Fraction = key(0.1, "learning rate at the start of the warm-up, as a share of lr")
    lr_steps: list[NonNegativeInt] = key([320, 340], "multistep: after these epochs the rate is divided by 10")
    lr_type: Literal["multistep", "cosine", "linear"] = key("multistep", "learning rate after the warm-up")
    grad_clip: NonNegative = key(0, "greatest norm of all gradients together; 0: no clipping")

    # train
    num_gts: PositiveInt = key(100, "most objects of an image in training")
    batch_size: PositiveInt = key(16, "images a device and a forward pass")
    accumulate_step: PositiveInt = key(1, "forward passes an update: an artificial batch size multiplier")
    test_batch_size: PositiveInt = key(1, "images a forward pass in evaluation and inference")
    loss_scale: Positive = key(256, "the loss is multiplied, the gradients divided by it")
    epoch_size: PositiveInt = key(350, "number of epochs")
    run_eval: bool = key(True, "evaluate while training")
    eval_every: PositiveInt = key(1, "epochs between evaluations")
    enable_graph_kernel: bool = key(False, "kernel fusion (GPU and Ascend)")
    finetune: bool = key(False, "load what fits of pre_trained and print what does not")
    datasink: bool = key(False, "data sink mode (GPU and Ascend)")
    pre_trained: str = key("", "checkpoint to start from")
    resume: Annotated[
        str, BeforeValidator(lambda value: {True: "1", False: "", None: ""}.get(value, value) if value != 0 else "")
    ] = key("", "continue: 1 from the experiment's last checkpoint, or the path of a checkpoint")
    log_every: PositiveInt = key(100, "steps between log lines")
    progress_bar: Literal["auto", "on", "off"] = key("auto", "auto: when a person watches")
    mlflow: bool = key(False, "log metrics to MLflow too")
    skip_broken: bool = key(False, "train in spite of missing or broken images")

    # distributed training
    run_distribute: bool = key(False, "distributed training")
    device_id: NonNegativeInt = key(0, "device to use")
    device_num: PositiveInt = key(1, "number of devices (distributed training)")
    rank_id: NonNegativeInt = key(0, "this process among device_num; the launcher's when it says")

    # data
    num_parallel_workers: NonNegativeInt = key(6, "threads (or processes) that prepare images")
    python_multiprocessing: bool = key(False, "processes instead of threads")
    train_dataset: str = key("", "folder (data/ + labels.json, or COCO's layout) or annotation file for training")
    val_dataset: str = key("", "the same for evaluation")
    coco_classes: list[str] = key(["background"], "class names, 'background' first", min_length=2)
    category_ids: list[int] = key([], "the data set's own category ids in the order of coco_classes, for infer.py")
    num_classes: Annotated[int, Field(ge=2)] = key(81, "number of classes, background included")
    train_dataset_num: NonNegativeInt = key(0, "use the first so many training images; 0: all")
    train_dataset_divider: NonNegativeInt = key(0, "of those, use every so many-th training image; 0: all")

    # images
    img_width: PositiveInt = key(640, "width of the network's input")
    img_height: PositiveInt = key(640, "height of the network's input")
    divider: PositiveInt = key(64, "width and height are rounded up to a multiple of it")
    img_mean: Triple = key([123.675, 116.28, 103.53], "subtracted, channel by channel, in the order to_rgb gives")
    img_std: Annotated[list[Positive], Field(min_length=3, max_length=3)] = key([58.395, 57.12, 57.375], "divided by")
    to_rgb: bool = key(True, "RGB, or BGR")
    keep_ratio: bool = key(True, "keep the aspect ratio and pad, or stretch")

    # augmentation
    flip_ratio: Fraction = key(0.5, "probability of a horizontal flip")
    expand_ratio: Fraction = key(0.0, "probability of an expansion on a larger canvas")
    ratio_range: Annotated[list[Positive], Field(min_length=2, max_length=2)] = key(
        [1.0, 1.0], "scale jitter: the image is resized by a factor from this range, then cropped or padded"
    )

    # callbacks
    save_every: NonNegativeInt = key(100, "steps between periodical checkpoints; 0: only at the end of an epoch")
    keep_checkpoint_max: PositiveInt = key(5, "most periodical checkpoints kept")
    keep_best_checkpoints_max: PositiveInt = key(5, "most best checkpoints kept")

    # evaluation and inference
    checkpoint_path: str = key("", "checkpoint to evaluate or to predict with")
    prediction_path: str = key("", "eval.py: JSON of predictions to write, or to evaluate where it exists")
    pred_input: str = key("", "infer.py: image or folder of images")
    pred_output: str = key("", "infer.py: JSON file to write")

    _config_path: str = PrivateAttr("")

    @property
    def class_names(self) -> list[str]:
        """Names of the foreground classes; label k is `class_names[k]`."""
        return self.coco_classes[1:]

    @property
    def input_hw(self) -> tuple[int, int]:
        """Height and width of the network's input: `img_height`, `img_width` rounded up to `divider`."""
        return tuple(-(-side // self.divider) * self.divider for side in (self.img_height, self.img_width))

    @property
    def config_path(self) -> str:
        """The YAML file it was read from."""
        return self._config_path

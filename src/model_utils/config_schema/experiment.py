"""Keys of every experiment, whatever its detector."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from src.model_utils.config_schema.sections import (
    Fraction,
    NonNegative,
    NonNegativeInt,
    Positive,
    PositiveInt,
    Section,
    Text,
    Triple,
    key,
)


class Config(Section):
    """The keys that every experiment has; `detector` chooses the subclass that adds the network's."""

    # where things go and what runs them
    train_outputs: str = key("./train_outputs", "folder of all experiments")
    brief: Text = key("run", "name of this experiment: its folder in train_outputs")
    device_target: Literal["auto", "CPU", "GPU", "Ascend"] = key("auto", "device; auto: Ascend, GPU or CPU as found")
    mode: Literal["graph", "pynative"] = key("graph", "graph: compiled, for work; pynative: for debugging")
    seed: NonNegativeInt = key(1, "of weights, order and augmentation")
    deterministic: bool = key(False, "ask MindSpore for operators that repeat exactly (slower)")

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
    def with_masks(self) -> bool:
        """Whether the detector learns and predicts masks."""
        return False

    @property
    def config_path(self) -> str:
        """The YAML file it was read from."""
        return self._config_path

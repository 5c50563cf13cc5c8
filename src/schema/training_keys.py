"""Keys of every experiment: how it trains."""

import re
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from src.schema.sections import (
    LARGEST_FLOAT,
    SMALLEST_POSITIVE,
    Count,
    Fraction,
    NonNegative,
    NonNegativeInt,
    PathText,
    Positive,
    PositiveInt,
    Section,
    SwitchOrPath,
    key,
)
from src.schema.statistics import AUTO_METRIC

AmpLevel = Literal["O0", "O1", "O2", "O3", "auto"]


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


def _checkpoint_name(pattern: str) -> str:
    """A pattern for names of checkpoints, as it is."""
    if not re.fullmatch(r"(?!step_|best_)[^/{}]+\{epoch\}[^/{}]+\{step\}[^/{}]*\.ckpt", pattern):
        raise ValueError("must be like NAME-{epoch}_{step}.ckpt, and begin neither with step_ nor with best_")
    return pattern


class OptimizerKeys(Section):
    """The optimizer and its learning rate."""

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


class TrainingKeys(Section):
    """Batches, epochs, precision, logs, and where a training starts."""

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
    resume: SwitchOrPath = key("", "continue: 1 from the experiment's last checkpoint, or the path of a checkpoint")
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


class CheckpointKeys(Section):
    """Which checkpoints are written and kept."""

    save_every: NonNegativeInt = key(100, "steps between periodical checkpoints; 0: only at the end of an epoch")
    save_checkpoint_epochs: PositiveInt = key(1, "epochs between the periodical checkpoints at an epoch's end")
    save_checkpoint_path: str = key("", "folder of the checkpoints; empty: checkpoints/ in the experiment's folder")
    checkpoint_name: Annotated[list[Annotated[str, AfterValidator(_checkpoint_name)]], BeforeValidator(_several)] = key(
        [],
        "more names of each periodical checkpoint, one or a list, such as NAME-{epoch}_{step}.ckpt (step in the epoch)",
    )
    keep_checkpoint_max: PositiveInt = key(5, "most periodical checkpoints kept")
    keep_best_checkpoints_max: PositiveInt = key(5, "most best checkpoints kept")

"""A detector with the weights of a checkpoint, or an exported file, ready to predict."""

import logging
from pathlib import Path

import numpy as np

from src.common.errors import UserError
from src.deploy.export_card import load_card_of_converted, refuse_other_config
from src.deploy.exported_model import BFLOAT16, MODELS, ExportedDetector
from src.model_utils.device_adapter import Device, setup_device
from src.models import build_detector
from src.models.api import Detector, Predictor
from src.ops.precision import FULL_PRECISION, set_precision
from src.schema import Config
from src.weights.checkpoint import load_checkpoint_weights, load_weights

logger = logging.getLogger(__name__)


def trained_detector(config: Config) -> tuple[Predictor, Device]:
    """What predicts as `checkpoint_path` says, in evaluation mode, and where it runs.

    Returns:
        For a checkpoint the configuration's detector with its weights; for a .mindir, .onnx or .ms file an object with
        the same `predict`, `set_train` and `training`.

    Raises:
        UserError: the file is missing or damaged, or belongs to another network; the device is not available.
    """
    path = config.checkpoint_path
    # What users mistype comes before the slow parts.
    if Path(path).suffix in MODELS:
        if config.amp_infer != FULL_PRECISION:
            raise UserError(f"amp_infer {config.amp_infer} is for checkpoints; {path} computes in the types it has")
        refuse_other_config(path, load_card_of_converted(path), config)
        device = setup_device(config)
        return ExportedDetector(path, config, config.runtime, config.providers, config.precision), device
    if key := _key_of_exported_files(config):
        raise UserError(f"{key} is for exported files; export.py --file_format ONNX makes one of {path}")
    arrays = load_checkpoint_weights(path, config.ema_eval)
    device = setup_device(config)
    net = detector_of(config, arrays)
    set_precision(net, config.amp_infer, config.amp_dtype)
    return net, device


def _key_of_exported_files(config: Config) -> str:
    """What the configuration asks for that checkpoints do not have; empty: nothing."""
    if config.runtime not in ("auto", "mindspore"):
        return f"--runtime {config.runtime}"
    if config.precision == BFLOAT16:
        return f"--precision {config.precision}"
    return "--providers" if config.providers else ""


def in_frame_of_file(config: Config) -> Config:
    """The configuration as what `checkpoint_path` names takes images: an exported file has one frame for all of them.

    Raises:
        UserError: see `load_card_of_converted`.
    """
    path = config.checkpoint_path
    if Path(path).suffix not in MODELS or config.turning_hw is None:
        return config
    frame = load_card_of_converted(path).preprocessing
    logger.info(f"{path} takes one frame: all images are resized into {frame.img_width} x {frame.img_height}")
    return config.in_fixed_frame(turned=(frame.img_width, frame.img_height) == config.turning_hw)


def detector_of(config: Config, arrays: dict[str, np.ndarray]) -> Detector:
    """The configuration's detector with the weights {name: array} of its `checkpoint_path`, in evaluation mode.

    Raises:
        UserError: they belong to another network.
    """
    net = build_detector(config)
    load_weights(net, arrays, config.checkpoint_path)
    net.set_train(False)
    return net

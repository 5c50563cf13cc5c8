"""A detector with the weights of a checkpoint, ready to predict."""

from mindspore import nn

from src.blocks.detectors import build_detector
from src.engine.checkpoint import load_checkpoint_weights, load_weights
from src.model_utils.config import Config
from src.model_utils.device_adapter import Device, setup_device


def trained_detector(config: Config) -> tuple[nn.Cell, Device]:
    """The configuration's detector with the weights of `checkpoint_path`, in evaluation mode, and where it runs.

    Raises:
        UserError: the checkpoint is missing or damaged, or belongs to another network; the device is not here.
    """
    arrays = load_checkpoint_weights(config.checkpoint_path)  # before the slow parts, since it is what users mistype
    device = setup_device(config)
    net = build_detector(config)
    load_weights(net, arrays, config.checkpoint_path)
    net.set_train(False)
    return net, device

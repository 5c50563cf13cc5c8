r"""Convert published PyTorch weights to a checkpoint.

    python convert_weights.py --config_path configs/spinenet_retinanet/retinanet_spinenet_49_640.yaml \
        --source_file spinenet_retinanet.pth --output_file spinenet_49_640.ckpt

Reads .pth and .pt (needs PyTorch; weights only), .safetensors and .npz:

- mmdetection's Mask R-CNN and Cascade Mask R-CNN (version 2 or 3);
- torchvision's maskrcnn_resnet50_fpn, whose RoIAlign wants keys that the message names;
- the SpineNet-RetinaNet of the PyTorch port, by mmdetection's names. Weights that were trained with an activation after
  the endpoints, as TensorFlow's, want backbone.endpoint_act: relu or swish in the configuration;
- a backbone alone, such as torchvision's ResNets (then train with finetune: 1; or give the file to backbone.pretrained
  as it is).

Says which entries have no place and which parameters none was for.
"""

from pathlib import Path

from src.common.errors import UserError
from src.common.program import run_command
from src.config import config_and_options

ARGUMENTS = {
    "source_file": ("", "weights to read: .pth, .pt, .safetensors or .npz"),
    "output_file": ("", "checkpoint to write: .ckpt"),
}


def main() -> None:
    """Check the arguments, then convert."""
    config, arguments = config_and_options(__doc__, ARGUMENTS)
    for name, (_, comment) in ARGUMENTS.items():
        if not getattr(arguments, name):
            raise UserError(f"--{name} is missing: {comment}")
    if Path(arguments.output_file).suffix != ".ckpt":
        raise UserError(f"--output_file {arguments.output_file}: the name of a checkpoint ends in .ckpt")
    from src.commands.convert import convert

    convert(config, arguments.source_file, arguments.output_file)


if __name__ == "__main__":
    run_command(main)

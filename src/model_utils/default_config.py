"""Which configuration a command takes when it names none, as the published NAS-FPN and RefineDet commands do.

eval.py and export.py first look for the one that was saved with the checkpoint (saved_config.py); this is for the rest.
Only programs that those READMEs start without a configuration are listed. They share the programs' names, so what tells
them apart is how they are called:

    train.py, eval.py                 RefineDet's
    export.py --ckpt_file ...         RefineDet's
    export.py --checkpoint_path ...   NAS-FPN's
    create_data.py                    NAS-FPN's
"""

from pathlib import Path
from typing import Any

CONFIGS = Path(__file__).parents[2] / "configs"
NAS_FPN = CONFIGS / "nas_fpn/retinanet_r50_nasfpn_640.yaml"
REFINEDET = CONFIGS / "refinedet/refinedet_vgg16_320.yaml"
REFINEDET_VOC = CONFIGS / "refinedet/refinedet_vgg16_320_voc.yaml"


def default_config(program: str, arguments: dict[str, Any]) -> Path | None:
    """The configuration of a command without `--config_path`.

    Args:
        program: file name of the program, such as 'train.py'.
        arguments: {name without dashes: value} of its command line.

    Returns:
        A YAML file, or None where the program has no default.
    """
    if program == "create_data.py" or program == "export.py" and "ckpt_file" not in arguments:
        return NAS_FPN
    if program in ("train.py", "eval.py", "export.py"):
        return REFINEDET_VOC if arguments.get("dataset") == "voc" else REFINEDET
    return None

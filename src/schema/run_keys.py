"""Keys of every experiment: where it runs, and where things go."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from src.common.entries import LONGEST_NAME
from src.schema.sections import BackboneConfig, NonNegativeInt, Section, SwitchOrPath, Text, key


def _folder_name(name: str) -> str:
    """The name of one folder, as it is."""
    if "/" in name or name in (".", "..") or len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME:
        raise ValueError(
            f"is the name of one folder, at most {LONGEST_NAME} bytes and without /; train_outputs has the rest"
        )
    return name


class RunKeys(Section):
    """What is run, on what, and where results go."""

    detector: str = key("", "which detector")
    backbone: BackboneConfig = key(BackboneConfig(), "backbone")

    # where things go and what runs them
    train_outputs: str = key("./train_outputs", "folder of all experiments")
    brief: Annotated[Text, AfterValidator(_folder_name)] = key(
        "run", "name of this experiment: its folder in train_outputs"
    )
    device_target: Literal["auto", "CPU", "GPU", "Ascend"] = key("auto", "device; auto: Ascend, GPU or CPU as found")
    mode: Literal["graph", "pynative"] = key("graph", "graph: compiled, for work; pynative: for debugging")
    compile_cache: SwitchOrPath = key(
        "1", "keep compiled graphs for the next start (CPU): 1 in the user's cache, 0 not, or a folder of your own"
    )
    seed: NonNegativeInt = key(1, "of weights, order and augmentation")
    deterministic: bool = key(False, "ask MindSpore for operators that repeat exactly (slower)")


class DistributedKeys(Section):
    """Training on several devices."""

    run_distribute: bool = key(False, "distributed training")
    device_id: NonNegativeInt = key(0, "device to use")
    device_num: Annotated[int, Field(gt=0, le=65_536)] = key(1, "number of devices (distributed training)")
    rank_id: NonNegativeInt = key(0, "this process among device_num; the launcher's when it says")


class ModelArtsKeys(Section):
    """Runs on ModelArts."""

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

"""Keys of every experiment: evaluation, inference and export."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from src.schema.sections import Count, Fraction, PathText, Section, key

LEAST_TILE = 32  # pixels


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


class InferenceKeys(Section):
    """What is evaluated or predicted, and how."""

    checkpoint_path: PathText = key(
        "", "checkpoint to evaluate, predict with or export, or zoo:NAME; .mindir, .onnx and .ms evaluate, too"
    )
    runtime: Literal["auto", "mindspore", "onnxruntime", "openvino", "lite"] = key(
        "auto",
        "what runs an exported file: mindspore .mindir, onnxruntime or openvino .onnx, lite .ms and .mindir that "
        "MindSpore Lite converted; auto: the first that can",
    )
    providers: Annotated[
        list[Literal["CPU", "CUDA", "TensorRT", "OpenVINO"]], BeforeValidator(_comma_separated), Field(max_length=4)
    ] = key([], "onnxruntime: what it runs on, the preferred first, such as CUDA,CPU; empty: CPU")
    prediction_path: PathText = key("", "eval.py: JSON of predictions to write, or to evaluate where it exists")
    report: PathText = key("", "eval.py: folder for a web page with tables, curves and pictures of the worst errors")
    pred_input: str = key(
        "",
        "infer.py: image, folder of images (with those below it), pattern such as 'day?/*.jpg', video, or number of a "
        "camera; export.py: image to compare on, empty: a drawn one",
    )
    pred_output: str = key("", "infer.py: JSON file to write; of a video or a camera a line of JSON for each frame")
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


class ExportKeys(Section):
    """What is exported, and in which form."""

    file_name: str = key("", "export.py: file to write, with or without its suffix; empty: the checkpoint's name")
    file_format: Annotated[
        Literal["MINDIR", "AIR", "ONNX", "LITE", "OM"],
        BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
    ] = key(
        "MINDIR",
        "export.py: MINDIR, ONNX, or AIR (only on Ascend); LITE, OM: ONNX, converted by MindSpore Lite or CANN's ATC",
    )
    soc_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$", max_length=32)] = key(
        "Ascend310", "export.py: OM: the chip, as npu-smi info and ATC name it, such as Ascend310P3"
    )
    export_form: Literal["auto", "raw", "detections"] = key(
        "auto",
        "raw: boxes and scores of all candidates; detections: NMS inside; auto: raw, for mask models detections",
    )
    export_batch_size: Count = key(1, "images per call of the exported file")
    export_dynamic_batch: bool = key(False, "the exported file takes any number of images per call")
    opset: Annotated[int, Field(ge=16, le=21)] = key(17, "export.py: ONNX: version of the operators")
    precision: Literal["float32", "bfloat16", "float16", "int8"] = key(
        "float32",
        "export.py: ONNX: type of the layers; int8 needs calibration_images; OM: float32 or float16; bfloat16: not in "
        "the file, but where --runtime openvino runs it",
    )
    calibration_images: PathText = key(
        "", "export.py: int8: folder of images like those to come, which the ranges of values are read from"
    )
    int8_max_ap_loss: Fraction = key(
        0.01,
        "export.py: int8: AP on val_dataset that may be lost, of boxes and of masks; with more, the most sensitive "
        "layers stay float32",
    )
    export_turned: bool = key(False, "turn_frame: the exported file takes the turned frame, img_height wide")

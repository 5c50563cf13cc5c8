"""The work of export.py: a checkpoint to a file of another format, which is run and compared before it is kept."""

import logging
from pathlib import Path

import mindspore as ms
import numpy as np

from src.blocks.detections import Detections
from src.commands.export_converted import CONVERSIONS, refuse_conversion
from src.commands.export_precision import change_precision
from src.common.atomic import atomic_path, check_writable
from src.common.errors import UserError
from src.common.zoo_name import output_path
from src.data.image import ImageError, ImageRules, load_image
from src.data.image_files import find_images
from src.data.network_input import EvalTransform
from src.data.synthetic_scene import SceneOptions, random_scene
from src.deploy.difference import NOTHING, TOLERANCE, Difference, detections_difference, raw_difference
from src.deploy.export_card import ExportCard, Preprocessing, card_path, sha256_of
from src.deploy.export_form import export_form, form_name, prepare_for_file
from src.deploy.exported_model import BFLOAT16, MODELS, ExportedModel
from src.deploy.mindir_file import write_mindspore_file
from src.deploy.onnx_file import onnx_package, write_onnx_file
from src.deploy.onnx_metadata import write_metadata
from src.deploy.raw_selection import build_selection
from src.model_utils.device_adapter import setup_device, target_of, writes_air
from src.models.api import Detector
from src.models.table import spec_of
from src.ops.precision import FULL_PRECISION
from src.predictor.trained_detector import detector_of
from src.schema import Config, require
from src.weights.checkpoint import load_checkpoint_weights
from src.weights.zoo import local_file

logger = logging.getLogger(__name__)

ANY = -1


def export(config: Config) -> Path:
    """Export as the configuration says; returns the file.

    Raises:
        UserError: a checkpoint that is missing or of another network, a format or batch that does not work here, or a
            file that does not compute what the checkpoint does (it is not kept).
    """
    require(config, "checkpoint_path")
    path = exported_path(config)
    config = config.in_fixed_frame(turned=config.export_turned)
    _refuse_what_cannot_work(config)
    written = path.with_suffix(".onnx") if config.file_format in CONVERSIONS else path
    check_writable(path)
    check_writable(written)
    arrays = load_checkpoint_weights(config.checkpoint_path, config.ema_eval)
    setup_device(config)
    inputs = check_inputs(config)
    expected = expected_outputs(detector_of(config, arrays), config, inputs)
    with atomic_path(written) as temporary:
        card = _write(detector_of(config, arrays), config, temporary)
        logger.info(f"wrote {card.format} with {card.form}")
        outputs = [output for output in expected if output is not None]

        def run(file: Path) -> list[np.ndarray]:
            return ExportedModel(file, card).run(*(inputs[port.name] for port in card.inputs))

        def differ(found: list[np.ndarray]) -> Difference:
            return compare(found, expected, card, config, inputs["image_info"])

        if written.suffix in MODELS:
            outputs = run(temporary)
            card.difference = _acceptable(differ(outputs), config, written).size
        else:
            logger.info(f"{card.format} cannot be run here: nothing was compared")
        for port, output in zip(card.outputs, outputs, strict=True):
            port.shape = [card.inputs[0].shape[0], *output.shape[1:]]
        if card.format == "ONNX":
            write_metadata(temporary, card.model_dump(exclude={"sha256"}))
        if config.file_format == "ONNX" and config.precision != "float32":
            change_precision(temporary, card, config, lambda file: differ(run(file)))
        card.sha256 = sha256_of(temporary)
    card.save(written)
    logger.info(f"{written} is ready; {card_path(written).name} beside it says what it takes and gives")
    if config.file_format in CONVERSIONS:
        return _convert(written, path, card, config, inputs, outputs)
    return written


def _convert(
    source: Path, path: Path, card: ExportCard, config: Config, inputs: dict[str, np.ndarray], outputs: list[np.ndarray]
) -> Path:
    """Convert the ONNX file that gave `outputs` for `inputs` to the format that was asked for; returns the file."""
    reference = outputs if card.form == "raw" else _as_detections(outputs, card)

    def differ(found: list[np.ndarray]) -> Difference:
        return compare(found, reference, card, config, inputs["image_info"])

    images = [inputs[port.name] for port in card.inputs]
    return CONVERSIONS[config.file_format](source, path, card, config, images, differ)


def _acceptable(difference: Difference, config: Config, path: Path) -> Difference:
    """A difference of the file to be `path` from its checkpoint, reported; raises a UserError unless it is small."""
    logger.info(f"largest difference from the checkpoint: {difference}; allowed: {TOLERANCE:g}")
    if difference == NOTHING:
        logger.warning("there is no detection in this image to compare; give a better one as --pred_input")
    if not difference.size <= TOLERANCE:
        raise UserError(f"{path}: not kept: it differs from {config.checkpoint_path} by {difference}")
    return difference


def exported_path(config: Config) -> Path:
    """The file to write, with the format's suffix: `file_name`, or the checkpoint's name (and _turned, if it is)."""
    suffixes = {"LITE": (".mindir", ".ms")}.get(config.file_format, (f".{config.file_format.lower()}",))
    default = f"{output_path(config.checkpoint_path).with_suffix('')}{'_turned' if config.export_turned else ''}"
    name = config.file_name or default
    others = {".mindir", ".onnx", ".air", ".om", ".ms"}.difference(suffixes)
    if Path(name).suffix.lower() in others:
        raise UserError(f"--file_name {name} has another suffix than --file_format {config.file_format}; leave it out")
    return Path(name if name.lower().endswith(suffixes) else name + suffixes[0])


def _refuse_what_cannot_work(config: Config) -> None:
    device = target_of(config)
    if config.precision == BFLOAT16:
        raise UserError(
            f"--precision {BFLOAT16} is no precision of files: export in float32, and give it with --runtime openvino "
            "where the file runs"
        )
    if config.amp_infer != FULL_PRECISION:
        raise UserError(f"amp_infer {config.amp_infer} is for checkpoints; exported files compute in float32: O0")
    if config.file_format == "AIR" and not writes_air(device):
        raise UserError(f"--file_format AIR can be written on Ascend only, this is {device}; take MINDIR")
    if config.file_format in CONVERSIONS:
        refuse_conversion(config)
    if config.file_format == "ONNX" or config.file_format in CONVERSIONS:
        onnx_package("onnx"), onnx_package("onnxruntime")
        spec_of(config).export.rois_are_aligned(config)
    if config.precision != "float32" and config.file_format != "OM":
        if config.file_format != "ONNX":
            raise UserError(f"--precision {config.precision} is for --file_format ONNX")
        if config.precision == "int8":
            require(config, "calibration_images")
            find_images(config.calibration_images, recursive=True, key="calibration_images")
    any_batch = config.file_format == "ONNX" or (spec_of(config).export.dynamic_batch and form_name(config) == "raw")
    if config.export_dynamic_batch and not any_batch:
        raise UserError(
            f"--export_dynamic_batch: {config.file_format} takes any number of images in the raw form of detectors "
            "without masks only; give --export_batch_size N, or --file_format ONNX"
        )


def _write(net: Detector, config: Config, path: Path) -> ExportCard:
    """Write a detector, which is of no other use afterwards; the card lacks shapes of outputs and the checksum."""
    prepare_for_file(net, config.file_format)
    form = export_form(net, config)
    spec = spec_of(config).export
    batch = ANY if config.export_dynamic_batch else config.export_batch_size
    shapes = form.input_shapes(config, batch)
    converted = config.file_format in CONVERSIONS
    if config.file_format == "ONNX" or converted:
        names = form.input_names, form.output_names
        write_onnx_file(
            form.cell,
            shapes,
            *names,
            path,
            spec.rois_are_aligned(config),
            config.opset,
            for_lite=converted,
            image_by_image=not spec.dynamic_batch,
        )
    else:
        write_mindspore_file(form.cell, shapes, path, config.file_format)
    return ExportCard(
        format="ONNX" if converted else config.file_format,
        form=form.name,
        detector=config.detector,
        inputs=form.input_ports(config, batch),
        outputs=form.output_ports(),
        preprocessing=Preprocessing.of(config),
        class_names=config.class_names,
        category_ids=config.category_ids,
        selection=spec.selection(config, form.level_sizes) if form.name == "raw" else None,
        mask_threshold=config.mask_threshold,
        checkpoint=Path(config.checkpoint_path).name,
        checkpoint_sha256=sha256_of(local_file(config.checkpoint_path)),
    )


def check_inputs(config: Config) -> dict[str, np.ndarray]:
    """Images to compare on, as evaluation prepares them: `image`, `image_info`; two where the file takes several.

    They are those of `pred_input`, or else drawn scenes, narrower than the network's input.
    """
    count = 2 if config.export_dynamic_batch or config.export_batch_size > 1 else 1
    prepare = EvalTransform.from_config(config)
    if config.pred_input:
        paths = (find_images(config.pred_input, key="pred_input") * count)[:count]
        try:
            pictures = [load_image(path, rules=ImageRules.of(config)) for path in paths]
        except ImageError as error:
            raise UserError(str(error)) from None
    else:
        pictures = _drawn_scenes(config.img_height // 2, config.img_width * 3 // 4, count)
    images, infos = zip(*map(prepare, pictures), strict=True)
    return {"image": np.stack(images), "image_info": np.stack(infos)}


def _drawn_scenes(height: int, width: int, count: int) -> list[np.ndarray]:
    largest = max(min(height, width) // 2, 4)
    smallest = max(largest // 4, 2)
    options = SceneOptions(width, height, min_object=smallest, max_object=largest, empty_share=0, crowd_share=0)
    rng = np.random.default_rng(0)
    return [random_scene(options, rng)[0] for _ in range(count)]


def expected_outputs(net: Detector, config: Config, inputs: dict[str, np.ndarray]) -> list[np.ndarray] | Detections:
    """What a detector computes itself: boxes and scores of the raw form, or detections."""
    form = export_form(net, config)
    if form.name == "detections":
        return net.predict(inputs["image"], inputs["image_info"])
    outputs = form.cell(*(ms.Tensor(inputs[name]) for name in form.input_names))
    return [output.asnumpy() for output in outputs]


def compare(
    outputs: list[np.ndarray],
    expected: list[np.ndarray] | Detections,
    card: ExportCard,
    config: Config,
    image_info: np.ndarray,
) -> Difference:
    """The largest difference of an exported file's outputs from what `expected_outputs` gave for the same images."""
    spec = spec_of(config).export
    if isinstance(expected, Detections):
        pair = _as_detections(outputs, card), expected
    elif spec.fixed_rows:
        return raw_difference(outputs, expected, max(card.inputs[0].shape[2:]))
    else:
        assert card.selection is not None  # of the raw form
        select = build_selection(card.selection)
        pair = Detections(*select(*outputs, image_info)), Detections(*select(*expected, image_info))
    return detections_difference(*pair, image_info, spec.score_threshold(config))


def _as_detections(outputs: list[np.ndarray], card: ExportCard) -> Detections:
    return Detections(**{port.name: output for port, output in zip(card.outputs, outputs, strict=True)})

"""Formats that are made of an ONNX file: MindSpore Lite's MINDIR or .ms, and the OM of Ascend chips."""

import logging
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from shlex import quote

import numpy as np

from src.common.atomic import atomic_path
from src.common.errors import UserError
from src.deploy.difference import TOLERANCE, Difference
from src.deploy.export_card import ExportCard, card_path, sha256_of
from src.deploy.lite import LiteModel, convert_by_lite, require_lite
from src.schema import Config

logger = logging.getLogger(__name__)

# ATC's words for the precision of layers; the first keeps float32 where the chip has it.
PRECISION_MODES = {"float32": "allow_fp32_to_fp16", "float16": "force_fp16"}
NEWEST_OF_ATC = 18  # of ONNX's operators, from the documentation of CANN 7.0

Differ = Callable[[list[np.ndarray]], Difference]


def refuse_conversion(config: Config) -> None:
    """Raise a UserError where an ONNX file could be written, but not be converted as the configuration says."""
    if config.file_format == "LITE":
        require_lite()
    elif config.precision not in PRECISION_MODES:
        raise UserError(f"--precision {config.precision}: --file_format OM takes {' or '.join(PRECISION_MODES)}")
    elif config.opset > NEWEST_OF_ATC:
        raise UserError(f"--opset {config.opset}: ATC of CANN reads versions up to {NEWEST_OF_ATC} of the operators")
    elif config.export_dynamic_batch:
        raise UserError("--export_dynamic_batch: an OM file has a fixed batch; give --export_batch_size N")


def write_lite(
    source: Path, path: Path, card: ExportCard, config: Config, inputs: list[np.ndarray], differ: Differ
) -> Path:
    """Convert an ONNX file by MindSpore Lite, and compare what Lite computes with what ONNX Runtime did.

    Args:
        source: ONNX file, in the form for Lite.
        path: file to write, .mindir or .ms.
        card: of the source.
        config: as it was exported.
        inputs: images to compare on, in the card's order.
        differ: how far outputs are from those of the source for them.

    Raises:
        UserError: Lite refuses the file, or computes something else (it is not kept).
    """
    del config
    with atomic_path(path) as temporary:
        convert_by_lite(source, temporary)
        # One thread shows mistakes that several hide.
        difference = differ(LiteModel(temporary, threads=1).run(*inputs))
        logger.info(f"largest difference of MindSpore Lite from ONNX Runtime: {difference}; allowed: {TOLERANCE:g}")
        if not difference.size <= TOLERANCE:
            raise UserError(f"{path}: not kept: MindSpore Lite differs from {source} by {difference}")
        digest = sha256_of(temporary)
    _save_card(card, path, "LITE", source, digest)
    return path


def write_om(
    source: Path, path: Path, card: ExportCard, config: Config, inputs: list[np.ndarray], differ: Differ
) -> Path:
    """Write ATC's command for an ONNX file, and run it where CANN is installed; arguments as of `write_lite`.

    Returns:
        The OM file or, where ATC is not installed, the script with its command.

    Raises:
        UserError: ATC fails.
    """
    del inputs, differ
    script = path.with_suffix(".atc.sh")
    with atomic_path(script) as temporary:
        temporary.write_text(
            f"#!/bin/sh\n# {source.name} to {path.name} by ATC of CANN, for the chip {config.soc_version}.\n"
            f'cd "$(dirname "$0")" || exit 1\nexec {" ".join(map(quote, atc_command(source, path, card, config)))}\n',
            encoding="utf-8",
        )
    if shutil.which("atc") is None:
        logger.warning(f"{path.name} is not made: ATC of CANN is not installed here; run {script} where it is")
        return script
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, check=False)
    if done.returncode != 0 or not path.is_file():
        lines = (done.stdout + done.stderr).strip().splitlines() or ["no message"]
        reason = next((line for line in lines if line.startswith("E")), lines[-1])
        raise UserError(f"{script}: ATC ended with exit code {done.returncode} ({reason})")
    logger.info("OM cannot be run here: nothing was compared")
    _save_card(card, path, "OM", source, sha256_of(path))
    return path


def atc_command(source: Path, path: Path, card: ExportCard, config: Config) -> list[str]:
    """ATC's command for files in its current folder."""
    shapes = ";".join(f"{port.name}:{','.join(map(str, port.shape))}" for port in card.inputs)
    return [
        "atc",
        f"--model={source.name}",
        "--framework=5",
        f"--output={path.with_suffix('').name}",
        "--input_format=NCHW" if len(card.inputs) == 1 else "--input_format=ND",
        f"--input_shape={shapes}",
        f"--soc_version={config.soc_version}",
        f"--precision_mode={PRECISION_MODES[config.precision]}",
    ]


def _save_card(card: ExportCard, path: Path, file_format: str, source: Path, digest: str) -> None:
    changes = {"format": file_format, "source": source.name, "source_sha256": card.sha256, "sha256": digest}
    card.model_copy(update=changes).save(path)
    logger.info(f"{path} is ready; {card_path(path).name} beside it says what it takes and gives")


CONVERSIONS: Mapping[str, Callable[..., Path]] = {"LITE": write_lite, "OM": write_om}

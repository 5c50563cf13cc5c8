"""The card of an ONNX file inside the file, so that it works alone: each field is an entry, as JSON."""

import json
from pathlib import Path
from typing import Any

from src.common.errors import UserError


def write_metadata(path: str | Path, fields: dict[str, Any]) -> None:
    """Put fields into the metadata of an ONNX file, in place of what it has."""
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    for name, value in fields.items():
        model.metadata_props.add(key=name, value=json.dumps(value))
    onnx.save(model, path)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The fields that `write_metadata` put into an ONNX file; {} for files of others.

    Raises:
        UserError: the package onnx is missing; no ONNX file.
    """
    from src.deploy.onnx_file import onnx_package  # not before: it imports MindSpore

    onnx = onnx_package("onnx")
    try:
        properties = onnx.load(path, load_external_data=False).metadata_props
    except Exception as error:  # that of the decoder, which belongs to another package
        raise UserError(f"{path}: not an ONNX file ({str(error).splitlines()[0]})") from None
    try:
        return {entry.key: json.loads(entry.value) for entry in properties}
    except ValueError:
        return {}

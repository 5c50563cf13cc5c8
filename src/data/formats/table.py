"""The data-set formats by their names: the values of the key `dataset`. A new format is one line here."""

from src.common.errors import UserError
from src.data.formats import coco, txt, voc
from src.data.formats.api import DatasetFormat
from src.schema import Config

FORMATS: dict[str, DatasetFormat] = {
    "coco": coco.FORMAT,
    "voc": voc.FORMAT,
    "other": txt.FORMAT,
}


def format_of(config: Config) -> DatasetFormat:
    """The format that a configuration's `dataset` names.

    Raises:
        UserError: there is no such format.
    """
    if config.dataset not in FORMATS:
        *others, last = map(repr, FORMATS)
        raise UserError(
            f"{config.config_path or 'the configuration'}: dataset: {config.dataset!r} is not allowed: "
            f"input should be {', '.join(others)} or {last}"
        )
    return FORMATS[config.dataset]

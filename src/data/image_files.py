"""Find images in folders."""

from collections.abc import Iterator
from glob import glob, has_magic
from pathlib import Path

from src.common.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def find_images(source: str | Path, recursive: bool = False, key: str = "") -> list[Path]:
    """The image `source`, or the images in the folder `source`, nothing hidden, sorted by path.

    Args:
        source: an image, whatever its suffix, or a folder.
        recursive: look in the folder's folders too.
        key: configuration key that names the source, for messages; empty: none.

    Raises:
        UserError: the path does not exist, or the folder has no image.
    """
    source = Path(source)
    shown = f"{key} {source}" if key else str(source)
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UserError(f"{shown} does not exist; give an image or a folder of images")
    paths = sorted(_images_in(source, recursive))
    if not paths:
        raise UserError(f"{shown}: no image ({', '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)}) in this folder")
    return paths


def find_inputs(source: str, key: str = "") -> list[Path]:
    """The file `source`, or the images in the folder and those below it, or those that match `source` as a pattern.

    A path that exists is taken as it is, whatever characters it has; ** in a pattern stands for folders of any depth.

    Raises:
        UserError: there is no image.
    """
    if Path(source).exists() or not has_magic(source):
        return find_images(source, recursive=True, key=key)
    matches = map(Path, glob(source, recursive=True))  # noqa: PTH207  Path.glob takes no absolute patterns
    paths = sorted(path for path in matches if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UserError(f"{key} {source}: no image matches this pattern".lstrip())
    return paths


def _images_in(folder: Path, recursive: bool) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if recursive:
                yield from _images_in(path, recursive)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            yield path

"""Find images in folders."""

from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path

from src.common.errors import UserError
from src.data.video_file import VIDEO_SUFFIXES

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
IMAGE = f"image ({', '.join(suffix[1:] for suffix in IMAGE_SUFFIXES)})"


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
    paths = _with_suffix(_files_in(source, recursive), IMAGE_SUFFIXES)
    if not paths:
        raise UserError(f"{shown}: no {IMAGE} in this folder")
    return paths


def find_inputs(source: str, key: str = "") -> list[Path]:
    """The file `source`, or the images in the folder and those below it, or those that match `source` as a pattern.

    Where there is no image but one video, it is that one. A path that exists is taken as it is, whatever characters it
    has; ** in a pattern stands for folders of any depth.

    Raises:
        UserError: there is no image, or there are several videos instead.
    """
    path = Path(source)
    if path.is_dir():
        files, none = list(_files_in(path, recursive=True)), f"no {IMAGE} in this folder"
    elif path.exists() or not has_magic(source):
        return find_images(path, key=key)
    else:
        matches = map(Path, glob(source, recursive=True))  # noqa: PTH207  Path.glob takes no absolute patterns
        files, none = [match for match in matches if match.is_file()], "no image matches this pattern"
    if images := _with_suffix(files, IMAGE_SUFFIXES):
        return images
    videos = _with_suffix(files, VIDEO_SUFFIXES)
    if len(videos) == 1:
        return videos
    if videos:
        none = f"no image, but {len(videos)} videos; give one of them, such as {videos[0]}"
    raise UserError(f"{key} {source}: {none}".lstrip())


def _with_suffix(files: Iterable[Path], suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in files if path.suffix.lower() in suffixes)


def _files_in(folder: Path, recursive: bool) -> Iterator[Path]:
    """The files of a folder, nothing hidden."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if recursive:
                yield from _files_in(path, recursive)
        else:
            yield path

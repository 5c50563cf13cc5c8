"""Divide images into training and evaluation data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from src.common.errors import UserError
from src.common.text import shown
from src.data.writers.api import WrittenImage


def split_by_class(images: Sequence[WrittenImage], classes: int, fraction: float, seed: int) -> np.ndarray:
    """Evaluation images such that each class has about the same share of its objects there.

    Args:
        images: all of them.
        classes: number of classes.
        fraction: share of the images to evaluate on.
        seed: of the order in which images are dealt out.

    Returns:
        bool [I], whether an image is for evaluation.
    """
    return _stratified(np.array([_counts(image, classes) for image in images]), fraction, seed)


def split_by_folder(images: Sequence[WrittenImage], classes: int, fraction: float, seed: int) -> np.ndarray:
    """`split_by_class` of whole folders: images of one folder, such as a video's or a patient's, stay together.

    Raises:
        UserError: all images are in one folder.
    """
    folders = [str(Path(image.path).parent) for image in images]
    names, group = np.unique(folders, return_inverse=True)
    if len(names) < 2:
        raise UserError(f"all {len(images)} images are in {names[0]}; to keep folders together, there must be several")
    counts = np.zeros((len(names), classes + 1))
    np.add.at(counts, group, [_counts(image, classes) for image in images])
    return _stratified(counts, fraction, seed)[group]


def split_by_list(images: Sequence[WrittenImage], path: Path) -> np.ndarray:
    """Evaluation images that a text file lists, one per line: by a path, a file name, or a name without its suffix.

    Raises:
        UserError: the file cannot be read; a line that names no image, or several.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"{path}: cannot read the list ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8; it lists images, one per line") from None
    places: dict[str, list[int]] = {}
    for index, image in enumerate(images):
        name = Path(image.path)
        for key in {image.path, name.name, name.stem}:
            places.setdefault(key, []).append(index)
    chosen = np.zeros(len(images), bool)
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            found = places.get(text, [])
            if len(found) != 1:
                raise UserError(f"{path}, line {number}: {shown(text)} is the name of {len(found) or 'no'} images")
            chosen[found[0]] = True
    return chosen


def _counts(image: WrittenImage, classes: int) -> np.ndarray:
    """Objects of each class, and 1 for the image, float64 [K + 1]."""
    return np.append(np.bincount([one.label for one in image.objects], minlength=classes), 1).astype(float)


def _stratified(counts: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Items for evaluation by iterative stratification (Sechidis et al. 2011): the rarest class is dealt out first.

    Each of its items goes to the side that still lacks the larger share of this class, unless that has enough images;
    a class of one item is trained on.

    Args:
        counts: float64 [N, K + 1], what items hold of each class, and of images.
        fraction: share for evaluation.
        seed: of the order of the items.

    Returns:
        bool [N].
    """
    order = np.random.default_rng(seed).permutation(len(counts))
    shares = np.array([1 - fraction, fraction])
    lacking = shares[:, None] * counts.sum(axis=0)
    side = np.full(len(counts), -1)
    for column in np.argsort(np.append((counts[:, :-1] > 0).sum(axis=0), len(counts) + 1), kind="stable"):
        for item in order[(side[order] < 0) & (counts[order, column] > 0)]:
            wanted = lacking[:, [column, -1]] / shares[:, None]
            has_room = lacking[:, -1] >= counts[item, -1] / 2
            side[item] = int(has_room[1] and (not has_room[0] or tuple(wanted[1]) > tuple(wanted[0])))
            lacking[side[item]] -= counts[item]
    return side == 1

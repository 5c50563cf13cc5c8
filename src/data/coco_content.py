"""What a COCO annotation file must hold for the rest of the project to read it without surprises.

Boxes and segmentations are not looked at here: one that cannot be used costs its object alone, and readers report it.
"""

from collections import Counter
from collections.abc import Sequence

from src.common.entries import FILE_NAME, ID, NUMBER, REQUIRED, SIDE, Rule, check_list, column
from src.common.errors import UserError

CATEGORY_NAME = Rule("a name", (str, int))
ANNOTATION_ID = Rule("a number or a text", (int, float, str))
FLAG = Rule("0 or 1", (int, float, bool), lambda value: value in (0, 1))


def check_images(content: dict, origin: object, with_files: bool = True) -> list[dict]:
    """The list `images`, each an object with an id of its own and, if it has them, a height and a width.

    Args:
        content: of the annotation file.
        origin: the file, for messages.
        with_files: each must have its size and a file name, too.

    Raises:
        UserError: names the first entry that is otherwise.
    """
    where = f"{origin}: images"
    images = check_list(content.get("images"), where)
    ids = column(images, "id", ID, where)
    if with_files:
        column(images, "file_name", FILE_NAME, where)
    for name in ("height", "width"):
        column(images, name, SIDE, where, default=REQUIRED if with_files else None)
    check_unique(origin, "image", ids)
    return images


def check_categories(content: dict, origin: object) -> list[dict]:
    """The list `categories`, each an object with a name and an id of its own; see `check_images`."""
    where = f"{origin}: categories"
    categories = check_list(content.get("categories"), where)
    column(categories, "name", CATEGORY_NAME, where)
    check_unique(origin, "category", column(categories, "id", ID, where))
    return categories


def check_annotations(content: dict, origin: object) -> list[dict]:
    """The list `annotations`, each an object with an image and a category; see `check_images`."""
    annotations = check_list(content.get("annotations"), f"{origin}: annotations")
    check_unique(origin, "annotation", check_annotation_fields(annotations, origin))
    return annotations


def check_annotation_fields(annotations: list, origin: object, first: int = 0) -> list:
    """Check entries of the list `annotations`, from place `first` on, each by itself; return the ids that they have."""
    where = f"{origin}: annotations"
    column(annotations, "image_id", NUMBER, where, first=first)
    column(annotations, "category_id", NUMBER, where, first=first)
    column(annotations, "iscrowd", FLAG, where, default=None, first=first)
    ids = column(annotations, "id", ANNOTATION_ID, where, default=None, first=first)
    return [value for value in ids if value is not None]


def check_unique(origin: object, what: str, ids: Sequence) -> None:
    """Raise a UserError where two of `ids` are the same."""
    if len(set(ids)) != len(ids):
        twice = next(value for value, count in Counter(ids).items() if count > 1)
        raise UserError(f"{origin}: {what} id {twice} is used more than once; ids must be unique")

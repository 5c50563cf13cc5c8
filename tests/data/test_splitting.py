"""Training and evaluation data out of one set."""

from pathlib import Path

import numpy as np
import pytest

from src.common.errors import UserError
from src.data.formats.coco import CocoDataset
from src.data.splitting import split_by_class, split_by_folder, split_by_list
from src.data.writers.api import WrittenImage, WrittenObject
from tests.data.coco_files import NAMES, write_dataset
from tests.end_to_end.commands import run


def image(name: str, *labels: int) -> WrittenImage:
    return WrittenImage(name, 10, 10, 1, [WrittenObject(label, (0, 0, 1, 1)) for label in labels])


def images(number: int = 200) -> list[WrittenImage]:
    """A frequent class, one of every tenth image, one of two images, and images without objects."""
    rng = np.random.default_rng(3)
    made = []
    for n in range(number):
        labels = [0] * int(rng.integers(0, 4)) + [1] * (n % 10 == 0) + [2] * (n in (17, 90))
        made.append(image(f"video_{n // 25}/{n:03d}.jpg", *labels))
    return made


def share(chosen: np.ndarray, every: list[WrittenImage], label: int) -> float:
    counts = np.array([sum(one.label == label for one in each.objects) for each in every])
    return counts[chosen].sum() / counts.sum()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_each_class_has_its_share(seed: int, fraction: float) -> None:
    every = images()
    chosen = split_by_class(every, 3, fraction, seed)
    assert chosen.mean() == pytest.approx(fraction, abs=0.015)
    assert share(chosen, every, 0) == pytest.approx(fraction, abs=0.03)
    assert share(chosen, every, 1) == pytest.approx(fraction, abs=0.051)
    assert share(chosen, every, 2) == 0.5
    np.testing.assert_array_equal(chosen, split_by_class(every, 3, fraction, seed))
    assert (chosen != split_by_class(every, 3, fraction, seed + 1)).any()


def test_a_class_of_one_image_is_trained_on() -> None:
    assert not split_by_class([image("a", 0), image("b", 0), image("c", 0, 1), image("d", 0)], 2, 0.5, 0)[2]


def test_folders_stay_together() -> None:
    every = images()
    chosen = split_by_folder(every, 3, 0.25, 0)
    sides = {}
    for one, is_val in zip(every, chosen, strict=True):
        assert sides.setdefault(one.path.partition("/")[0], is_val) == is_val
    assert sum(sides.values()) == 2 and share(chosen, every, 0) == pytest.approx(0.25, abs=0.05)
    with pytest.raises(UserError, match="all 2 images are in x; to keep folders together"):
        split_by_folder([image("x/a"), image("x/b")], 1, 0.5, 0)


def test_a_list_names_them(tmp_path: Path) -> None:
    every = [image("x/a.jpg"), image("x/b.jpg"), image("y/b.jpg"), image("y/c.jpg")]
    path = tmp_path / "val.txt"
    path.write_text("a\ny/b.jpg\n\nc.jpg\n")
    assert split_by_list(every, path).tolist() == [True, False, True, True]
    for text, message in (
        ("a\nb.jpg\n", "line 2: 'b.jpg' is the name of 2 images"),
        ("d", "line 1: 'd' is the name of no"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=rf"val\.txt, {message}"):
            split_by_list(every, path)


def test_the_command(tmp_path: Path) -> None:
    write_dataset(tmp_path / "mine", 30)
    words = ("split_dataset.py", "--data", "mine", "--output_dir", "parts", "--val_fraction", "0.3")
    out, _ = run(*words, cwd=tmp_path)
    assert "--dataset coco --val_dataset parts/val/labels.json" in out and "share of val" in out
    train, val = (CocoDataset(tmp_path / "parts" / name, NAMES) for name in ("train", "val"))
    names = [{Path(record.image).name for record in one.records} for one in (train, val)]
    assert len(names[1]) == 9 and len(names[0]) == 21 and not names[0] & names[1]

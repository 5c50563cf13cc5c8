"""Frames that turn: sizes by mmdetection's rule, batches of one orientation, order, ranks, resuming, masks."""

import json
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.data.batch import FILLER_ID
from src.data.batch_plan import PlannedBatch, plan_batches
from src.data.builders import build_eval_loader, build_train_loader
from src.data.image import load_image
from src.data.mask_canvas import paste_canvas
from src.data.network_input import EvalTransform, Normalizer
from src.data.orientation import lies_across
from src.data.sample import Sample
from src.data.transforms import RandomCrop, Resize
from src.models.mask_rcnn.config import MaskRCNNConfig
from tests.data.coco_files import IDS, NAMES, annotation, content, noise_image
from tests.data.test_loader import assert_same, epoch

LONG, SHORT = 1333, 800
LANDSCAPE, PORTRAIT = (3, 64, 96), (3, 96, 64)


def mmdetections_size(height: int, width: int) -> tuple[int, int]:
    """What `Resize(scale=(1333, 800), keep_ratio=True)` of mmdetection makes of an image (mmcv's rescale_size)."""
    factor = min(LONG / max(height, width), SHORT / min(height, width))
    return int(height * float(factor) + 0.5), int(width * float(factor) + 0.5)


def odd_sizes() -> list[tuple[int, int]]:
    """200 heights and widths, half of them portraits, squares and COCO's usual sizes among them."""
    rng = np.random.default_rng(0)
    usual = [(640, 480), (480, 640), (640, 427), (427, 640), (333, 333), (1333, 800), (800, 1333), (640, 640)]
    drawn = 2 * rng.integers(20, 1000, (192, 2)) + 1
    return usual + [(int(height), int(width)) for height, width in drawn]


@pytest.mark.parametrize("frame", [(SHORT, LONG), (LONG, SHORT)], ids=["landscape frame", "portrait frame"])
def test_sizes_are_mmdetections(frame: tuple[int, int]) -> None:
    prepare = EvalTransform(frame, frame, True, Normalizer([0] * 3, [1] * 3), turns=True)
    resize, rng = Resize(frame, keep_ratio=True), np.random.default_rng(0)
    sizes = odd_sizes()
    assert len(sizes) == 200 and sum(height > width for height, width in sizes) > 80
    for height, width in sizes:
        expected = mmdetections_size(height, width)
        assert tuple(prepare.info_of((height, width))[2:4].astype(int)) == expected
        turned = lies_across((height, width), frame)
        resized = resize(Sample(np.zeros((height, width, 3), np.uint8), (height, width), turned=turned), rng)
        assert resized.image_hw == expected
        assert turned == ((height < width) != (frame[0] < frame[1]) and height != width)


def test_an_image_and_its_turned_copy_become_turned_copies() -> None:
    prepare = EvalTransform((48, 96), (64, 96), True, Normalizer([120.0] * 3, [50.0] * 3), turns=True)
    lying = noise_image(50, 80)
    upright = np.ascontiguousarray(lying.transpose(1, 0, 2))
    (wide, wide_info), (high, high_info) = prepare(lying), prepare(upright)
    assert wide.shape == LANDSCAPE and high.shape == PORTRAIT
    np.testing.assert_allclose(high, wide.transpose(0, 2, 1), atol=0.05)  # rounding to whole grey levels
    assert wide_info.tolist() == [50, 80, 48, 77, np.float32(48 / 50), np.float32(77 / 80)]
    assert high_info.tolist() == [wide_info[i] for i in (1, 0, 3, 2, 5, 4)]
    fixed, info = EvalTransform((48, 96), (64, 96), True, prepare.normalizer)(upright)
    assert fixed.shape == LANDSCAPE and info[2:4].tolist() == [48, 30]


def test_crops_after_jitter_fit_the_turned_frame() -> None:
    rng = np.random.default_rng(0)
    for turned, expected in ((False, (48, 96)), (True, (96, 48))):
        sample = Sample(np.zeros((200, 200, 3), np.uint8), (200, 200), turned=turned)
        assert RandomCrop((48, 96))(sample, rng).image_hw == expected


@pytest.mark.parametrize("seed", range(20))
def test_planned_batches(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, size = int(rng.integers(1, 60)), int(rng.integers(1, 9))
    turned = rng.random(count) < rng.choice([0.05, 0.3, 0.9])
    order = rng.permutation(count)
    training = plan_batches(order, turned, size, training=True)
    used = np.concatenate([batch.indices for batch in training]) if training else np.zeros(0, int)
    assert len(training) == count // size and {len(batch.indices) for batch in training} <= {size}
    assert sorted(used.tolist()) == sorted(order[: count // size * size].tolist())
    mixed = [not (turned[batch.indices] == batch.turned).all() for batch in training]
    assert sum(mixed) <= 1 and not any(mixed[:-1])
    for batch, is_mixed in zip(training, mixed, strict=True):
        assert 2 * (turned[batch.indices] == batch.turned).sum() >= size
        assert is_mixed or (np.diff(np.argsort(order)[batch.indices]) > 0).all()

    evaluation = plan_batches(np.arange(count), turned, size, training=False)
    for orientation in (False, True):
        own = [batch.indices for batch in evaluation if batch.turned == orientation]
        indices = np.concatenate(own) if own else np.zeros(0, int)
        np.testing.assert_array_equal(indices, np.flatnonzero(turned == orientation))
        assert all(len(one) == size for one in own[:-1])


def test_without_turned_images_batches_are_slices_of_the_order() -> None:
    order = np.random.default_rng(0).permutation(11)
    for training, ends in ((True, (4, 8)), (False, (4, 8, 11))):
        found = plan_batches(order, np.zeros(11, bool), 4, training)
        assert [one.turned for one in found] == [False] * len(ends)
        np.testing.assert_array_equal(np.concatenate([one.indices for one in found]), order[: ends[-1]])
        assert (
            isinstance(found[0], PlannedBatch) and [len(one.indices) for one in found] == np.diff((0, *ends)).tolist()
        )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 images, each third of which is a portrait; ids 10, 13, 16, ... One object in each."""
    folder = tmp_path_factory.mktemp("mixed")
    (folder / "data").mkdir()
    images, objects = [], []
    for n in range(13):
        height, width = (90, 60) if n % 3 == 1 else (60, 90)
        cv2.imencode(".png", noise_image(height, width, n))[1].tofile(folder / f"data/{n:03d}.png")
        images.append({"id": 10 + 3 * n, "file_name": f"{n:03d}.png", "height": height, "width": width})
        objects.append(annotation(n, 10 + 3 * n, [10, 12, width - 30, height - 25], IDS[n % 3]))
    (folder / "labels.json").write_text(json.dumps(content(images, objects)))
    return folder


def make_config(root: Path, **keys) -> MaskRCNNConfig:
    values = {
        "train_dataset": str(root),
        "val_dataset": str(root),
        "coco_classes": ["background", *NAMES],
        "num_classes": 4,
        "img_width": 96,
        "img_height": 64,
        "divider": 32,
        "batch_size": 2,
        "test_batch_size": 4,
        "num_gts": 5,
        "num_parallel_workers": 0,
        "ratio_range": [0.8, 1.3],
        "aug_prob": 0.0,
        "mask_crop_size": 64,
    }
    return MaskRCNNConfig(**{**values, **keys})


def is_portrait(image_id: int) -> bool:
    return (image_id - 10) // 3 % 3 == 1


def test_training_batches_have_one_orientation(root: Path) -> None:
    for index in range(3):
        batches = epoch(make_config(root), index)
        assert len(batches) == 6
        for batch in batches:
            assert batch.image.shape[1:] in (LANDSCAPE, PORTRAIT)
            wanted = [is_portrait(i) == (batch.image.shape[1:] == PORTRAIT) for i in batch.image_id.tolist()]
            assert all(wanted) or (batch is batches[-1] and any(wanted))
        assert {batch.image.shape[1:] for batch in batches} == {LANDSCAPE, PORTRAIT}
        assert len(set(chain.from_iterable(batch.image_id.tolist() for batch in batches))) == 12


def test_key_off_fits_portraits_into_the_frame(root: Path) -> None:
    for build in (build_train_loader, build_eval_loader):
        batches = epoch(make_config(root, turn_frame=False), build=build)
        assert {batch.image.shape[1:] for batch in batches} == {LANDSCAPE}


def test_epochs_repeat_resume_and_do_not_depend_on_workers(root: Path) -> None:
    whole = epoch(make_config(root), 1)
    assert_same(whole, epoch(make_config(root, num_parallel_workers=3), 1))
    assert_same(whole[2:], epoch(make_config(root), 1, start_step=2))
    assert_same(whole, epoch(make_config(root, num_parallel_workers=1, python_multiprocessing=True), 1))
    assert [b.image_id.tolist() for b in whole] != [b.image_id.tolist() for b in epoch(make_config(root), 2)]


@pytest.mark.parametrize("build", [build_train_loader, build_eval_loader])
def test_ranks_share_the_batches_of_one_process(root: Path, build) -> None:
    together = epoch(make_config(root, batch_size=4, test_batch_size=4), build=build)
    halves = make_config(root, batch_size=2, test_batch_size=2)
    parts = [epoch(halves, build=build, rank=rank, world=2) for rank in range(2)]
    assert [len(part) for part in parts] == [len(together)] * 2
    for step, batch in enumerate(together):
        for name, value in batch.items():
            assert np.array_equal(value, np.concatenate([part[step][name] for part in parts])), name


def test_evaluation_sees_every_image_once(root: Path) -> None:
    config = make_config(root)
    loader = build_eval_loader(config)
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 4  # nine landscapes, four portraits
    seen = [i for batch in batches for i in batch.image_id.tolist() if i != FILLER_ID]
    assert sorted(seen) == [10 + 3 * n for n in range(13)]
    prepare = EvalTransform.from_config(config)
    for batch in batches:
        for slot, image_id in enumerate(batch.image_id.tolist()):
            if image_id == FILLER_ID:
                assert batch.image_info[slot].tolist() == [*batch.image.shape[2:], *batch.image.shape[2:], 1, 1]
                continue
            assert is_portrait(image_id) == (batch.image.shape[1:] == PORTRAIT)
            image, info = prepare(load_image(batch.path[slot]))
            assert np.array_equal(batch.image[slot], image) and np.array_equal(batch.image_info[slot], info)


@pytest.mark.parametrize("crop_size", [28, 64, 96])  # the last are whole bitmaps of the input
def test_masks_agree_with_boxes_in_both_orientations(root: Path, crop_size: int) -> None:
    for batch in epoch(make_config(root, mask_crop_size=crop_size, flip_ratio=0.0, ratio_range=[1.0, 1.0])):
        input_hw = batch.image.shape[2:]
        assert batch.masks.shape[2:] == (input_hw if crop_size == 96 else (crop_size, crop_size))
        for boxes, masks, valid in zip(batch.boxes, batch.masks, batch.valid, strict=True):
            pasted = paste_canvas(masks[0], boxes[0], 1, input_hw) >= 128
            rows, columns = np.flatnonzero(pasted.any(1)), np.flatnonzero(pasted.any(0))
            assert valid[0]
            edges = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose(edges, boxes[0], atol=2.5 if crop_size == 28 else 1.0)

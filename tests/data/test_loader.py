"""Batches: shapes, order, workers, ranks, resuming, fillers, and images that cannot be read."""

import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from src.common.errors import UserError
from src.data.batch import FILLER_ID, Batch
from src.data.builders import build_eval_loader, build_train_loader
from src.data.image import load_image
from src.data.network_input import EvalTransform
from src.data.sample import choose_targets
from src.schema import Config
from tests.data.coco_files import IDS, NAMES, annotation, write_dataset


def make_config(root, **keys) -> Config:
    values = {
        "train_dataset": str(root),
        "val_dataset": str(root),
        "coco_classes": ["background", *NAMES],
        "num_classes": 4,
        "img_width": 64,
        "img_height": 48,
        "divider": 32,
        "batch_size": 3,
        "test_batch_size": 4,
        "num_gts": 5,
        "num_parallel_workers": 0,
        "flip_ratio": 0.5,
        "expand_ratio": 0.3,
        "ratio_range": [0.6, 1.6],
    }
    return Config(**{**values, **keys})


def epoch(config, index=0, start_step=0, build=build_train_loader, **where) -> list[Batch]:
    loader = build(config, **where)
    try:
        return list(loader.epoch(index, start_step))
    finally:
        loader.close()


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert np.array_equal(a[name], b[name]), name


def test_shapes_and_types(tmp_path):
    (batch, _) = epoch(make_config(write_dataset(tmp_path)))
    shapes = {name: (value.shape, value.dtype.name) for name, value in batch.items() if name != "path"}
    assert shapes == {
        "image": ((3, 3, 64, 64), "float32"),
        "image_info": ((3, 6), "float32"),
        "image_id": ((3,), "int64"),
        "boxes": ((3, 5, 4), "float32"),
        "labels": ((3, 5), "int32"),
        "valid": ((3, 5), "bool"),
    }
    assert [path[-7:] for path in batch["path"]] == [f"{(i - 10) // 3:03d}.png" for i in batch["image_id"]]
    assert np.isfinite(batch["image"]).all()


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_change_nothing(tmp_path, workers):
    write_dataset(tmp_path, 12)
    alone = epoch(make_config(tmp_path))
    assert_same(alone, epoch(make_config(tmp_path, num_parallel_workers=workers)))


def test_processes_change_nothing(tmp_path):
    write_dataset(tmp_path, 12)
    alone = epoch(make_config(tmp_path))
    assert_same(alone, epoch(make_config(tmp_path, num_parallel_workers=2, python_multiprocessing=True)))


def test_epochs_and_seeds_differ_and_repeat(tmp_path):
    write_dataset(tmp_path, 12)
    config = make_config(tmp_path)
    ids = [batch["image_id"].tolist() for batch in epoch(config, 0)]
    assert ids == [batch["image_id"].tolist() for batch in epoch(config, 0)]
    assert ids != [batch["image_id"].tolist() for batch in epoch(config, 1)]
    assert ids != [batch["image_id"].tolist() for batch in epoch(make_config(tmp_path, seed=2), 0)]
    assert sorted(chain.from_iterable(ids)) == [10 + 3 * n for n in range(12)]


def test_an_image_is_augmented_anew_in_each_epoch(tmp_path):
    write_dataset(tmp_path, 3)
    config = make_config(tmp_path)
    images = [dict(zip(b["image_id"], b["image"], strict=True)) for e in range(2) for b in epoch(config, e)]
    assert not np.array_equal(images[0][10], images[1][10])


def test_start_in_mid_epoch_without_decoding_what_was_before(tmp_path):
    write_dataset(tmp_path, 12)
    config = make_config(tmp_path, num_parallel_workers=2)
    whole = epoch(config, 1)
    for path in {path for batch in whole[:2] for path in batch["path"]}:
        Path(path).write_bytes(b"")  # reading it again would be an error
    assert_same(whole[2:], epoch(config, 1, start_step=2))


def test_training_leaves_out_the_incomplete_batch(tmp_path):
    write_dataset(tmp_path, 8)
    loader = build_train_loader(make_config(tmp_path))
    assert len(loader) == 2 == len(list(loader.epoch(0)))


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_batches_of_one_process(tmp_path, world):
    write_dataset(tmp_path, 13)
    together = epoch(make_config(tmp_path, batch_size=2 * world))
    parts = [epoch(make_config(tmp_path, batch_size=2), rank=rank, world=world) for rank in range(world)]
    for step, batch in enumerate(together):
        for name, value in batch.items():
            assert np.array_equal(value, np.concatenate([part[step][name] for part in parts])), name


def test_evaluation_keeps_every_image_in_order_and_fills_up(tmp_path):
    write_dataset(tmp_path, 6)
    first, last = epoch(make_config(tmp_path), build=build_eval_loader)
    assert first["image_id"].tolist() == [10, 13, 16, 19]
    assert last["image_id"].tolist() == [22, 25, FILLER_ID, FILLER_ID]
    assert last["path"][2:] == ["", ""] and not last["valid"][2:].any()
    assert (last["image_info"][2:, 4:] == 1).all() and (last["image"][2:] == 0).all()


def test_evaluation_is_divided_over_the_ranks(tmp_path):
    write_dataset(tmp_path, 9)
    parts = [epoch(make_config(tmp_path), build=build_eval_loader, rank=rank, world=2) for rank in range(2)]
    assert [len(part) for part in parts] == [2, 2]
    ids = [image_id for part in parts for batch in part for image_id in batch["image_id"] if image_id != FILLER_ID]
    assert sorted(ids) == [10 + 3 * n for n in range(9)]


@pytest.mark.parametrize("keep_ratio", [True, False])
def test_evaluation_and_inference_prepare_images_alike(tmp_path, keep_ratio):
    write_dataset(tmp_path, 2, height=70, width=90)
    config = make_config(tmp_path, keep_ratio=keep_ratio)
    (batch,) = epoch(config, build=build_eval_loader)
    for slot in range(2):
        image, info = EvalTransform.from_config(config)(load_image(batch["path"][slot]))
        assert np.array_equal(image, batch["image"][slot]) and np.array_equal(info, batch["image_info"][slot])


def test_targets_are_in_network_pixels(tmp_path):
    write_dataset(tmp_path, 3)  # 40 x 60 images at 48 x 64: factor 64 / 60
    (batch,) = epoch(make_config(tmp_path), build=build_eval_loader)
    assert batch["valid"].sum(axis=1).tolist() == [0, 1, 2, 0]
    scale = batch["image_info"][1, [5, 4, 5, 4]]
    assert np.allclose(batch["boxes"][1, 0], np.array([5, 7, 25, 19]) * scale)
    assert batch["labels"][2, :2].tolist() == [0, 1]


def test_crowds_are_no_targets(tmp_path):
    boxes = [annotation(1, 10, [0, 0, 60, 40], iscrowd=1), annotation(2, 10, [1, 2, 30, 30], IDS[2])]
    write_dataset(tmp_path, 1, annotations=boxes)
    (batch,) = epoch(make_config(tmp_path), build=build_eval_loader)
    assert batch["valid"].sum() == 1 and batch["labels"][0, 0] == 2


def test_another_image_stands_in_where_a_crop_leaves_no_object(tmp_path):
    """Three images with a small object in a corner, two with a large one, one that never had any."""
    corner = [annotation(n, 10 + 3 * n, [0, 0, 6, 6]) for n in range(3)]
    large = [annotation(n, 10 + 3 * n, [0, 0, 60, 40], IDS[1]) for n in (3, 4)]
    write_dataset(tmp_path, annotations=corner + large)
    config = make_config(tmp_path, batch_size=6, expand_ratio=0.0, ratio_range=[3.0, 3.0])
    seen = []
    for index in range(20):
        (batch,) = epoch(config, index)
        empty = ~batch["valid"].any(axis=1)
        assert set(batch["image_id"][empty].tolist()) == {10 + 3 * 5}
        seen += batch["image_id"].tolist()
    counts = [seen.count(10 + 3 * n) for n in range(5)]
    assert max(counts[:3]) < 20 < min(counts[3:]) and min(counts[:3]) > 0
    assert_same(epoch(config, 1), epoch(config.model_copy(update={"num_parallel_workers": 2}), 1))


def test_the_largest_objects_are_learnt_when_there_are_too_many(tmp_path):
    boxes = np.array([[0, 0, 5, 5], [0, 0, 9, 9], [0, 0, 2, 2], [0, 0, 7, 7]], np.float32)
    assert choose_targets(boxes, np.zeros(4, bool), 2).tolist() == [1, 3]
    assert choose_targets(boxes, np.array([0, 1, 0, 0], bool), 2).tolist() == [0, 3]
    write_dataset(tmp_path, 3, annotations=[annotation(n, 10, [1, 1, 5 + n, 5]) for n in range(4)])
    loader = build_train_loader(make_config(tmp_path, num_gts=3, ratio_range=[1, 1]))
    assert any("more than num_gts (3) objects" in line and "000.png" in line for line in loader.dataset.problems)
    (batch,) = loader.epoch(0)
    assert sorted(batch["valid"].sum(axis=1)) == [0, 0, 3]


def break_image(root, number: int) -> str:
    path = root / "data" / f"{number:03d}.png"
    path.write_bytes(path.read_bytes()[:40])
    return str(path)


@pytest.mark.parametrize(("workers", "processes"), [(0, False), (2, False), (1, True)])
def test_a_broken_image_stops_training_with_its_path(tmp_path, workers, processes):
    write_dataset(tmp_path, 6)
    path = break_image(tmp_path, 4)
    with pytest.raises(UserError, match="skip_broken") as error:
        epoch(make_config(tmp_path, num_parallel_workers=workers, python_multiprocessing=processes))
    assert path in str(error.value)


def test_skip_broken_takes_the_next_image_and_reports_once(tmp_path, caplog):
    write_dataset(tmp_path, 6)
    path = break_image(tmp_path, 4)
    loader = build_train_loader(make_config(tmp_path, skip_broken=True, num_parallel_workers=2))
    ids = [sorted(i for batch in loader.epoch(e) for i in batch["image_id"]) for e in range(2)]
    loader.close()
    assert ids == [[10, 13, 16, 19, 25, 25]] * 2
    assert len(loader.broken) == 1 and path in loader.broken[0]
    assert [path in record.getMessage() for record in caplog.records] == [True]


def test_a_broken_image_is_skipped_in_evaluation(tmp_path):
    write_dataset(tmp_path, 4)
    path = break_image(tmp_path, 2)
    loader = build_eval_loader(make_config(tmp_path))
    (batch,) = loader.epoch(0)
    assert batch["image_id"].tolist() == [10, 13, FILLER_ID, 19]
    assert len(loader.broken) == 1 and path in loader.broken[0]


def test_nothing_can_be_read(tmp_path):
    write_dataset(tmp_path, 3)
    for number in range(3):
        break_image(tmp_path, number)
    with pytest.raises(UserError, match="not one of its images can be read"):
        epoch(make_config(tmp_path, skip_broken=True))


def test_missing_images_at_start_up(tmp_path):
    write_dataset(tmp_path, 6)
    (tmp_path / "data" / "004.png").unlink()
    with pytest.raises(UserError, match=r"1 images of .*004\.png; .*skip_broken"):
        build_train_loader(make_config(tmp_path))
    assert len(build_train_loader(make_config(tmp_path, skip_broken=True)).records) == 5
    loader = build_eval_loader(make_config(tmp_path))
    assert len(loader.records) == 5 and "004.png" in loader.dataset.problems[0]


def test_too_few_images_for_a_batch(tmp_path):
    write_dataset(tmp_path, 5)
    with pytest.raises(UserError, match=r"5 images are fewer than a batch \(3 images x 2 devices\)"):
        build_train_loader(make_config(tmp_path), world=2)


def test_category_ids_of_the_configuration_must_agree(tmp_path):
    write_dataset(tmp_path)
    build_train_loader(make_config(tmp_path, category_ids=IDS))
    with pytest.raises(UserError, match=r"are \[7, 90, 12\], category_ids says \[1, 2, 3\]"):
        build_eval_loader(make_config(tmp_path, category_ids=[1, 2, 3]))


def test_a_subset_of_the_training_images(tmp_path):
    write_dataset(tmp_path, 12)
    records = build_train_loader(make_config(tmp_path, train_dataset_num=10, train_dataset_divider=3)).records
    assert [record.image_id for record in records] == [10, 19, 28, 37]


def test_an_abandoned_epoch_leaves_the_loader_usable(tmp_path):
    write_dataset(tmp_path, 12)
    loader = build_train_loader(make_config(tmp_path, num_parallel_workers=2))
    for _ in loader.epoch(0):
        break
    assert_same(list(loader.epoch(0)), epoch(make_config(tmp_path)))
    loader.close()
    assert_same(list(loader.epoch(0)), epoch(make_config(tmp_path)))
    loader.close()


def test_size_of_a_record_that_the_image_contradicts(tmp_path):
    write_dataset(tmp_path, 3)
    values = json.loads((tmp_path / "labels.json").read_text())
    values["images"][1]["width"] = 61
    (tmp_path / "labels.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"001\.png: the image is 60x40 pixels .* annotation says 61x40"):
        epoch(make_config(tmp_path))

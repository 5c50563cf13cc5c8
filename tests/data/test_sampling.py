"""How often, and in which order, a training sees its images."""

import math
from itertools import chain

import numpy as np
import pytest

from src.commands.draw_schedule import steps_of_data
from src.config import load_config
from src.data.batch_plan import plan_batches
from src.data.builders import build_train_loader
from src.data.sampling import images_per_epoch, repeat_factors, shuffled
from tests.conftest import ROOT
from tests.data.coco_files import write_dataset
from tests.data.test_loader import assert_same, epoch, make_config

REPEATED = {"sampler": "repeat_factor", "repeat_threshold": 1.0}


def lvis_factors(labels: list[np.ndarray], threshold: float) -> list[float]:
    """The formula of LVIS, class by class and image by image."""
    frequency = {label: sum(label in one for one in labels) / len(labels) for label in set(chain.from_iterable(labels))}
    by_class = {label: max(1.0, math.sqrt(threshold / share)) for label, share in frequency.items()}
    return [max((by_class[label] for label in one), default=1.0) for one in labels]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("threshold", [0.001, 0.05, 0.5])
def test_factors_are_those_of_lvis(seed, threshold):
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, 41) ** 2  # a long tail of classes
    labels = [rng.choice(40, rng.integers(0, 7), p=shares / shares.sum()) for _ in range(300)]
    found = repeat_factors(iter(labels), threshold)
    np.testing.assert_allclose(found, lvis_factors(labels, threshold), rtol=1e-12)
    assert (found.max() > 1) == (threshold > 1 / 300)


def test_images_without_objects_come_once():
    assert repeat_factors([np.zeros(0, np.int32)] * 3, 0.1).tolist() == [1, 1, 1]


def test_images_come_as_often_as_their_factors_say():
    factors = np.random.default_rng(0).uniform(1, 4, 50)
    factors[:5] = 1
    counts = []
    for index in range(600):
        order = shuffled(50, 7, index, factors)
        assert len(order.images) == images_per_epoch(factors) == math.floor(factors.sum())
        counts.append(np.bincount(order.images, minlength=50))
        assert len(set(zip(order.images.tolist(), order.copies.tolist(), strict=True))) == len(order.images)
        assert (order.copies < np.ceil(factors)[order.images]).all()
    counts = np.array(counts)
    # One image of an epoch is left out where the sum of the factors is rounded up.
    assert (counts >= np.floor(factors) - 1).all() and (counts <= np.ceil(factors)).all()
    assert (counts < np.floor(factors)).sum() <= 600
    np.testing.assert_allclose(counts.mean(axis=0), factors, atol=0.1)


def test_the_order_depends_on_seed_and_epoch_alone():
    factors = np.linspace(1, 3, 30)
    first = shuffled(30, 1, 4, factors)
    assert all(map(np.array_equal, first, shuffled(30, 1, 4, factors)))
    for other in (shuffled(30, 1, 5, factors), shuffled(30, 2, 4, factors)):
        assert not np.array_equal(first.images, other.images)
    plain = shuffled(30, 1, 4)
    assert sorted(plain.images) == list(range(30)) and not plain.copies.any()
    once = shuffled(30, 1, 4, np.ones(30))
    assert sorted(once.images) == list(range(30)) and not once.copies.any()


def test_batches_of_one_orientation_hold_repeated_images():
    factors = np.random.default_rng(1).uniform(1, 3, 40)
    turned = np.random.default_rng(2).random(40) < 0.4
    images = shuffled(40, 1, 0, factors).images
    batches = plan_batches(np.arange(len(images)), turned[images], 8, training=True)
    assert len(batches) == images_per_epoch(factors) // 8
    places = np.concatenate([batch.indices for batch in batches])
    assert sorted(places) == list(range(len(batches) * 8))
    assert sum(not (turned[images[batch.indices]] == batch.turned).all() for batch in batches) <= 1


def test_copies_of_an_image_are_augmented_apart(tmp_path):
    config = make_config(write_dataset(tmp_path, 12), **REPEATED)
    loader = build_train_loader(config)
    # 4 images each without objects, with a cat (in 8 of 12), with a cat and a dog (in 4 of 12)
    expected = np.resize([1, math.sqrt(12 / 8), math.sqrt(12 / 4)], 12)
    np.testing.assert_allclose(loader.factors, expected)
    assert len(loader) == 15 // 3 == len(list(loader.epoch(0)))
    by_image: dict[int, list[np.ndarray]] = {}
    for batch in epoch(config):
        for image_id, image in zip(batch["image_id"].tolist(), batch["image"], strict=True):
            by_image.setdefault(image_id, []).append(image)
    assert len(by_image) >= 11  # of 15 or 16 images, 15 fill the batches
    repeated = [images for images in by_image.values() if len(images) > 1]
    assert repeated and not any(np.array_equal(*images[:2]) for images in repeated)


def test_ranks_share_the_batches_of_one_process_and_resume_in_them(tmp_path):
    write_dataset(tmp_path, 13)
    together = epoch(make_config(tmp_path, batch_size=4, **REPEATED), 2)
    half = make_config(tmp_path, batch_size=2, **REPEATED)
    parts = [epoch(half, 2, rank=rank, world=2) for rank in range(2)]
    assert len(together) == len(parts[0]) == 4
    for step, batch in enumerate(together):
        for name, value in batch.items():
            assert np.array_equal(value, np.concatenate([part[step][name] for part in parts])), name
    assert_same(parts[1][1:], epoch(half, 2, start_step=1, rank=1, world=2))


def test_the_schedule_counts_repeated_images(tmp_path):
    config = make_config(write_dataset(tmp_path, 12), **REPEATED)
    assert steps_of_data(config) == len(build_train_loader(config)) == 5
    assert steps_of_data(make_config(tmp_path)) == 4


def test_the_keys_reach_the_loader():
    config = load_config(ROOT / "configs/demo/nas_fpn.yaml", {"sampler": "repeat_factor", "repeat_threshold": "0.01"})
    assert (config.sampler, config.repeat_threshold) == ("repeat_factor", 0.01)
    assert load_config(ROOT / "configs/demo/nas_fpn.yaml").sampler == "shuffle"

"""From the configuration to the loaders of its training and evaluation data."""

import numpy as np

from src.common.errors import UserError
from src.data.augmentation import train_transforms
from src.data.batch import BatchLayout, MaskSize
from src.data.detection_dataset import DetectionDataset
from src.data.image import ImageRules
from src.data.instaboost import build_instaboost
from src.data.loader import BatchLoader, Shard
from src.data.network_input import Normalizer
from src.data.open_dataset import open_dataset
from src.data.sampling import repeat_factors
from src.data.transforms import Transform
from src.data.workers import WorkerOptions
from src.schema import Config
from src.schema.instaboost import InstaBoostKeys
from src.schema.sections import Section


def build_train_loader(config: Config, rank: int = 0, world: int = 1, augment: bool = True) -> BatchLoader:
    """Loader of the configuration's training data, with augmentation, and with masks for a model that learns them.

    Without `augment`, images come in the same order, only resized.

    Raises:
        UserError: see `open_dataset`; missing images, unless skip_broken; too few images.
    """
    dataset = open_dataset(config, training=True, with_masks=config.mask_options is not None)
    _check_category_ids(config, dataset)
    if dataset.missing_images and not config.skip_broken:
        raise UserError(
            f"{len(dataset.missing_images)} images of {dataset.annotation_file} are missing, the first: "
            f"{dataset.missing_images[0]}; add them, or set skip_broken to train without them"
        )
    _note_crowded(dataset, config.num_gts)
    return BatchLoader(
        dataset,
        _augmentation(config) if augment else _plain_transforms(config),
        _layout(config, config.batch_size, learns=True),
        training=True,
        seed=config.seed,
        shard=Shard(rank, world),
        workers=_workers(config),
        skip_broken=config.skip_broken,
        factors=factors_of(config, dataset),
    )


def build_eval_loader(config: Config, rank: int = 0, world: int = 1, learns: bool = False) -> BatchLoader:
    """Loader of the configuration's evaluation data, without augmentation. Missing images are in `dataset.problems`.

    Args:
        config: checked configuration.
        rank: number of this process.
        world: number of processes.
        learns: with masks for a model that learns them, as in training; without, batches have boxes alone.
    """
    dataset = open_dataset(config, training=False, with_masks=learns and config.mask_options is not None)
    _check_category_ids(config, dataset)
    return BatchLoader(
        dataset,
        _plain_transforms(config),
        _layout(config, config.test_batch_size, learns),
        seed=config.seed,
        shard=Shard(rank, world),
        workers=_workers(config),
    )


def factors_of(config: Config, dataset: DetectionDataset) -> np.ndarray | None:
    """How often each training image comes in an epoch on average, as `sampler` says; None: once."""
    if config.sampler == "shuffle":
        return None
    return repeat_factors((record.labels[~record.crowd] for record in dataset.records), config.repeat_threshold)


def _layout(config: Config, batch_size: int, learns: bool) -> BatchLayout:
    normalizer = Normalizer(config.img_mean, config.img_std, config.to_rgb)
    options = config.mask_options if learns else None
    masks = None if options is None else MaskSize(options.crop_size, options.divider)
    return BatchLayout(batch_size, config.input_hw, config.num_gts, normalizer, masks, config.turning_hw)


def _workers(config: Config) -> WorkerOptions:
    return WorkerOptions(config.num_parallel_workers, config.python_multiprocessing, ImageRules.of(config))


def _augmentation(config: Config) -> list[Transform]:
    transforms = train_transforms(
        (config.img_height, config.img_width),
        config.keep_ratio,
        flip_ratio=config.flip_ratio,
        expand_ratio=config.expand_ratio,
        ratio_range=config.ratio_range,
        fill=config.img_mean if config.to_rgb else config.img_mean[::-1],
        photo_ratio=config.photo_ratio,
        channel_order_ratio=config.channel_order_ratio,
        iou_crop_ratio=config.iou_crop_ratio,
    )
    instaboost = _instaboost(config)
    return transforms if instaboost is None else [instaboost, *transforms]


def _instaboost(config: Section) -> Transform | None:
    return build_instaboost(config) if isinstance(config, InstaBoostKeys) else None


def _plain_transforms(config: Config) -> list[Transform]:
    return train_transforms((config.img_height, config.img_width), config.keep_ratio)


def _check_category_ids(config: Config, dataset: DetectionDataset) -> None:
    if config.category_ids and list(config.category_ids) != dataset.category_ids:
        raise UserError(
            f"{dataset.annotation_file}: its category ids in the order of coco_classes are {dataset.category_ids}, "
            f"category_ids says {list(config.category_ids)}; correct category_ids or leave it empty"
        )


def _note_crowded(dataset: DetectionDataset, num_gts: int) -> None:
    """Say once that images have more objects than training can take."""
    crowded = [record for record in dataset.records if np.count_nonzero(~record.crowd) > num_gts]
    if crowded:
        dataset.problems.append(
            f"{len(crowded)} images have more than num_gts ({num_gts}) objects, the first: {crowded[0].name}; "
            f"only the {num_gts} largest are learnt"
        )

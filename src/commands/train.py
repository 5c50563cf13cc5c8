"""The work of train.py: data, device and starting point, then the training loop."""

from contextlib import ExitStack
from pathlib import Path

from src.common.file_lock import sole_user
from src.common.leftovers import remove_leftovers
from src.data.builders import build_eval_loader, build_train_loader
from src.data.open_dataset import check_or_pack_dataset
from src.engine.starting_point import checkpoint_to_resume
from src.engine.stop_request import StopRequest
from src.engine.trainer import Trainer, Validation
from src.evaluation.coco_evaluator import CocoEvaluator
from src.model_utils.device_adapter import setup_device
from src.schema import Config


def train(config: Config) -> None:
    """Train as the configuration says; everything is written under `train_outputs/brief`.

    Raises:
        UserError: bad data, checkpoints or devices; a loss that is not finite.
    """
    check_or_pack_dataset(config, training=True)
    if config.run_eval:
        check_or_pack_dataset(config, training=False)
    device = setup_device(config)
    folder = Path(config.train_outputs) / config.brief
    with ExitStack() as stack:
        if device.is_main:
            for written in sorted({folder.resolve(), config.checkpoint_folder.resolve()}):
                stack.enter_context(sole_user(written, "training"))
                remove_leftovers(written)
        checkpoint = checkpoint_to_resume(config, folder)
        train_loader = build_train_loader(config, device.rank, device.world)
        stack.callback(train_loader.close)
        validation = None
        if config.run_eval:
            eval_loader = build_eval_loader(config, device.rank, device.world, learns=config.val_loss)
            stack.callback(eval_loader.close)
            validation = Validation(eval_loader, CocoEvaluator.for_dataset(eval_loader.dataset, config.iou_types))
        trainer = Trainer(config, device, folder, train_loader, validation, checkpoint)
        stack.callback(trainer.close)
        trainer.run(stack.enter_context(StopRequest()))

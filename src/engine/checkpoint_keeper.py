"""Which checkpoints of a run stay on disk, and under which names."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from mindspore import nn

from src.engine.main_metric import MainMetric
from src.weights.checkpoint import Averages, TrainingState, point_to, save_training_state


class CheckpointKeeper:
    """Writes the checkpoints of a run and removes those in excess.

    Files: `step_00000100.ckpt` (the newest `keep_last`), `best_epoch_003_AP_0.4123.ckpt` (the best `keep_best`, by the
    metric that the name says), and the names `last.ckpt` and `best.ckpt` for the newest and the best of all. A
    periodical checkpoint may have more names, symbolic links that go with it.

    Args:
        folder: where they go; created when missing.
        keep_last: number of periodical checkpoints kept.
        keep_best: number of best checkpoints kept.
        averages: of the weights, by their names; saved with them.
        metric: what is best; None: AP.
    """

    def __init__(
        self,
        folder: str | Path,
        keep_last: int,
        keep_best: int,
        averages: Averages | None = None,
        metric: MainMetric | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.averages, self.metric = averages, metric or MainMetric()
        self.keep_last, self.keep_best = keep_last, keep_best

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.folder / "last.ckpt"

    @property
    def best(self) -> Path:
        """The best checkpoint."""
        return self.folder / "best.ckpt"

    def save_last(self, net: nn.Cell, optimizer: nn.Cell, state: TrainingState, also: Sequence[str] = ()) -> Path:
        """Write a periodical checkpoint, remove those beyond the newest `keep_last`.

        Args:
            net: network.
            optimizer: its optimizer.
            state: where the training stands.
            also: more names for the file. A file system without symbolic links has none of them.

        Returns:
            Path of the checkpoint.
        """
        path = self.folder / f"step_{state.step:08d}.ckpt"
        save_training_state(path, net, optimizer, state, self.averages)
        point_to(self.last, path)
        for name in also:
            _link(self.folder / name, path.name)
        for old in sorted(self.folder.glob("step_*.ckpt"))[: -self.keep_last]:
            old.unlink()
        for link in self.folder.glob("*.ckpt"):
            if link.is_symlink() and link.readlink().match("step_*.ckpt") and not link.exists():
                link.unlink()
        return path

    def save_best(self, net: nn.Cell, optimizer: nn.Cell, state: TrainingState, metric: float) -> Path | None:
        """Write a checkpoint when `metric` is among the best `keep_best` so far; None when it is not."""
        kept = self._best_files()
        if len(kept) >= self.keep_best and not self.metric.is_better(metric, kept[-1][0]):
            return None
        path = self.folder / f"best_epoch_{state.epoch:03d}_{self.metric.label}_{metric:.4f}.ckpt"
        save_training_state(path, net, optimizer, state, self.averages)
        if not kept or not self.metric.is_better(kept[0][0], metric):
            point_to(self.best, path)
        for _, old in self._best_files()[self.keep_best :]:
            if old != path:
                old.unlink()
        return path

    def _best_files(self) -> list[tuple[float, Path]]:
        """(metric, file), the best first."""
        files = []
        for path in self.folder.glob("best_epoch_*.ckpt"):
            found = re.fullmatch(rf"best_epoch_\d+_{re.escape(self.metric.label)}_(-?\d+\.\d+)\.ckpt", path.name)
            if found:
                files.append((float(found[1]), path))
        sign = -1 if self.metric.grows else 1
        return sorted(files, key=lambda item: (sign * item[0], item[1].name))


def _link(link: Path, target: str) -> None:
    """A symbolic link to a file beside it, unless a file that is none has its name."""
    if link.exists() and not link.is_symlink():
        return
    temporary = link.with_name(f".{link.name}.tmp")
    temporary.unlink(missing_ok=True)
    with suppress(OSError, NotImplementedError):
        temporary.symlink_to(target)
        temporary.replace(link)

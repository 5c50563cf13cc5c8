"""Checkpoints: round trip, strictness, damage, and which files stay."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from src.common.errors import UserError
from src.engine.checkpoint_keeper import CheckpointKeeper
from src.engine.main_metric import MainMetric
from src.engine.train_step import Updater
from src.weights.checkpoint import (
    TrainingState,
    load_checkpoint_weights,
    load_fitting_weights,
    load_training_state,
    load_weights,
    save_training_state,
    save_weights,
)
from tests.common.full_disk import file_size_limit
from tests.engine.toy_detector import ToyDetector, toy_batch


def trained(steps: int, net=None, optimizer=None, first: int = 0):
    net = net or ToyDetector()
    optimizer = optimizer or nn.Adam(net.trainable_params(), learning_rate=0.1)
    update = Updater(net, optimizer)
    losses = [update([toy_batch(4, i)], 0.1).asnumpy() for i in range(first, first + steps)]
    return net, optimizer, losses


def test_training_continues_as_if_it_had_never_stopped(tmp_path) -> None:
    _, _, whole = trained(6)
    net, optimizer, _ = trained(3)
    state = TrainingState(step=3, epoch=1, step_in_epoch=2, loss_sum=1.5, best_metric=0.25, config={"lr": 0.1})
    save_training_state(tmp_path / "a.ckpt", net, optimizer, state)
    fresh = ToyDetector(seed=9)
    fresh_optimizer = nn.Adam(fresh.trainable_params(), learning_rate=0.1)
    assert load_training_state(tmp_path / "a.ckpt", fresh, fresh_optimizer) == state
    _, _, rest = trained(3, fresh, fresh_optimizer, first=3)
    np.testing.assert_allclose(rest, whole[3:], rtol=1e-6)


def test_weights_come_back_without_optimizer_state(tmp_path) -> None:
    net, optimizer, _ = trained(1)
    save_training_state(tmp_path / "a.ckpt", net, optimizer, TrainingState())
    arrays = load_checkpoint_weights(tmp_path / "a.ckpt")
    assert sorted(arrays) == ["head.bias", "head.weight"]
    np.testing.assert_array_equal(arrays["head.weight"], net.weight.asnumpy())


def test_strict_loading_names_every_difference_and_changes_nothing() -> None:
    net = ToyDetector()
    before = net.weight.asnumpy()
    # `moments.head.weight` must not be taken for `head.weight`
    with pytest.raises(UserError) as caught:
        load_weights(net, {"moments.head.weight": np.zeros((3, 4), np.float32), "head.bias": np.zeros(5, np.float32)})
    for part in ("missing head.weight", "unexpected moments.head.weight", "head.bias has shape (5,), the network (4,)"):
        assert part in str(caught.value)
    np.testing.assert_array_equal(net.weight.asnumpy(), before)


def test_fitting_weights_are_loaded_and_the_others_reported() -> None:
    net = ToyDetector()
    problems = load_fitting_weights(
        net, {"head.weight": np.ones((3, 4), np.float32), "head.bias": np.ones(7, np.float32)}
    )
    assert problems == ["head.bias has shape (7,), the network (4,)"]
    assert (net.weight.asnumpy() == 1).all() and (net.bias.asnumpy() == 0).all()


def test_damage_is_noticed(tmp_path) -> None:
    path = tmp_path / "a.ckpt"
    save_weights(path, {"w": np.arange(1000, dtype=np.float32)})
    content = bytearray(path.read_bytes())
    for name, changed in {
        "flipped": content[:2000] + bytes([content[2000] ^ 1]) + content[2001:],
        "truncated": content[: len(content) // 2],
        "empty": b"",
        "text": b"no checkpoint at all",
    }.items():
        broken = tmp_path / f"{name}.ckpt"
        broken.write_bytes(changed)
        with pytest.raises(UserError, match=f"{name}.ckpt"):
            load_checkpoint_weights(broken)
    with pytest.raises(UserError, match="does not exist"):
        load_checkpoint_weights(tmp_path / "none.ckpt")
    with pytest.raises(UserError, match=r"convert_weights\.py"):
        (tmp_path / "weights.pth").write_bytes(b"x")
        load_checkpoint_weights(tmp_path / "weights.pth")


def test_weights_alone_cannot_be_resumed(tmp_path) -> None:
    net, optimizer, _ = trained(1)
    save_weights(tmp_path / "w.ckpt", {name: p.asnumpy() for name, p in net.parameters_dict().items()})
    with pytest.raises(UserError, match="holds weights alone"):
        load_training_state(tmp_path / "w.ckpt", net, optimizer)


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.ckpt"
    save_weights(path, {"w": np.ones(3, np.float32)})

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("interrupted")

    monkeypatch.setattr(ms, "save_checkpoint", fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        save_weights(path, {"w": np.zeros(3, np.float32)})
    assert load_checkpoint_weights(path)["w"].tolist() == [1, 1, 1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ckpt"]


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    net, optimizer, _ = trained(1)
    path = tmp_path / "a.ckpt"
    save_training_state(path, net, optimizer, TrainingState(step=1))
    before = path.read_bytes()
    with file_size_limit(100), pytest.raises(UserError, match=r"a\.ckpt: cannot write this file \(File too large\)"):
        save_training_state(path, net, optimizer, TrainingState(step=2))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ckpt"]
    assert not caplog.records


def test_the_keeper_keeps_the_newest_and_the_best(tmp_path) -> None:
    net, optimizer, _ = trained(1)
    keeper = CheckpointKeeper(tmp_path, keep_last=2, keep_best=2)
    for epoch, metric in enumerate([0.3, 0.1, 0.5, 0.2, 0.4], 1):
        state = TrainingState(step=10 * epoch, epoch=epoch)
        keeper.save_last(net, optimizer, state)
        keeper.save_best(net, optimizer, state, metric)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "best.ckpt",
        "best_epoch_003_AP_0.5000.ckpt",
        "best_epoch_005_AP_0.4000.ckpt",
        "last.ckpt",
        "step_00000040.ckpt",
        "step_00000050.ckpt",
    ]
    assert keeper.best.read_bytes() == (tmp_path / "best_epoch_003_AP_0.5000.ckpt").read_bytes()
    assert keeper.last.read_bytes() == (tmp_path / "step_00000050.ckpt").read_bytes()


def test_of_losses_the_keeper_keeps_the_lowest(tmp_path) -> None:
    net, optimizer, _ = trained(1)
    (tmp_path / "best_epoch_009_AP_0.9000.ckpt").touch()  # of another metric, before the training was resumed
    keeper = CheckpointKeeper(tmp_path, keep_last=2, keep_best=2, metric=MainMetric("val_loss"))
    for epoch, loss in enumerate([1.3, 1.1, 0.5, 1.2, 0.8], 1):
        keeper.save_best(net, optimizer, TrainingState(step=10 * epoch, epoch=epoch), loss)
    names = sorted(path.name for path in tmp_path.glob("best_*"))
    assert names == [
        "best_epoch_003_val_loss_0.5000.ckpt",
        "best_epoch_005_val_loss_0.8000.ckpt",
        "best_epoch_009_AP_0.9000.ckpt",
    ]
    assert keeper.best.samefile(tmp_path / "best_epoch_003_val_loss_0.5000.ckpt")


def test_the_keepers_links_go_with_their_checkpoints(tmp_path) -> None:
    net, optimizer, _ = trained(1)
    keeper = CheckpointKeeper(tmp_path, keep_last=2, keep_best=1)
    (tmp_path / "elsewhere.ckpt").symlink_to("/not/mounted/now.ckpt")
    for epoch in (1, 2, 3, 3):  # the last one again, as after a resumption
        state = TrainingState(step=10 * epoch, epoch=epoch)
        keeper.save_last(net, optimizer, state, [f"refinedet-{epoch}_10.ckpt"])
    links = {path.name: path.readlink().name for path in tmp_path.iterdir() if path.is_symlink()}
    assert links.pop("elsewhere.ckpt") == "now.ckpt", "only links to periodical checkpoints go"
    assert links == {"refinedet-2_10.ckpt": "step_00000020.ckpt", "refinedet-3_10.ckpt": "step_00000030.ckpt"}
    assert (tmp_path / "refinedet-3_10.ckpt").read_bytes() == keeper.last.read_bytes()
    assert load_training_state(tmp_path / "refinedet-2_10.ckpt", net, optimizer).epoch == 2

"""Weights by name: what the zoo lists is there, whole, and fits its configuration; every other name is one line."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from src.commands import publish_weights as publishing
from src.commands.publish_weights import Subject, publish_weights
from src.common.checksum import sha256_of
from src.common.errors import UserError
from src.common.zoo_name import output_path
from src.config import load_config
from src.models import build_detector
from src.predictor.saved_config import config_of_checkpoint
from src.weights import load_checkpoint_weights, save_weights, zoo
from src.weights.zoo import PublishedWeights, ShippedWeights, zoo_config, zoo_entries, zoo_file
from tests.conftest import ROOT
from tests.end_to_end.commands import environment

ENTRIES = zoo_entries()
SHIPPED = [name for name, entry in ENTRIES.items() if isinstance(entry, ShippedWeights)]
PUBLISHED = {name: entry for name, entry in ENTRIES.items() if isinstance(entry, PublishedWeights)}
CONFIG = "configs/demo/refinedet.yaml"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_fit_their_network_and_have_a_card(name: str) -> None:
    entry = ENTRIES[name]
    stored = load_file(zoo_file(f"zoo:{name}"))
    net = build_detector(load_config(zoo_config(f"zoo:{name}")))
    assert {key: array.shape for key, array in stored.items()} == {
        key: tuple(parameter.shape) for key, parameter in net.parameters_dict().items()
    }
    card = (ROOT / f"zoo/{name}.md").read_text()
    for fact in (entry.data, entry.licence, entry.recipe, entry.commit, entry.sha256, entry.config):
        assert fact in card
    words = shlex.split(entry.recipe)
    assert words[:4] == ["python", "train.py", "--config_path", entry.config]


def test_every_file_of_the_zoo_is_listed() -> None:
    files = {path.name for path in (ROOT / "zoo").glob("*.safetensors")}
    assert files == {ENTRIES[name].file for name in SHIPPED}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_say_where_they_are(name: str) -> None:
    entry = PUBLISHED[name]
    assert (ROOT / entry.config).is_file()
    file = entry.url.rpartition("/")[2]
    assert file in entry.step
    if entry.sha256_prefix:  # the convention of torch.hub: the checksum's first digits end the file's name
        assert Path(file).stem.endswith(f"-{entry.sha256_prefix}")
    with pytest.raises(UserError) as error:
        load_checkpoint_weights(f"zoo:{name}")
    assert str(error.value).startswith(f"zoo:{name} is not shipped: download {entry.url} (")
    assert "\n" not in str(error.value) and str(error.value).endswith(f"then {entry.step}")


def test_a_program_ends_with_one_line_where_weights_are_not_shipped(tmp_path: Path) -> None:
    words = [sys.executable, ROOT / "infer.py", "--checkpoint_path", "zoo:mask_rcnn_r50_fpn", "--pred_input", "x"]
    done = subprocess.run(
        [*words, "--pred_output", "y"], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: zoo:mask_rcnn_r50_fpn is not shipped: download https://")
    assert "python convert_weights.py --config_path configs/instaboost/mask_rcnn_r50_fpn.yaml" in line


def test_an_unknown_name_is_one_line_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"^zoo:mask_rcnn_r50: .* no such entry; did you mean mask_rcnn_r50_fpn, "):
        config_of_checkpoint({"checkpoint_path": "zoo:mask_rcnn_r50"})
    with pytest.raises(UserError, match=r"no such entry; there are .*vgg16"):
        load_checkpoint_weights("zoo:")


class Zoo:
    """A zoo of its own with one entry, a."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "a.safetensors"
        self.arrays = {"backbone.weight": np.array([1.0, 2.0**-12, -3.5], np.float32)}
        zoo.store_weights(self.file, self.arrays, np.float16)
        facts = ShippedWeights("a.safetensors", sha256_of(self.file), CONFIG, "d", "MIT", "r", {"bbox_mAP": 0.5}, "c")
        (folder / "weights.json").write_bytes(zoo.ENTRIES.dump_json({"a": facts}))


@pytest.fixture
def own_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    monkeypatch.setattr(zoo, "ZOO", tmp_path)
    return Zoo(tmp_path)


def test_weights_come_as_float32_with_their_configuration(own_zoo: Zoo) -> None:
    found = load_checkpoint_weights("zoo:a")
    assert found["backbone.weight"].dtype == np.float32
    np.testing.assert_array_equal(found["backbone.weight"], own_zoo.arrays["backbone.weight"])
    config = config_of_checkpoint({"checkpoint_path": "zoo:a", "img_width": "192"})
    assert config is not None
    assert (config.brief, config.img_width, config.checkpoint_path) == ("refinedet", 192, "zoo:a")


def test_a_changed_file_is_refused(own_zoo: Zoo) -> None:
    content = bytearray(own_zoo.file.read_bytes())
    content[-1] ^= 1
    own_zoo.file.write_bytes(content)
    with pytest.raises(UserError, match=r"^zoo:a: .*a\.safetensors is damaged: its SHA-256 .* git checkout -- zoo/a"):
        load_checkpoint_weights("zoo:a")
    own_zoo.file.unlink()
    with pytest.raises(UserError, match=r"^zoo:a: .*a\.safetensors does not exist; get it again"):
        load_checkpoint_weights("zoo:a")


@pytest.mark.parametrize("content", ["{", '{"a": {"file": "../x.safetensors"}}', "[]", '{"a": {"url": "u"}}'])
def test_a_broken_list_is_one_line(own_zoo: Zoo, content: str) -> None:
    (own_zoo.folder / "weights.json").write_text(content)
    with pytest.raises(UserError, match="no list of weights"):
        load_checkpoint_weights("zoo:a")


def test_files_about_weights_of_the_zoo_go_where_the_program_runs() -> None:
    assert output_path("zoo:a") == Path("a")
    assert output_path("b/c.ckpt") == Path("b/c.ckpt")


class TestPublishing:
    """The maker of entries, with a stand-in for the evaluation."""

    @staticmethod
    def publish(folder: Path, monkeypatch: pytest.MonkeyPatch, values: list[float]) -> ShippedWeights:
        """Publish weights whose evaluations give `values` of AP, one after the other."""
        (folder / "weights.json").write_text("{}")
        given = iter(values)

        def evaluation(config):
            assert list(load_checkpoint_weights(config.checkpoint_path)) == ["x.gamma"]
            ap = next(given)
            return SimpleNamespace(stats={"bbox_mAP": ap, "bbox_mAP_50": ap + 0.2}), None, None

        monkeypatch.setattr(publishing, "evaluate_checkpoint", evaluation)
        trained = load_config(ROOT / CONFIG, {"seed": 3, "lr": 0.003, "img_mean": [1, 2, 3], "brief": "other"})
        path = folder / "best.ckpt"
        save_weights(path, {"x.gamma": np.array([0.1, 7.0], np.float32)}, trained)
        config = load_config(ROOT / CONFIG, {"checkpoint_path": str(path)})
        return publish_weights(config, Subject("shapes", "drawn shapes", "none needed"), folder)

    def test_an_entry_and_its_card(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        entry = self.publish(tmp_path, monkeypatch, [0.5, 0.499])
        assert zoo_entries(tmp_path) == {"shapes": entry}
        assert entry.ap == {"bbox_mAP": 0.499, "bbox_mAP_50": 0.699}
        assert (
            entry.recipe == f"python train.py --config_path {CONFIG} --seed 3 --lr 0.003 --img_mean '[1.0, 2.0, 3.0]'"
        )
        assert entry.sha256 == sha256_of(tmp_path / "shapes.safetensors")
        assert load_file(tmp_path / "shapes.safetensors")["x.gamma"].dtype == np.float16
        card = (tmp_path / "shapes.md").read_text()
        assert "| bbox_mAP | 0.500 | 0.499 |" in card and "drawn shapes" in card

    def test_float32_where_float16_costs_ap(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        entry = self.publish(tmp_path, monkeypatch, [0.5, 0.497, 0.5])
        assert load_file(tmp_path / entry.file)["x.gamma"].dtype == np.float32
        assert entry.ap["bbox_mAP"] == 0.5
        assert "stored as float32" in (tmp_path / "shapes.md").read_text()

    def test_what_cannot_be_published(self, tmp_path: Path) -> None:
        save_weights(tmp_path / "bare.ckpt", {"x": np.ones(1, np.float32)})
        config = load_config(ROOT / CONFIG, {"checkpoint_path": str(tmp_path / "bare.ckpt")})
        with pytest.raises(UserError, match="holds no configuration"):
            publish_weights(config, Subject("a", "d", "l"), tmp_path)
        with pytest.raises(UserError, match="--name a/b: letters"):
            publish_weights(config, Subject("a/b", "d", "l"), tmp_path)
        (tmp_path / "own.yaml").write_text(json.dumps({"base": str(ROOT / CONFIG)}))
        own = load_config(tmp_path / "own.yaml", {"checkpoint_path": str(tmp_path / "bare.ckpt")})
        with pytest.raises(UserError, match="must be a file of this project"):
            publish_weights(own, Subject("a", "d", "l"), tmp_path)

    def test_the_tool_asks_for_what_only_a_person_knows(self) -> None:
        words = [sys.executable, ROOT / "tools/publish_weights.py", "--config_path", ROOT / CONFIG]
        words += ["--checkpoint_path", "best.ckpt", "--name", "shapes", "--data", "drawn shapes"]
        done = subprocess.run(words, env=environment(), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (2, "error: --licence is missing: of the data\n")

"""Optimizers with weight decay on weights only."""

from mindspore import Parameter, nn

from src.schema import Config

NO_DECAY_SUFFIXES = (".gamma", ".beta", ".bias")


def decay_groups(parameters: list[Parameter], weight_decay: float) -> list[dict]:
    """Parameter groups: convolution and dense weights decay, batch normalization and biases do not."""
    decayed = [p for p in parameters if not p.name.endswith(NO_DECAY_SUFFIXES)]
    others = [p for p in parameters if p.name.endswith(NO_DECAY_SUFFIXES)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def build_optimizer(config: Config, parameters: list[Parameter]) -> nn.Optimizer:
    """The optimizer that `config.opt_type` names; its learning rate is set step by step from outside.

    sgd is momentum as in PyTorch (v = momentum * v + g; p -= lr * v).
    """
    groups = decay_groups(parameters, config.weight_decay)
    if config.opt_type == "sgd":
        return nn.Momentum(groups, learning_rate=config.lr, momentum=config.momentum)
    if config.opt_type == "adam":
        return nn.Adam(groups, learning_rate=config.lr, beta1=config.momentum)
    return nn.AdamWeightDecay(groups, learning_rate=config.lr, beta1=config.momentum)

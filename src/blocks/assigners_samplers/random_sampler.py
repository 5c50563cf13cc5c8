"""A random choice of positives and negatives in a fixed proportion (Ren et al. 2015; mmdetection's RandomSampler)."""

from typing import NamedTuple

import numpy as np
from mindspore import Tensor, nn, ops


class SamplerOptions(NamedTuple):
    """How many a `RandomSampler` chooses.

    Attributes:
        num: priors to choose per image.
        pos_fraction: greatest share of positives among them.
        neg_pos_ub: most negatives for each positive (an image without positives counts as having one); negative: no
            such bound.
    """

    num: int
    pos_fraction: float
    neg_pos_ub: float = -1.0


class RandomSampler(nn.Cell):
    """Chooses at most `num * pos_fraction` positives of each image and fills up to `num` with negatives.

    Candidates are taken in a random order: a fixed permutation of all priors, turned by an offset that depends on the
    seed and on the image's place in the batch. The same seed gives the same choice.

    Args:
        num_priors: most priors P per image; there may be fewer of them, but not fewer than `num`.
        options: how many to choose.
        table_seed: seed of the permutation.
    """

    def __init__(self, num_priors: int, options: SamplerOptions, table_seed: int = 0) -> None:
        super().__init__()
        self.num_priors = num_priors
        self.num = min(options.num, num_priors)
        self.max_positives = min(int(options.num * options.pos_fraction), num_priors)
        self.max_total = options.num
        self.neg_pos_ub = options.neg_pos_ub
        # Distinct integers, which float32 holds exactly: no ties. Twice in a row: to turn is to read further on.
        ranks = np.random.default_rng(table_seed).permutation(num_priors).astype(np.float32)
        self.ranks = Tensor(np.concatenate([ranks, ranks]))

    def construct(self, assigned: Tensor, seed: Tensor) -> tuple[Tensor, Tensor]:
        """The choice as masks over all priors.

        Args:
            assigned: int32 [B,P] from an assigner: -1 ignored, 0 negative, positive above.
            seed: int32 scalar; another one draws anew.

        Returns:
            Chosen positives and chosen negatives, both bool [B,P].
        """
        return self.choose(assigned, self.order(assigned.shape[0], assigned.shape[1], seed))

    def order(self, batch: int, priors: int, seed: Tensor) -> Tensor:
        """Ranks of the priors in the random order: float32 [batch,priors], integers 0..num_priors-1."""
        # Steps by primes within int32, since seeds often count up: neighbours should not turn to similar places.
        image = ops.arange(batch).astype("int32").expand_dims(1)
        state = (seed.astype("int32") % 65521 * 8191 + image * 127) % 1000003
        offset = state * 1999 % self.num_priors
        places = ops.arange(priors).astype("int32").expand_dims(0) + offset
        return ops.gather(self.ranks, places, 0)

    def choose(self, assigned: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """`construct` with a given order float32 [B,P]."""
        positive, wanted = self._first(assigned > 0, order, self.max_positives, None)
        room = self.max_total - wanted
        if self.neg_pos_ub >= 0:
            room = ops.minimum(room, ops.floor(ops.clamp(wanted, 1.0, None) * self.neg_pos_ub))
        negative, _ = self._first(assigned == 0, order, self.num, room)
        return positive, negative

    def choose_rows(self, assigned: Tensor, seed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The choice as rows of fixed number S = min(num, P): positives first, then negatives.

        Args:
            assigned: int32 [B,P].
            seed: int32 scalar.

        Returns:
            index: int32 [B,S], places of the chosen priors; of unused rows too, which come last.
            positive: bool [B,S].
            negative: bool [B,S]; neither for an unused row.
        """
        order = self.order(assigned.shape[0], assigned.shape[1], seed)
        positive, negative = self.choose(assigned, order)
        count = self.num_priors
        # Three groups that follow one another, random order within each.
        group = 2.0 - 2 * positive.astype("float32") - negative.astype("float32")
        rank, index = ops.topk(-(order + group * count), self.num)
        return index.astype("int32"), rank > -count, ops.logical_and(rank <= -count, rank > -2 * count)

    def _first(self, candidate: Tensor, order: Tensor, most: int, room: Tensor | None) -> tuple[Tensor, Tensor]:
        """The first candidates in the order: bool [B,P] and how many, float32 [B,1].

        Args:
            candidate: bool [B,P].
            order: float32 [B,P].
            most: greatest number of them.
            room: float32 [B,1], a further bound that differs from image to image, or None.
        """
        if most == 0:
            return ops.logical_and(candidate, order < 0), ops.zeros_like(order[:, :1])
        count = candidate.astype("float32")
        taken = ops.clamp(count.sum(axis=1, keepdims=True), None, float(most))
        if room is not None:
            taken = ops.minimum(taken, room)
        # Earlier is greater from here on, and 0 is no candidate.
        earliness = (self.num_priors - order) * count
        best, _ = ops.topk(earliness, most)
        last = ops.gather_elements(best, 1, ops.clamp(taken - 1, 0.0, None).astype("int32"))
        return ops.logical_and(ops.logical_and(candidate, earliness >= last), taken > 0), taken

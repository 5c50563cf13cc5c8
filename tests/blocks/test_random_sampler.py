import mindspore as ms
import numpy as np
import pytest

from src.blocks.assigners_samplers import RandomSampler, SamplerOptions

COUNT = 500


def assignment(positives: int, negatives: int) -> ms.Tensor:
    """One image: objects 1, 2, 3, ... and background scattered among the ignored."""
    assigned = np.full(COUNT, -1, np.int32)
    places = np.random.default_rng(0).permutation(COUNT)
    assigned[places[:positives]] = np.arange(positives) % 7 + 1
    assigned[places[positives : positives + negatives]] = 0
    return ms.Tensor(assigned[None])


def seed(value: int) -> ms.Tensor:
    return ms.Tensor(value, ms.int32)


@pytest.mark.parametrize(
    "positives, negatives, neg_pos_ub, expected",
    [
        (200, 200, -1, (16, 48)),
        (5, 200, -1, (5, 59)),
        (0, 200, -1, (0, 64)),
        (5, 20, -1, (5, 20)),
        (5, 200, 3, (5, 15)),
        (0, 200, 3, (0, 3)),
        (16, 200, 10, (16, 48)),
        (0, 0, -1, (0, 0)),
    ],
)
def test_how_many_are_chosen(positives, negatives, neg_pos_ub, expected, pynative):
    assigned = assignment(positives, negatives)
    sampler = RandomSampler(COUNT, SamplerOptions(64, 0.25, neg_pos_ub))
    chosen = [x.asnumpy()[0] for x in sampler(assigned, seed(1))]
    assert tuple(x.sum() for x in chosen) == expected
    row = assigned.asnumpy()[0]
    assert (row[chosen[0]] > 0).all() and (row[chosen[1]] == 0).all()
    index, positive, negative = (x.asnumpy()[0] for x in sampler.choose_rows(assigned, seed(1)))
    used = sum(expected)
    assert len(index) == 64 and len(set(index)) == 64
    assert positive.tolist() == [i < expected[0] for i in range(64)]
    assert negative.tolist() == [expected[0] <= i < used for i in range(64)]
    assert set(index[positive]) == set(np.flatnonzero(chosen[0]))
    assert set(index[negative]) == set(np.flatnonzero(chosen[1]))


def test_nothing_is_dropped_where_there_is_room_for_all():
    assigned = assignment(123, 300)
    index, positive, negative = RandomSampler(COUNT, SamplerOptions(10**7, 0.5)).choose_rows(assigned, seed(0))
    row = assigned.asnumpy()[0]
    index = index.asnumpy()[0]
    assert sorted(index) == list(range(COUNT))
    assert (row[index[positive.asnumpy()[0]]] > 0).sum() == 123 and negative.asnumpy().sum() == 300


def test_a_seed_repeats_its_choice_and_another_draws_anew(pynative):
    sampler = RandomSampler(COUNT, SamplerOptions(64, 0.5))
    assigned = ms.Tensor(np.repeat(assignment(200, 200).asnumpy(), 2, 0))
    first, again, other = ([x.asnumpy() for x in sampler(assigned, seed(s))] for s in (7, 7, 8))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any() and (first[1] != other[1]).any()
    assert (first[0][0] != first[0][1]).any()  # images of a batch too


def test_every_candidate_has_its_chance(pynative):
    assigned = assignment(100, 300)
    sampler = RandomSampler(COUNT, SamplerOptions(40, 0.5))
    counts = sum(sampler(assigned, seed(s))[0].asnumpy()[0].astype(int) for s in range(60))
    drawn = counts[assigned.asnumpy()[0] > 0]
    # Each of 100 is drawn with probability 1/5: 12 +- 3.1 times if the draws are independent.
    assert drawn.sum() == 60 * 20 and drawn.min() > 1 and drawn.max() < 26


def test_seeds_of_any_size(pynative):
    sampler = RandomSampler(COUNT, SamplerOptions(64, 0.5))
    for value in (-(2**31), -1, 2**31 - 1):
        order = sampler.order(3, COUNT, seed(value)).asnumpy()
        assert (np.sort(order, 1) == np.arange(COUNT)).all()

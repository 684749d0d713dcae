from medprior.finetune import order
from medprior.finetune.order import EpochOrder, epoch_order


def test_an_epoch_is_a_permutation_of_its_own():
    first, second = epoch_order(0, 1, 50).tolist(), epoch_order(0, 2, 50).tolist()
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first == epoch_order(0, 1, 50).tolist() != epoch_order(1, 1, 50).tolist()


def test_going_on_inside_an_epoch_leaves_out_what_was_seen_once():
    sampler = EpochOrder(20, seed=0)
    sampler.epoch = 3
    whole = list(sampler)
    sampler.skip = 8
    assert list(sampler) == whole[8:]
    assert list(sampler) == whole


def test_processes_share_an_epoch(monkeypatch):
    parts = []
    for rank in (0, 1, 2):
        monkeypatch.setattr(order, "world", lambda: 3)
        monkeypatch.setattr(order, "rank", lambda rank=rank: rank)
        parts.append(list(EpochOrder(20, seed=0)))
    assert {len(part) for part in parts} == {7}
    assert set().union(*parts) == set(range(20))

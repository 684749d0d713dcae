from medprior.finetune.data import epoch_sampler
from medprior.finetune.data.epoch_sampler import EpochSampler, shuffle_epoch


def test_an_epoch_is_a_permutation_of_its_own():
    first, second = shuffle_epoch(0, 1, 50).tolist(), shuffle_epoch(0, 2, 50).tolist()
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first == shuffle_epoch(0, 1, 50).tolist() != shuffle_epoch(1, 1, 50).tolist()


def test_going_on_inside_an_epoch_leaves_out_what_was_seen_once():
    sampler = EpochSampler(20, seed=0)
    sampler.epoch = 3
    whole = list(sampler)
    sampler.skip = 8
    assert list(sampler) == whole[8:]
    assert list(sampler) == whole


def test_processes_share_an_epoch(monkeypatch):
    parts = []
    for rank in (0, 1, 2):
        monkeypatch.setattr(epoch_sampler, "world_size", lambda: 3)
        monkeypatch.setattr(epoch_sampler, "process_rank", lambda rank=rank: rank)
        parts.append(list(EpochSampler(20, seed=0)))
    assert {len(part) for part in parts} == {7}
    assert set().union(*parts) == set(range(20))


def test_the_order_is_padded_from_its_start_for_several_processes(monkeypatch):
    order = shuffle_epoch(0, 1, 20).tolist()
    monkeypatch.setattr(epoch_sampler, "world_size", lambda: 3)
    parts = []
    for rank in (0, 1, 2):
        monkeypatch.setattr(epoch_sampler, "process_rank", lambda rank=rank: rank)
        parts.append(list(EpochSampler(20, seed=0)))
    assert parts == [order[0::3], order[1::3], order[2::3] + order[:1]]

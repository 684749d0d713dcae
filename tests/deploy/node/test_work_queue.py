"""The queue on disk: nothing is lost or doubled, wherever the process is killed."""

import os
import stat

import pytest

from medprior.deploy.node.work_queue import WorkQueue


def test_radiographs_are_taken_in_order_of_arrival_and_only_once(tmp_path):
    queue = WorkQueue(tmp_path)
    names = [queue.add(bytes([number])) for number in range(3)]
    taken = [queue.take() for _ in range(4)]
    assert [item.name for item in taken[:3]] == names
    assert taken[3] is None
    assert [item.attempts for item in taken[:3]] == [1, 1, 1]
    queue.release(taken[0])
    assert queue.take().attempts == 2


def test_files_are_their_owners_alone_and_names_say_nothing(tmp_path):
    queue = WorkQueue(tmp_path / "queue")
    queue.add(b"DOE^JANE")
    queue.finish(queue.take(), {"seg": b"DOE^JANE"})
    for path in (tmp_path / "queue").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
        assert "DOE" not in path.name


def test_objects_wait_in_the_order_they_were_built_until_they_are_sent(tmp_path):
    queue = WorkQueue(tmp_path)
    for content in (b"a", b"b"):
        queue.add(content)
        queue.finish(queue.take(), {"sr": b"1" + content, "seg": b"2" + content})
    assert queue.count_files() == {"incoming": 0, "outgoing": 4, "failed": 0}
    paths = queue.list_outgoing()
    assert [path.read_bytes() for path in paths] == [b"1a", b"2a", b"1b", b"2b"]
    queue.remove_sent(paths[0])
    assert paths[0].parent.exists()
    queue.remove_sent(paths[1])
    assert not paths[0].parent.exists()
    assert [path.read_bytes() for path in WorkQueue(tmp_path).list_outgoing()] == [b"1b", b"2b"]


def test_a_radiograph_without_objects_leaves_nothing(tmp_path):
    queue = WorkQueue(tmp_path)
    queue.add(b"x")
    queue.finish(queue.take(), {})
    assert queue.count_files() == {"incoming": 0, "outgoing": 0, "failed": 0}


def test_what_failed_is_tried_again_at_the_next_start(tmp_path):
    queue = WorkQueue(tmp_path)
    queue.add(b"bad")
    queue.add(b"good")
    queue.fail(queue.take())
    queue.finish(queue.take(), {"seg": b"1", "sr": b"2"})
    first, _ = queue.list_outgoing()
    queue.fail_object(first)
    assert queue.count_files() == {"incoming": 0, "outgoing": 1, "failed": 2}
    again = WorkQueue(tmp_path)
    assert again.count_files() == {"incoming": 1, "outgoing": 2, "failed": 0}
    item = again.take()
    assert (item.path.read_bytes(), item.attempts) == (b"bad", 1)


class KilledError(BaseException):
    """Stands for kill -9: nothing that would clean up catches it by its name."""


@pytest.mark.parametrize("step", range(1, 9))
def test_a_kill_at_any_step_loses_and_doubles_nothing(step, tmp_path, monkeypatch):
    """The process ends before one of the system calls that change the disk; the next one goes on."""
    queue, calls = WorkQueue(tmp_path), [0]

    def count(original):
        def call(*arguments, **options):
            calls[0] += 1
            if calls[0] == step:
                raise KilledError
            return original(*arguments, **options)

        return call

    acknowledged = built = False
    with monkeypatch.context() as patched:
        for name in ("replace", "unlink", "mkdir", "rename", "rmdir"):
            patched.setattr(os, name, count(getattr(os, name)))
        try:
            queue.add(b"picture")
            acknowledged = True
            queue.finish(queue.take(), {"seg": b"1", "sr": b"2"})
            built = True
        except KilledError:
            pass
    again = WorkQueue(tmp_path)
    counts = again.count_files()
    whole = [path.read_bytes() for path in again.list_outgoing()] == [b"1", b"2"]
    if built:
        assert whole
        assert counts["incoming"] == 0
    elif acknowledged:
        assert (counts["incoming"], whole) in {(1, False), (0, True)}
        assert counts["outgoing"] in {0, 2}
    names = [path.name for path in tmp_path.rglob("*") if path.name.startswith(".")]
    assert names == []

"""What comes back from a decoding process is data, and only as much as is allowed."""

import json
import socket
import threading
import time

import numpy as np
import pytest

from medprior.workers.messages import LENGTH_PREFIX, MessageError, receive_exactly, receive_message, send_message


@pytest.fixture
def ends():
    one, other = socket.socketpair()
    yield one, other
    one.close()
    other.close()


def raw(channel, head, body=b""):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    channel.sendall(LENGTH_PREFIX.pack(len(text)) + text + body)


def test_facts_and_arrays_arrive_as_they_were_sent(ends):
    arrays = [
        np.arange(2_000_000, dtype="f4").reshape(1000, 2000)[:, ::2],
        np.eye(5, dtype=bool),
        np.arange(6, dtype="u2").reshape(2, 3),
        np.zeros((0, 0), dtype="f4"),
    ]
    facts = {"path": "na\udcffme", "n": [1, 2.5, None]}
    sender = threading.Thread(target=send_message, args=(ends[0], facts, arrays))
    sender.start()
    got, there = receive_message(ends[1], time.monotonic() + 20)
    sender.join()
    assert got == facts
    for sent, came in zip(arrays, there, strict=True):
        np.testing.assert_array_equal(sent, came)
        assert sent.dtype == came.dtype


@pytest.mark.parametrize(
    "head",
    [
        b"not json", b"[]", b"{}", b"\xff\xfe", {"facts": {}, "arrays": 3},
        {"facts": 3, "arrays": []},
        {"facts": {}, "arrays": [["<f8", [2]]]}, {"facts": {}, "arrays": [["|O", [2]]]},
        {"facts": {}, "arrays": [["<f4", [-2]]]}, {"facts": {}, "arrays": [["<f4", ["x"]]]},
        {"facts": {}, "arrays": [["<f4", [10**6, 10**6]]]}, {"facts": {}, "arrays": [["V8", [1]]]},
        {"facts": {}, "arrays": [["<f4", [2**40]]]}, {"facts": {}, "arrays": [["nonsense", [1]]]},
    ],
)  # fmt: skip
def test_nonsense_is_no_message(ends, head):
    raw(ends[0], head, bytes(64))
    with pytest.raises(MessageError):
        receive_message(ends[1], time.monotonic() + 5)


def test_a_long_head_is_not_waited_for(ends):
    ends[0].sendall(LENGTH_PREFIX.pack(2**50))
    with pytest.raises(MessageError, match="not a message"):
        receive_message(ends[1], time.monotonic() + 5)


@pytest.mark.parametrize("part", [b"", b"\1\2", LENGTH_PREFIX.pack(100) + b"{"])
def test_silence_and_halves_are_late_or_gone(ends, part):
    ends[0].sendall(part)
    start = time.monotonic()
    with pytest.raises(MessageError) as caught:
        receive_message(ends[1], start + 0.2)
    assert caught.value.timed_out
    assert time.monotonic() - start < 5
    ends[0].close()
    with pytest.raises(MessageError) as caught:
        receive_message(ends[1], time.monotonic() + 5)
    assert not caught.value.timed_out


def test_nobody_listens(ends):
    start = time.monotonic()
    with pytest.raises(MessageError) as caught:
        send_message(ends[0], {}, [np.zeros(10_000_000, "u1")], start + 0.3)
    assert caught.value.timed_out
    ends[1].close()
    with pytest.raises(MessageError):
        send_message(ends[0], {}, [], time.monotonic() + 1)


def test_a_head_has_at_most_a_mebibyte(ends):
    for length, is_read in ((2**20, True), (2**20 + 1, False)):
        head = b'{"facts": {}, "arrays": []}'.ljust(length)
        sender = threading.Thread(target=raw, args=(ends[0], head))
        sender.start()
        if is_read:
            assert receive_message(ends[1], time.monotonic() + 20) == ({}, [])
            sender.join()
    with pytest.raises(MessageError, match="not a message"):
        receive_message(ends[1], time.monotonic() + 20)
    rest = np.empty(2**20 + 1, np.uint8)
    assert receive_exactly(ends[1], rest, time.monotonic() + 20).tobytes() == head
    sender.join()


def test_the_arrays_of_a_message_have_at_most_the_allowed_bytes(ends):
    arrays = [np.zeros(3, "<f4"), np.zeros(4, "u1")]
    send_message(ends[0], {}, arrays)
    assert len(receive_message(ends[1], time.monotonic() + 20, max_bytes=16)[1]) == 2
    send_message(ends[0], {}, arrays)
    with pytest.raises(MessageError, match="not a message"):
        receive_message(ends[1], time.monotonic() + 20, max_bytes=15)

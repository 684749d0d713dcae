"""Messages as bytes that nothing shows."""

import pickle
import sys

import numpy as np
import pytest

from medprior.workers.secret_bytes import SecretBytes, pack_message, unpack_message


def test_only_the_number_of_bytes_shows():
    secret = SecretBytes(b"CANARY")
    assert repr(secret) == str(secret) == "SecretBytes(6 bytes)"
    assert sys.getsizeof(secret) >= 70
    assert pickle.loads(pickle.dumps(secret)).content == b"CANARY"


def test_a_message_comes_back_with_all_its_arrays():
    arrays = [
        np.arange(6, dtype="<u2").reshape(2, 3)[:, ::2],
        np.zeros((0, 4), "<f4"),
        np.array([[True], [False]]),
        np.array(7, "u1"),
    ]
    facts, unpacked = unpack_message(pack_message({"name": "na\udcffme", "n": None}, arrays))
    assert facts == {"name": "na\udcffme", "n": None}
    assert [array.tolist() for array in unpacked] == [[[0, 2], [3, 5]], [], [[True], [False]], 7]
    assert [(array.dtype, array.shape) for array in unpacked] == [(array.dtype, array.shape) for array in arrays]


def test_the_head_is_preceded_by_its_length_in_little_endian():
    content = pack_message({}, [np.array([1, 2], "u1")]).content
    head = b'{"facts": {}, "arrays": [["|u1", [2]]]}'
    assert content == bytes([len(head), 0, 0, 0, 0, 0, 0, 0]) + head + b"\1\2"


@pytest.mark.parametrize(
    "head", [b'{"facts": {}, "arrays": [["<f8", [1]]]}', b'{"facts": {}, "arrays": [["|u1", [9]]]}', b"no head"]
)
def test_other_types_too_few_bytes_and_nonsense_are_no_message(head):
    with pytest.raises(ValueError):
        unpack_message(SecretBytes(len(head).to_bytes(8, "little") + head + bytes(8)))

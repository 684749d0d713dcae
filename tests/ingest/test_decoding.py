import pytest

from medprior.ingest.decoding import serialize_source
from medprior.ingest.plan import ImageSource
from medprior.workers.secret_bytes import SecretBytes, pack_message, unpack_message
from tests.ingest.radiograph_files import CANARY


def test_what_travels_is_sealed():
    message = serialize_source(ImageSource(f"/data/{CANARY}.dcm", "a", "a", None, ()))
    sealed = pack_message(message, [])
    assert CANARY not in repr(sealed) + str(sealed)
    assert unpack_message(sealed) == (message, [])
    objects = b'{"facts": {}, "arrays": [["|O", [1]]]}'
    with pytest.raises(ValueError, match="not a message"):
        unpack_message(SecretBytes(len(objects).to_bytes(8, "little") + objects + bytes(8)))

"""Settings that are safe to open with."""

import pytest

from medprior.errors import MedpriorError
from medprior.pages.access import AccessSettings, read_token
from tests.pages.servers import TOKEN


def test_settings_are_safe_only_with_a_token_or_on_loopback(tmp_path):
    with pytest.raises(MedpriorError, match="without a token"):
        AccessSettings(host="0.0.0.0").require_safe()
    with pytest.raises(MedpriorError, match="too easy"):
        AccessSettings(token="short").require_safe()
    assert AccessSettings(host="0.0.0.0", token=TOKEN).require_safe().allows_host("192.168.1.5")
    assert not AccessSettings(host="0.0.0.0", token=TOKEN).allows_host("evil.example")
    assert not AccessSettings().allows_host("192.168.1.5")
    assert TOKEN not in repr(AccessSettings(token=TOKEN))
    path = tmp_path / "token"
    with pytest.raises(MedpriorError, match="no token"):
        read_token(path)
    path.write_text(f"{TOKEN}\n")
    assert AccessSettings(token=read_token(path)).secret == TOKEN
    assert read_token(None) is None

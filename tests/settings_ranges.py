"""Ranges of settings: the ends are accepted, what lies beyond is refused by name."""

import pytest

from medprior.errors import ConfigError

SHARE = ((0, 1), (-0.01, 1.01))
"""Accepted and refused values of a share."""
POSITIVE = ((0.01,), (0,))
NOT_NEGATIVE = ((0,), (-0.01,))


def count_from(least):
    """Accepted and refused values of a whole number."""
    return (least,), (least - 1,)


def check_range(settings, section, field, accepted, refused):
    """`settings` accepts and refuses these values of a field; `section` is "" for its own fields."""

    def read(value):
        values = {field: value}
        checked = settings.from_values({section: values} if section else values)
        return getattr(getattr(checked, section) if section else checked, field)

    for value in accepted:
        assert read(value) == value
    for value in refused:
        with pytest.raises(ConfigError, match=f"{section}.{field}" if section else field):
            read(value)

"""Keeps figures readable where names have characters that the plotting font lacks."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@lru_cache(maxsize=1)
def list_font_characters() -> frozenset[int]:
    """Code points of matplotlib's default font."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def escape_missing_glyphs(text: str) -> str:
    r"""`text` with characters that the font lacks as escapes, as `\u5fc3`: boxes would make names look alike."""
    known = list_font_characters()
    return "".join(
        char if ord(char) in known or char == "\n" else char.encode("ascii", "backslashreplace").decode()
        for char in text
    )


def escape_figure_text(figure: Figure) -> None:
    """Escape, in place, missing glyphs in every text of a finished figure, tick labels included."""
    from matplotlib.text import Text

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = [label.get_text() for label in axis.get_ticklabels()]
            escaped = [escape_missing_glyphs(label) for label in labels]
            # The ticks' formatter would write the old labels again.
            if escaped != labels:
                axis.set_ticks(axis.get_majorticklocs(), escaped)
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(escape_missing_glyphs(text.get_text()))

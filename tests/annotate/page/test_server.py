"""The command that serves the page."""

from tests.annotate.page.browser import command


def test_ending_without_a_drawing_is_no_success(tmp_path):
    process = command(tmp_path)
    process.stdout.readline()
    process.terminate()
    _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "nothing was saved" in error

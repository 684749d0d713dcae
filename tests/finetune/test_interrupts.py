import os
import signal
import threading

import pytest

from medprior.finetune.interrupts import STOP_SIGNALS, StopRequest, catch_stop_signals


@pytest.fixture(autouse=True)
def handlers():
    """Handlers of the test's own, put back at its end."""
    kept = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        signal.signal(number, own_handler)
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def own_handler(number, _):
    raise RuntimeError(f"the program's own handler of {number}")


def current_handlers():
    return [signal.getsignal(number) for number in STOP_SIGNALS]


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_the_first_signal_is_recorded_and_a_second_would_end_the_program(number):
    with catch_stop_signals() as request:
        assert not request
        assert own_handler not in current_handlers()
        os.kill(os.getpid(), number)
        assert request
        assert request.signal == number
        assert current_handlers() == [signal.SIG_DFL, signal.SIG_DFL]
    assert current_handlers() == [own_handler, own_handler]


def test_handlers_come_back_after_an_error():
    with pytest.raises(ValueError, match="in the block"), catch_stop_signals():
        raise ValueError("in the block")
    assert current_handlers() == [own_handler, own_handler]


def test_a_given_request_is_used():
    given = StopRequest()
    with catch_stop_signals(given) as request:
        assert request is given
        os.kill(os.getpid(), signal.SIGTERM)
    assert given.signal == signal.SIGTERM


def test_another_thread_leaves_handlers_alone():
    seen = []

    def run():
        with catch_stop_signals() as request:
            seen.extend([bool(request), current_handlers()])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False, [own_handler, own_handler]]


def test_the_program_ends_as_the_signal_would_end_it():
    request = StopRequest()
    request.signal = signal.SIGTERM
    with pytest.raises(SystemExit) as left:
        request.exit()
    assert left.value.code == 128 + signal.SIGTERM
    request.signal = signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        request.exit()

"""Message handlers that run in the limited processes of the sandbox's tests; imported there by name."""

import ctypes
import os
import resource
import signal
import socket
import time
from pathlib import Path

import numpy as np


def build_echo(greeting):
    """Answer with the greeting and the facts; arrays come back doubled."""

    def answer(facts, arrays):
        print("this text must not reach the caller's output")
        return {"greeting": greeting, "facts": facts, "pid": os.getpid()}, [2 * array for array in arrays]

    return answer


def build_misbehaviour():
    """Do what the message says: take memory, take processor time, or be killed by a signal."""

    def answer(facts, arrays):
        if "megabytes" in facts:
            try:
                return {"taken": len(np.ones(facts["megabytes"] << 20, np.uint8)) >> 20}, []
            except MemoryError:
                return {"taken": 0}, []
        if "signal" in facts:
            os.kill(os.getpid(), getattr(signal, facts["signal"]))
        end = time.process_time() + facts["seconds"]
        while time.process_time() < end:
            continue
        return {"done": True}, []

    return answer


def read_file(path, _):
    return Path(path).read_text()


def write_file(path, _):
    Path(path).write_text("planted")
    return "written"


def append_to_file(path, _):
    with open(path, "a") as file:
        file.write("planted")
    return "written"


def change_mode(path, _):
    Path(path).chmod(0o644)
    return "changed"


def list_folder(path, _):
    return [child.name for child in Path(path).parent.iterdir()]


def remove_file(path, _):
    Path(path).unlink()
    return "removed"


def connect_to_port(_, number):
    with socket.create_connection(("127.0.0.1", number), timeout=5):
        return "connected"


def listen_on_port(_, __):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        return "listening"


def send_datagram(_, number):
    with socket.socket(type=socket.SOCK_DGRAM) as channel:
        channel.sendto(b"stolen", ("127.0.0.1", number))
        return "sent"


def fork_child(path, _):
    """A child in a session of its own, which outlives its parent and leaves a mark."""
    child = os.fork()
    if not child:
        os.setsid()
        time.sleep(1)
        Path(path).write_text("planted")
        time.sleep(60)
        os._exit(0)
    return child


def fork_quiet_child(_, __):
    """A child in the same process group."""
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    return child


def run_program(_, __):
    os.execv("/bin/true", ["/bin/true"])


def signal_other_process(_, number):
    os.kill(number, signal.SIGTERM)
    return "sent"


def trace_other_process(_, number):
    library = ctypes.CDLL(None, use_errno=True)
    if library.ptrace(16, number, None, None):
        raise OSError(ctypes.get_errno(), "ptrace")
    return "attached"


def raise_memory_limit(_, __):
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return "raised"


def make_memory_file(_, __):
    return os.memfd_create("hidden")


def read_environment(_, __):
    """Environment of this process and of its fork server, as the kernel shows it and as Python does."""
    texts = [repr(dict(os.environ))]
    for name in ("self", str(os.getppid())):
        try:
            texts.append(Path("/proc", name, "environ").read_text())
        except OSError:
            texts.append("")
    return "".join(texts)


def list_descriptors(_, __):
    """Every open descriptor but the standard ones."""
    numbers = []
    for number in range(3, 256):
        try:
            os.fstat(number)
        except OSError:
            continue
        numbers.append(number)
    return numbers


def read_limits(_, __):
    names = ("RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE")
    return {name: resource.getrlimit(getattr(resource, name)) for name in names}


def disarm_timer(_, __):
    """Switch the processor time limit off and go on for ever."""
    signal.setitimer(signal.ITIMER_PROF, 0)
    while True:
        continue


def start_thread(_, __):
    import threading

    thread = threading.Thread(target=time.sleep, args=(0,))
    thread.start()
    thread.join()
    return "started"


ATTACKS = {
    function.__name__: function
    for function in (
        read_file, write_file, append_to_file, change_mode, list_folder, remove_file, connect_to_port, listen_on_port,
        send_datagram, fork_child, fork_quiet_child, run_program, signal_other_process, trace_other_process,
        raise_memory_limit, make_memory_file, read_environment, list_descriptors, read_limits, disarm_timer,
        start_thread,
    )
}  # fmt: skip


def build_compromised_decoder():
    """Do what an attacker who has taken over a decoder would try; say what came of it."""

    def answer(facts, arrays):
        if "descriptors" in facts:
            return {"contents": [os.pread(number, 100, 0).decode() for number in facts["descriptors"]]}, []
        try:
            return {"result": ATTACKS[facts["attack"]](facts.get("text"), facts.get("number"))}, []
        except OSError as error:
            return {"refused": error.errno}, []
        except ValueError as error:
            return {"refused": str(error)}, []

    return answer

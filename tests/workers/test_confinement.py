"""A decoder that an attacker has taken over: it reads no key, opens no socket and leaves no child."""

import ctypes
import os
import platform
import socket
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path

import pytest

from medprior.workers.confinement import build_environment
from medprior.workers.file_access import list_library_folders
from medprior.workers.messages import MessageError, receive_message, send_message
from medprior.workers.sandbox import READY_MESSAGE, ProcessLimits, SandboxedProcess
from medprior.workers.system_call_filter import MACHINES, build_filter_program
from tests.workers.handlers import build_compromised_decoder

PRELOAD = ("tests.workers.handlers", "medprior.workers.sandbox")
LIMITS = ProcessLimits(memory_mb=100, cpu_seconds=5, wall_seconds=20)


@lru_cache(maxsize=1)
def has_landlock():
    """Asked of the kernel without medprior."""
    return ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) > 0


@lru_cache(maxsize=1)
def has_seccomp():
    """Whether a process may install a filter that allows everything; asked without medprior."""
    code = (
        "import ctypes, struct\n"
        "program = struct.pack('<HBBI', 6, 0, 0, 0x7fff0000)\n"
        "class P(ctypes.Structure): _fields_ = [('n', ctypes.c_ushort), ('p', ctypes.c_char_p)]\n"
        "l = ctypes.CDLL(None); l.prctl(38, 1, 0, 0, 0)\n"
        "raise SystemExit(l.prctl(22, 2, ctypes.byref(P(1, program))) != 0)\n"
    )
    return (
        platform.machine() in MACHINES
        and not subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode
    )


needs_landlock = pytest.mark.skipif(not has_landlock(), reason="this kernel or container has no Landlock")
needs_seccomp = pytest.mark.skipif(not has_seccomp(), reason="this kernel, container or machine has no filter")


def start_process(*arguments, limits=LIMITS):
    process = SandboxedProcess(build_compromised_decoder, arguments, limits, PRELOAD)
    assert receive_message(process.channel, time.monotonic() + 60) == (READY_MESSAGE, [])
    return process


@pytest.fixture(scope="module")
def decoder():
    process = start_process()
    yield process
    process.end()


def attack(process, name, text=None, number=None):
    deadline = time.monotonic() + 20
    send_message(process.channel, {"attack": name, "text": text, "number": number}, (), deadline)
    return receive_message(process.channel, deadline)[0]


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "identity.key"
    path.write_text("the key")
    path.chmod(0o600)
    return path


@needs_landlock
@pytest.mark.parametrize("name", ["read_file", "write_file", "append_to_file", "list_folder", "remove_file"])
def test_it_reaches_no_file_by_its_path(decoder, key, name):
    assert "refused" in attack(decoder, name, str(key))
    assert key.read_text() == "the key"


@needs_landlock
@pytest.mark.parametrize("path", ["/proc/self/environ", "/etc/passwd", "/proc/1/cmdline"])
def test_it_reads_neither_processes_nor_settings(decoder, path):
    assert "refused" in attack(decoder, "read_file", path)


@needs_seccomp
@pytest.mark.parametrize("name", ["write_file", "append_to_file", "change_mode", "remove_file"])
def test_the_filter_alone_keeps_it_from_changing_files(decoder, key, name):
    assert "refused" in attack(decoder, name, str(key))
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("the key", 0o600)


@needs_seccomp
@pytest.mark.parametrize("name", ["connect_to_port", "listen_on_port", "send_datagram"])
def test_it_opens_no_socket(decoder, name):
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert "refused" in attack(decoder, name, number=server.getsockname()[1])
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


@needs_seccomp
@pytest.mark.parametrize("name", ["fork_child", "fork_quiet_child", "run_program"])
def test_it_starts_no_process(decoder, tmp_path, name):
    assert attack(decoder, name, str(tmp_path / "mark")) == {"refused": 1}
    assert decoder.is_alive


@needs_seccomp
@pytest.mark.parametrize("name", ["signal_other_process", "trace_other_process"])
def test_it_touches_no_other_process(decoder, name):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as victim:
        assert "refused" in attack(decoder, name, number=victim.pid)
        time.sleep(0.1)
        assert victim.poll() is None
        victim.communicate(b"\n", timeout=300)


@needs_seccomp
@pytest.mark.parametrize("name", ["raise_memory_limit", "make_memory_file"])
def test_it_gets_no_more_memory_than_it_was_given(decoder, name):
    assert "refused" in attack(decoder, name)


def test_threads_are_allowed_to_root(decoder):
    if os.getuid() != 0:
        pytest.skip("the limit on processes binds threads too")
    assert attack(decoder, "start_thread") == {"result": "started"}


def test_it_holds_no_descriptor_but_its_channel(decoder):
    numbers = attack(decoder, "list_descriptors")["result"]
    assert len(numbers) == 1


def test_its_limits_are_low(decoder):
    limits = attack(decoder, "read_limits")["result"]
    assert limits["RLIMIT_NPROC"] == [0, 0]
    assert limits["RLIMIT_CORE"] == [0, 0]
    assert limits["RLIMIT_FSIZE"] == [100 * 2**20] * 2
    assert limits["RLIMIT_NOFILE"][1] <= 256


SECRET_SCRIPT = """
import os, sys, time
from medprior.workers.messages import receive_message, send_message
from medprior.workers.sandbox import ProcessLimits, SandboxedProcess
from tests.workers.handlers import build_compromised_decoder
process = SandboxedProcess(build_compromised_decoder, (), ProcessLimits(), ("tests.workers.handlers",))
receive_message(process.channel, time.monotonic() + 60)
send_message(process.channel, {"attack": "read_environment"})
print(receive_message(process.channel, time.monotonic() + 60)[0]["result"])
for number in (process.pid, process._popen and int(open(f"/proc/{process.pid}/stat").read().split()[3])):
    print(open(f"/proc/{number}/environ").read())
"""


def test_no_secret_of_the_callers_environment_reaches_it_or_its_server():
    root = str(Path(__file__).parents[2])
    environment = {
        **os.environ,
        "PYTHONPATH": root,
        "AWS_SECRET_ACCESS_KEY": "planted-secret",
        "MLFLOW_TOKEN": "planted",
    }
    done = subprocess.run(
        [sys.executable, "-c", SECRET_SCRIPT],
        env=environment, capture_output=True, text=True, timeout=120, check=True, cwd=root,
    )  # fmt: skip
    assert "OMP_NUM_THREADS" in done.stdout
    assert "planted" not in done.stdout
    assert "AWS" not in done.stdout


def test_the_environment_of_the_server_is_a_short_list(monkeypatch):
    monkeypatch.setenv("MEDPRIOR_IDENTITY_KEY", "/secret/key")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    environment = build_environment()
    assert environment["PYTHONPATH"] == "/somewhere"
    assert "MEDPRIOR_IDENTITY_KEY" not in environment
    assert "PATH" not in environment


def test_given_files_are_read_from_their_descriptors_and_closed(decoder, tmp_path):
    for text in ("first", "second"):
        (tmp_path / "file").write_text(text)
        with open(tmp_path / "file", "rb") as file:
            send_message(decoder.channel, {}, (), time.monotonic() + 20, [file.fileno(), file.fileno()])
        facts, _ = receive_message(decoder.channel, time.monotonic() + 20)
        assert facts == {"contents": [text, text]}
    assert len(attack(decoder, "list_descriptors")["result"]) == 1


def test_a_decoder_that_disarms_its_timer_is_ended_by_its_owner():
    process = start_process()
    send_message(process.channel, {"attack": "disarm_timer"})
    with pytest.raises(MessageError) as caught:
        receive_message(process.channel, time.monotonic() + 1.0)
    assert caught.value.timed_out
    process.end()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_an_unprivileged_user_starts_no_process_without_a_filter_either():
    code = (
        "import os, sys, time\n"
        "from medprior.workers.confinement import limit_resources\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "limit_resources(100)\n"
        "try: os.fork()\n"
        "except BlockingIOError: print('refused')\n"
    )
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout == "refused\n", done.stderr


def test_ending_a_process_ends_its_group(tmp_path):
    """Without a filter a child may exist: it is ended together with its parent."""
    code = (
        "import os, time, sys\n"
        "from medprior.workers.sandbox import kill_process_group\n"
        "class Started:\n"
        "    def __init__(self, pid): self.pid = pid\n"
        "    def poll(self): return None\n"
        "    def kill(self): os.kill(self.pid, 9)\n"
        "read, write = os.pipe()\n"
        "parent = os.fork()\n"
        "if not parent:\n"
        "    os.setsid(); child = os.fork()\n"
        "    if not child: time.sleep(60); os._exit(0)\n"
        "    os.write(write, str(child).encode()); time.sleep(60); os._exit(0)\n"
        "child = int(os.read(read, 20))\n"
        "kill_process_group(Started(parent)); os.waitpid(parent, 0); time.sleep(0.2)\n"
        "state = open(f'/proc/{child}/stat').read().split()[2] if os.path.exists(f'/proc/{child}') else 'gone'\n"
        "print(state in ('gone', 'Z', 'X'))\n"
    )
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout == "True\n", done.stderr


def test_readable_folders_hold_libraries_and_not_the_current_folder():
    folders = list_library_folders()
    assert Path(os.__file__).parent.is_relative_to(next(f for f in folders if Path(os.__file__).is_relative_to(f)))
    for place in (Path.home(), Path("/tmp"), Path("/etc"), Path("/proc"), Path(__file__).parents[2]):
        assert not any(place.is_relative_to(folder) for folder in folders), place


@pytest.mark.parametrize("machine", MACHINES)
def test_jumps_of_the_filter_stay_inside_it(machine):
    program = build_filter_program(machine, 1)
    count = len(program) // 8
    assert count < 4096
    for index in range(count):
        true_jump, false_jump = program[8 * index + 2], program[8 * index + 3]
        assert index + 1 + max(true_jump, false_jump) < count or program[8 * index] == 6

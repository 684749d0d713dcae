"""Message handlers that run in the limited processes of the sandbox's tests; imported there by name."""

import os
import signal
import time

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

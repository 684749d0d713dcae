"""A process of the tests of `RequestProcess`: python -m tests.workers.waiting_process GREETING FD."""

import os
import subprocess
import sys
import time

from medprior.errors import MedpriorError, Rejected
from medprior.workers.request_process import answer_requests


def answer(facts, arrays):
    """Do what the request says."""
    print("this text must reach nobody")
    match facts["do"]:
        case "count":
            for number in range(facts["to"]):
                yield {"greeting": sys.argv[1], "number": number, "pid": os.getpid()}, [number * a for a in arrays]
                time.sleep(facts.get("pause", 0))
        case "refuse":
            raise MedpriorError("too few", where="arrays", fix="send more")
        case "reject":
            raise Rejected("flat", "no radiograph")
        case "fail":
            raise ValueError("/a/secret/path")
        case "exit":
            os._exit(3)
        case "start":
            child = subprocess.Popen(["sleep", "100"])
            yield {"pid": child.pid}, []


if __name__ == "__main__":
    answer_requests(int(sys.argv[-1]), answer)

"""Page faults tell whether memory is asked of the system again; a process of its own, for it changes the heap."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, threading, sys
import numpy as np
from models.heap import keep_freed_memory, return_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1])

def passes(count):
    for _ in range(count):
        blocks = [np.ones(3 << 17) for _ in range(8)]  # 3 MB each
        del blocks

def measured():
    passes(3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    passes(20)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    kept = resident()
    return_freed_memory()
    print(kept - resident())

if sys.argv[1] == "keep":
    keep_freed_memory()
thread = threading.Thread(target=measured)
thread.start()
thread.join()
"""


def faults_and_returned_pages(mode):
    result = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    faults, returned = map(int, result.stdout.split())
    return faults, returned


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's heap is Linux's")
def test_a_thread_keeps_what_it_freed_until_it_is_returned():
    usual_faults, _ = faults_and_returned_pages("leave")
    faults, returned = faults_and_returned_pages("keep")

    assert faults < usual_faults / 10
    assert returned > 5_000

import subprocess
import sys

import pytest

BLOCK, TIMES = 64 << 20, 10

ALLOCATE = f"""
import ctypes, resource, sys
from tailproof.core.process import keep_freed_memory

def received():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def allocate():
    block = malloc.malloc({BLOCK})
    ctypes.memset(block, 1, {BLOCK})
    malloc.free(block)

if sys.argv[1] == "keep":
    keep_freed_memory()
malloc = ctypes.CDLL(None)
malloc.malloc.restype, malloc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
malloc.free.argtypes = [ctypes.c_void_p]
start = received()
allocate()
first = received() - start
for time in range({TIMES}):
    allocate()
print((received() - start - first) / first)
"""


@pytest.mark.parametrize(("memory", "times"), [("keep", 0), ("give back", TIMES)])
def test_freed_memory_that_is_kept_is_allocated_again_without_its_pages_anew(memory, times):
    command = [sys.executable, "-c", ALLOCATE, memory]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(times, abs=0.5)

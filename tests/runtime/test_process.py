import gc
import os
import subprocess
import sys

import pytest

from tailproof.runtime.process import gc_paused, limit_spinning

BLOCK, TIMES = 64 << 20, 10

ALLOCATE = f"""
import ctypes, resource, sys
from tailproof.runtime.process import tune_malloc

def received():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def allocate():
    block = malloc.malloc({BLOCK})
    ctypes.memset(block, 1, {BLOCK})
    malloc.free(block)

if sys.argv[1] == "keep":
    tune_malloc()
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


@pytest.fixture
def collector():
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize("enabled", [True, False])
def test_what_is_imported_is_no_garbage_to_look_for(collector, enabled):
    gc.enable() if enabled else gc.disable()
    gc.unfreeze()
    with pytest.raises(ImportError), gc_paused():
        assert not gc.isenabled()
        kept = [[]]
        raise ImportError
    assert gc.isenabled() is enabled
    assert gc.get_freeze_count() > 0
    assert not any(each is kept for each in gc.get_objects())  # which a collection looks through


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "20000"),
        ({"GOMP_SPINCOUNT": "5"}, "5"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None),
    ],
)
def test_threads_that_wait_sleep_soon_unless_the_user_decides(monkeypatch, given, expected):
    monkeypatch.setattr(os, "environ", given)
    limit_spinning()
    assert os.environ.get("GOMP_SPINCOUNT") == expected

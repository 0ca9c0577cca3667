"""The C library's heap: how many of them threads make."""

import platform
import subprocess
import sys

import pytest

# Sixteen threads hold memory at once; then the C library lists its heaps.
HEAPS = """
import ctypes, re, sys, tempfile, threading
from resprune.device import limit_arenas

if sys.argv[1] == "limited":
    limit_arenas()
together = threading.Barrier(16)

def hold():
    block = bytearray(100_000)
    together.wait()

threads = [threading.Thread(target=hold) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(len(re.findall(rb"<heap nr=", file.read())))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_threads_share_two_heaps():
    def heaps(how: str) -> int:
        return int(subprocess.run([sys.executable, "-c", HEAPS, how], check=True, capture_output=True).stdout)

    assert heaps("limited") == 2
    assert heaps("free") > 4

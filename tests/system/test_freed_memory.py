"""Memory that is freed and taken again, counted in page faults of a process with glibc's own allocator."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PROGRAM = """
import os, platform, resource, sys
import numpy as np
if platform.libc_ver()[0] != "glibc":
    print("not glibc")
    sys.exit()
import keras
from pneumonia.training import loading

class Zeros(keras.utils.PyDataset):
    def __len__(self):
        return 4
    def __getitem__(self, index):
        return np.zeros((2, 1), np.float32), np.zeros((2, 1), np.float32)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(2**17)  # 1 MiB, 256 pages; NumPy asks for larger pages from 4 MiB on
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
network.compile("sgd", "mse", jit_compile=False)
if sys.argv[1] == "as TensorFlow leaves it":
    loading.keep_freed_memory = lambda: None
for _ in range(2):
    with loading.BatchLoader(Zeros(), 1) as loader:
        network.fit(loader, shuffle=False, verbose=0)
print(faults())
"""


def count(way):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LD_PRELOAD", "MALLOC_"))}
    command = [sys.executable, "-P", "-c", PROGRAM, way]
    env |= {"PYTHONPATH": str(SOURCE), "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() == "not glibc":
        pytest.skip("another C library")
    return int(done.stdout)


def test_freed_memory_is_used_again_after_a_fit():
    """If the first line fails TensorFlow no longer changes the setting, and system/freed_memory.py can go."""
    assert count("as TensorFlow leaves it") >= 20 * 256
    assert count("ours") < 3 * 256

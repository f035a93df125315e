"""A job as training is one: steps, each ending in a checkpoint, under a lock; killed, it goes on from the last.

python stepper.py FOLDER STEPS [OPTION...]: `exit=CODE` fails at the end; `pause=STEP` waits there while FOLDER/pause
exists; `meet=OTHER` waits at the start until the job in folder OTHER has started too.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

from pneumonia.system.files import atomic_write, exclusive_lock, write_json

folder, steps = Path(sys.argv[1]), int(sys.argv[2])
options = dict(word.split("=", 1) for word in sys.argv[3:])
KEPT = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def wait_for(condition):
    while not condition():
        time.sleep(0.02)


with exclusive_lock(folder / "lock", "stepper"):
    write_json(folder / "started.json", {"parent": os.getppid(), **{name: os.environ.get(name) for name in KEPT}})
    if "meet" in options:
        wait_for(lambda: (Path(options["meet"]) / "started.json").exists())
    try:
        checkpoint = folder / "checkpoint.json"
        state = json.loads(checkpoint.read_text()) if checkpoint.exists() else {"step": 0, "weights": ""}
        print(f"from step {state['step']} of {steps}", file=sys.stderr, flush=True)
        for step in range(state["step"], steps):
            if str(step) == options.get("pause") and (folder / "pause").exists():
                (folder / "paused").touch()
                wait_for(lambda: not (folder / "pause").exists())
            state = {"step": step + 1, "weights": hashlib.sha256(f"{state['weights']} {step}".encode()).hexdigest()}
            write_json(checkpoint, state)
    except KeyboardInterrupt:
        (folder / "interrupted").touch()
        sys.exit(130)
    if code := int(options.get("exit", 0)):
        print("this job fails", file=sys.stderr)
        sys.exit(code)
    with atomic_write(folder / "weights") as file:
        file.write(state["weights"])

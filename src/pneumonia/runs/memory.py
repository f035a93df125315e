"""Short memory as one line that says what to try."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pneumonia import schema
from pneumonia.runs.checkpoint import checkpoints
from pneumonia.runs.precision import on_gpu
from pneumonia.runs.run import Run
from pneumonia.system.errors import EnvironmentFailure

EPOCH_KEPT = "the checkpoint of the epoch before is kept"


# TensorFlow's and JAX's own, the CUDA driver's, and that of cuDNN and cuBLAS
SIGNS_OF_SHORT_MEMORY = ("ResourceExhausted", "RESOURCE_EXHAUSTED", "CUDA_ERROR_OUT_OF_MEMORY", "STATUS_ALLOC_FAILED")


@contextlib.contextmanager
def memory_errors_explained(experiment: schema.Experiment, folder: Path | None = None, fix: str = "") -> Iterator[None]:
    """Inside, what a backend raises where memory is short becomes one line that says what to try.

    Args:
        folder: of a run that is being trained, to say what of it is kept.
        fix: what to try; by default a smaller batch or a smaller network.

    Raises:
        EnvironmentFailure: memory is short.
    """
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        if not (isinstance(error, MemoryError) or any(sign in text for sign in SIGNS_OF_SHORT_MEMORY)):
            raise
        memory = "GPU memory" if on_gpu() else "memory"
        what = f"{memory} is short at batch_size={experiment.batch_size}"
        raise EnvironmentFailure(
            "; ".join(filter(None, (what, kept_files(folder), fix or smaller_batch(experiment))))
        ) from error


def kept_files(folder: Path | None) -> str:
    """What a training that ends here leaves in its run's folder."""
    if folder is None:
        return ""
    if Run(folder).weights.exists():
        return "the trained weights are kept"
    return EPOCH_KEPT if checkpoints(folder) else ""


def smaller_batch(experiment: schema.Experiment) -> str:
    """What to try where memory is short; a batch stays a multiple of the devices."""
    batch_size, devices = experiment.batch_size, experiment.devices
    less = max(1, batch_size // 2 // devices) * devices
    if less >= batch_size:
        return "try a smaller image_size, or a smaller model"
    accumulate = round(experiment.optimizer.gradient_accumulation_steps * batch_size / less)
    return (
        f"try batch_size={less} (and optimizer.gradient_accumulation_steps={accumulate} for nearly the same gradients)"
    )

"""Explain out-of-memory errors in one line that says what to try."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from pneumonia import schema
from pneumonia.runs.run import Run
from pneumonia.system.errors import EnvironmentFailure

CHECKPOINT_KEPT = "the checkpoint of the epoch before is kept"

# texts in the errors of TensorFlow and JAX, of the CUDA driver, and of cuDNN and cuBLAS
OUT_OF_MEMORY = ("ResourceExhausted", "RESOURCE_EXHAUSTED", "CUDA_ERROR_OUT_OF_MEMORY", "STATUS_ALLOC_FAILED")


@contextlib.contextmanager
def explain_memory_errors(experiment: schema.Experiment, folder: Path | None = None, fix: str = "") -> Iterator[None]:
    """Turn a backend's out-of-memory error within this context into one line that says what to try.

    Args:
        folder: of a run that is being trained; the message then says which of its files are kept.
        fix: what to try; by default a smaller batch or a smaller network.

    Raises:
        EnvironmentFailure: memory is short.
    """
    try:
        yield
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        if not (isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY)):
            raise
        memory = "GPU memory" if uses_gpu() else "memory"
        what = f"{memory} is short at batch_size={experiment.batch_size}"
        raise EnvironmentFailure(
            "; ".join(filter(None, (what, kept_files(folder), fix or smaller_batch(experiment))))
        ) from error


def uses_gpu() -> bool:
    if "keras" not in sys.modules:  # ONNX Runtime runs an exported network, on the CPU
        return False
    from pneumonia.runs.precision import on_gpu

    return on_gpu()


def kept_files(folder: Path | None) -> str:
    """Return a text that says what a training that ends now leaves in its run's folder."""
    if folder is None:
        return ""
    if Run(folder).weights.exists():
        return "the trained weights are kept"
    from pneumonia.runs.checkpoint import checkpoints  # imports Keras

    return CHECKPOINT_KEPT if checkpoints(folder) else ""


def smaller_batch(experiment: schema.Experiment) -> str:
    """Return what to try if memory is short: half the batch, in a multiple of the devices."""
    batch_size, devices = experiment.batch_size, experiment.devices
    smaller = max(1, batch_size // 2 // devices) * devices
    if smaller >= batch_size:
        return "try a smaller image_size, or a smaller model"
    accumulate = round(experiment.optimizer.gradient_accumulation_steps * batch_size / smaller)
    accumulation = f"optimizer.gradient_accumulation_steps={accumulate} for nearly the same gradients"
    return f"try batch_size={smaller} (and {accumulation})"

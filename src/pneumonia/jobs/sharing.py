"""How jobs share this machine where it has no GPU.

Small networks use many cores badly: two trainings with one thread each do more in a minute than one training with two.
"""

from collections.abc import Sequence

from pneumonia import schema
from pneumonia.system.processes import count_cores, usable_memory

# of a training on a CPU, in GiB: Python and TensorFlow, and a 256-pixel image of a batch. yolov8_lite0 with batches of
# 16 takes 3.0, and is one of the largest; the other third is a margin.
AT_START, PER_IMAGE = 1.5, 0.15


def memory_of(experiment: schema.Experiment) -> float:
    """Return an estimate of the memory of a training, in GiB."""
    return AT_START + PER_IMAGE * experiment.batch_size * (experiment.image_size / 256) ** 2


def threads_of_jobs(memory: Sequence[float]) -> int:
    """Return the threads of each of these jobs, so that as many as possible run at once; 0 where it is one at a time.

    The number changes bits of the results. It depends on the machine and on all jobs of a command, not on those that
    are left to do: a job that is interrupted goes on with the same number.

    Args:
        memory: of each job, in GiB.
    """
    at_once = min(len(memory), count_cores(), count_fitting(memory))
    return count_cores() // at_once if at_once > 1 else 0


def jobs_at_once(memory: Sequence[float], threads: int) -> int:
    """Return how many jobs with so many threads run at once. threads: 0 for one per core."""
    return max(1, min(len(memory), count_cores() // (threads or count_cores()), count_fitting(memory)))


def count_fitting(memory: Sequence[float]) -> int:
    """Return how many jobs fit into the memory, each as large as the largest; at least one."""
    return max(1, int(usable_memory() / max(*memory, AT_START)))

"""Load batches in threads, ahead of the training steps."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import keras

from pneumonia.system.freed_memory import keep_freed_memory

AHEAD = 2  # batches per thread that are loaded in advance: enough for a slow batch, few enough for the memory


class BatchLoader(keras.utils.PyDataset):
    """Loads the items of another PyDataset in advance, in threads; they are the same for any number of threads.

    OpenCV and NumPy release Python's lock while they work, the Python code around them does not: on two cores a second
    thread makes 1.6 times as many images of 224 px with the strong preset, and no more of 128 px, where one makes 4,000
    a second. That is enough where a CPU trains; a fast GPU may have to wait. Threads copy no images between processes,
    and work on every backend of Keras. PyDataset's own workers raise TensorFlow's error in place of ours;
    benchmarks/input_pipeline.py compares them and others.

    Use it as a context manager, which ends the threads. An error of an item is raised when the item is asked for.
    """

    def __init__(self, batches: keras.utils.PyDataset, threads: int):
        super().__init__(workers=1, use_multiprocessing=False)
        self.batches, self.ahead = batches, AHEAD * max(1, threads)
        self.pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="loader")
        self.futures: dict[int, Future] = {}
        self.error: Exception | None = None

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int):
        if index == 0:  # asked for first by for_fit, then by the pipeline that has changed the setting
            keep_freed_memory()
        for position in range(index, min(index + self.ahead, len(self.batches))):
            if position not in self.futures:
                self.futures[position] = self.pool.submit(self.batches.__getitem__, position)
        # the item before is kept: Keras takes the first two to get their shapes, and then starts again at the first
        for old in [position for position in self.futures if position < index - 1]:
            del self.futures[old]
        try:
            return self.futures[index].result()
        except Exception as error:
            self.error = error
            raise

    def __enter__(self) -> "BatchLoader":
        return self

    def __exit__(self, kind, *_) -> None:
        self.futures.clear()
        self.pool.shutdown(wait=True, cancel_futures=True)
        if kind is not None and self.error is not None:
            raise self.error from None  # TensorFlow wraps it in an error of its own, with another exit code

    def for_fit(self):
        """Return what `fit` and `evaluate` take: with TensorFlow a tf.data pipeline of the batches, without autotuning.

        Keras would make that pipeline itself, with autotuning, whose thread ends only when its period is over, and the
        periods double from 10 ms to a minute: an epoch lasts 5, 10, 20, 41, 82, 142 s, as it were rounded up. There is
        nothing to tune here. A setting of Keras without it is only for its own workers.
        """
        if keras.backend.backend() != "tensorflow":
            return self
        import tensorflow as tf

        def spec(array) -> tf.TensorSpec:
            return tf.TensorSpec((None, *array.shape[1:]), array.dtype)  # the last batch may be smaller

        options = tf.data.Options()
        options.autotune.enabled = False
        signature = keras.tree.map_structure(spec, self[0])
        pipeline = tf.data.Dataset.from_generator(self.items, output_signature=signature)
        pipeline = pipeline.apply(tf.data.experimental.assert_cardinality(len(self)))
        return pipeline.prefetch(1).with_options(options)

    def items(self) -> Iterator:
        for index in range(len(self)):
            yield self[index]

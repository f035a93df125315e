"""Images per second of the classifiers in training and prediction, and what share of a device's peak that is.

    PYTHONPATH=src .venv/bin/python benchmarks/classifier_throughput.py [data=DIR] [batch_size=256] [peak=989]

Each model is this program's network and learner, with every layer trained, in the number format and with the
compilation of an experiment on this device (precision=auto, xla=auto: mixed bfloat16 and XLA on a GPU). After one turn
that compiles, it prints medians over `turns` of

constant: `fit` on the same batch in memory: the device's own speed.
loaded: `fit` on batches from the image cache with the strong augmentation, as in every training.
prediction: `passes`, as in every prediction; Keras chooses whether to compile it, xla= has no effect on it.

TFLOP/s count two operations for every multiply-add of convolutions and dense layers, without normalisation and
activations; a training step counts as three passes. peak= is the device's TFLOP/s by its data sheet in this number
format, without sparsity: 989 for an H100 (SXM) in bfloat16.

It also runs on JAX (KERAS_BACKEND=jax). Not measured on a GPU. Measured on two cores of an AMD EPYC that were mostly
busy with other work, so that these are lower bounds (224 px, float32, batch_size=8 steps=3 turns=1):

    images/s       multiply-adds   constant  loaded  prediction
    densenet121    2,833 million        3.1     2.3        11.7
    mobilenetv2      299 million        8.9     8.5        88.3
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import keras
import numpy as np

from pneumonia import config, schema
from pneumonia.data.competition import resolve
from pneumonia.data.ingest import ingest
from pneumonia.data.samples import Samples, samples_of
from pneumonia.data.study_table import study_table
from pneumonia.inference.predict import passes
from pneumonia.models.normalisation import all_layers
from pneumonia.models.registry import family as family_of
from pneumonia.models.unet import PyramidProjection
from pneumonia.runs.environment import processor
from pneumonia.runs.precision import compute_policy, precision_of, uses_xla
from pneumonia.schema import setting
from pneumonia.training.batches import Batches
from pneumonia.training.learner import compile_learner
from pneumonia.training.loading import BatchLoader
from pneumonia.training.loop import Stage, loaders

PASSES = {"constant": 3, "loaded": 3, "prediction": 1}  # a training step: forward, to the activations, to the weights
COUNTED = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)


@dataclass
class Settings:
    data: str = setting("demo", "competition folder, or the generated demo")
    models: list[str] = field(default_factory=lambda: ["densenet121", "mobilenetv2"], metadata={"help": "classifiers"})
    image_size: int = setting(224, "pixels")
    batch_size: int = setting(32, "images per step")
    steps: int = setting(20, "steps of a turn")
    turns: int = setting(3, "turns that are timed")
    precision: str = setting("auto", "of the experiment")
    xla: str = setting("auto", "of the experiment")
    loaders: int = setting(0, "of the experiment")
    alpha: float = setting(1.0, "width of the MobileNets")
    peak: float = setting(0.0, "teraflop/s of the device; 0: unknown")


class Constant(keras.utils.PyDataset):
    """The same batch `count` times."""

    def __init__(self, batch, count: int):
        super().__init__()
        self.batch, self.count = batch, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int):
        return self.batch


def multiply_adds(network: keras.Model) -> int:
    """Count the multiply-adds of one image in convolutions and dense layers, with those of nested backbones.

    Raises:
        ValueError: another type of layer has a kernel.
    """
    total = 0
    for layer in all_layers(network):
        kernels = [weight for weight in layer.weights if len(weight.shape) > 1]
        if not kernels:
            continue
        if isinstance(layer, PyramidProjection):  # one multiply-add for each value of each map
            total += sum(int(np.prod(level.shape[1:])) for level in layer.input)
            continue
        if not isinstance(layer, COUNTED):
            raise ValueError(f"{layer.name} is a {type(layer).__name__}, whose multiply-adds are not counted here")
        positions = np.prod(layer.output.shape[1:-1], dtype=np.int64)  # the whole kernel is applied at each
        total += sum(int(np.prod(kernel.shape)) for kernel in kernels) * int(positions)
    return total


def measure(settings: Settings, name: str, samples: Samples) -> tuple[int, dict[str, float]]:
    """Return multiply-adds of an image, and images per second of each of PASSES."""
    experiment = experiment_of(settings, name)
    family = family_of(experiment.model, settings.image_size)
    keras.utils.set_random_seed(0)
    images = settings.steps * settings.batch_size
    with compute_policy(experiment):
        network = family.build()
        learner = compile_learner(
            experiment, family, network, samples, settings.steps, Stage(0, settings.turns + 1, False)
        )
        first_rows = np.arange(settings.batch_size) % len(samples)
        batch = Batches(samples, first_rows, settings.batch_size, family, "none", [0])[0]
        pictures = np.concatenate([batch[0]] * settings.steps)

        def fit(batches: keras.utils.PyDataset) -> None:
            with BatchLoader(batches, loaders(experiment)) as loader:
                learner.fit(loader.for_fit(), shuffle=False, verbose=0)

        def fit_loaded(turn: int) -> None:
            order = np.random.default_rng(turn).integers(0, len(samples), images)
            fit(Batches(samples, order, settings.batch_size, family, experiment.augment, [0, turn]))

        ways: dict[str, Callable[[int], object]] = {
            "constant": lambda _: fit(Constant(batch, settings.steps)),
            "loaded": fit_loaded,
            "prediction": lambda _: list(passes(network.predict_on_batch, pictures, settings.batch_size)),
        }
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(settings.turns + 1):
            for way, run in ways.items():
                start = time.perf_counter()
                run(turn)
                seconds[way].append(time.perf_counter() - start)
    return multiply_adds(network), {way: images / statistics.median(times[1:]) for way, times in seconds.items()}


def model_of(name: str, alpha: float) -> schema.Model:
    """Return a model's settings; only the MobileNets have `alpha`."""
    return schema.model_settings(name, **({"alpha": alpha} if name.startswith("mobilenet") else {}))


def experiment_of(settings: Settings, name: str) -> schema.Experiment:
    return schema.Experiment(
        model=model_of(name, settings.alpha),
        image_size=settings.image_size,
        batch_size=settings.batch_size,
        augment="strong",
        precision=settings.precision,
        xla=settings.xla,
        loaders=settings.loaders,
    )


def main(settings: Settings) -> None:
    competition = resolve(schema.Job(data=settings.data, preset="smoke"))
    cache = ingest(competition, settings.image_size)
    samples = samples_of(study_table(competition, False, cache.index), cache, settings.image_size)
    experiment = experiment_of(settings, settings.models[0])
    print(
        f"{', '.join(map(str, keras.distribution.list_devices()))}; {processor()}; Keras on {keras.backend.backend()}"
    )
    print(f"{precision_of(experiment)}, XLA {'on' if uses_xla(experiment) else 'off'}, {loaders(experiment)} loaders, "
          f"{settings.image_size} px, batches of {settings.batch_size}, {len(samples)} images")  # fmt: skip
    for name in settings.models:
        adds, rates = measure(settings, name, samples)
        print(f"{name}: {adds / 1e6:,.0f} million multiply-adds an image")
        for way, rate in rates.items():
            teraflops = 2 * adds * PASSES[way] * rate / 1e12
            share = f"  {teraflops / settings.peak:6.1%} of the peak" if settings.peak else ""
            print(f"  {way:10s} {rate:8,.1f} images/s  {teraflops:8.3f} TFLOP/s{share}", flush=True)
        print(f"  an epoch takes {rates['constant'] / rates['loaded']:.3f} x as long loaded as with the constant batch")
        keras.backend.clear_session()


if __name__ == "__main__":
    main(config.from_arguments(Settings, sys.argv[1:]))

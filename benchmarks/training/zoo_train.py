"""The zoo's training as `python -m training train` does it: its pipeline, callbacks, checkpoints and event files."""

import tempfile

import workload

import training
from training import kinds, options
from training.fitting import loop, strategies
from training.fitting.callbacks import Checkpoint

PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


class Timed(Checkpoint):
    """The callback that comes last but for the progress bar and the event files."""

    clock: workload.Clock

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.clock.tick()


def main() -> None:
    work = workload.given()
    name, settings = workload.NETWORKS[work.network]
    dataset = f"pairs:{work.folder}/pairs.tsv" if work.network == "transformer" else f"{work.folder}.npz"
    settings = settings | {
        "dataset": dataset,
        "epochs": work.epochs,
        "batch_size": work.batch_size,
        "precision": PRECISIONS[work.precision],
    }
    experiment = options.experiment(name, {key: str(value) for key, value in settings.items()})
    data, kind = kinds.open_data(experiment), kinds.of(experiment)
    Timed.clock = workload.Clock(data.train.size // work.batch_size * work.batch_size)
    loop.Checkpoint = Timed
    with tempfile.TemporaryDirectory() as folder, strategies.scope():
        model = kind.build(experiment, data)
        loop.fit(model, data, experiment, training.Run(folder))
    Timed.clock.print()


main()

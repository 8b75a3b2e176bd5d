"""Tables of mixed type, and the autoencoders that are trained on them."""

import functools
from collections.abc import Iterator

import keras
import numpy as np

import zoo
from serving.export import tables as exported
from training import evaluation, reporting
from training.choices import Choice
from training.choices import tables as choices
from training.data.schema_files import write_schema
from training.data.splits import Split
from training.data.tables import Tables as Table
from training.experiments.experiment import Experiment
from training.fitting.callbacks import Best
from training.fitting.cooldown import cool_down
from training.fitting.interpolation import interpolate
from training.fitting.loop import total_steps
from training.kinds.arrays import Arrays
from training.kinds.kind import Evaluation
from training.progress import stage
from training.reporting import schemas
from training.reporting.entries import Entry
from training.run import Run
from training.seeds import derived
from zoo.registry import register

MANY = 2_000  # rows of the validation split of which each is judged once, after every epoch
REGRESSED = 50_000  # most rows to which the regressions are fitted
JUDGED = 5_000  # most rows by which weights between the start and the end are judged


@register(
    "kind",
    "tables",
    slots={
        "data": "tables",
        "head": "column",
        "body": "residual",
        "bottleneck": "deterministic",
        "likelihood": "mixed",
        "corruption": "hide",
        "prior": "mixture",
        "typicality": "ranks",
        "model": "table",
        "optimizer": "adamw",
    },
    fixed=["data", "head", "likelihood", "model"],
    optional=["corruption", "typicality"],
)
class Tables(Arrays):
    """An autoencoder of tables whose columns are of different types and may have missing cells."""

    objective = "imputation"
    most_epochs = 1_000  # few rows give few steps
    share_of_time = 0.5  # after which training goes on for a while
    pictured = ("codes",)

    def open(self, experiment: Experiment) -> Table:
        return experiment.make("head", data=experiment.make("data"))

    def described(self, data: Table) -> list[str]:
        return [f"a table of {schemas.counted({**data.target, **data.schema})}", *schemas.lines(data.schema, data.target)]

    def keep(self, data: Table, run: Run) -> None:
        write_schema({**data.target, **data.schema}, run.schema)

    def choose(self, data: Table, given: frozenset[str]) -> dict[str, Choice]:
        return choices.choose(data)

    def model(self, experiment: Experiment, data: Table) -> zoo.TableAutoencoder:
        inputs = zoo.ColumnInputs(data.schema, name="inputs")
        width = inputs.compute_output_shape((None, *data.shape))[-1]
        encoder, decoder = experiment.make("body", shape=(width,), numbers=inputs.numbers)
        bottleneck = experiment.make("bottleneck", total_steps(data, experiment), seed=derived(experiment.seed, "bottleneck"))
        corruption = experiment.make("corruption", seed=derived(experiment.seed, "corruption"))
        return zoo.TableAutoencoder(
            keras.Sequential([keras.Input(data.shape), inputs, *encoder.layers], name="encoder"),
            bottleneck,
            decoder,
            experiment.make("likelihood", columns=data.schema),
            prior=self._prior(experiment, data, bottleneck.k),
            corruption=corruption,
            ranks=experiment.make("typicality"),
            overcomplete=experiment["model.overcomplete"],
        )

    def prepare(self, model: zoo.TableAutoencoder, data: Table) -> None:
        for split in data.splits.values():
            if split.arrays is not None:
                model.check(split.arrays["x"])
        model.masks = int(np.clip(MANY // data.held_out.size, 1, model.masks))
        if model.has_linear_path:
            with stage("fitting regressions"):
                zoo.start_as_regression(model, evaluation.tables.cells(data.train, REGRESSED))

    def refine(
        self, model: zoo.TableAutoencoder, data: Table, experiment: Experiment, run: Run, history: list[dict[str, float]]
    ) -> None:
        keeps_best = experiment.get("training.keep") == "best"
        if keeps_best and model.has_linear_path:
            with stage("averaging with the linear start"):
                start = [keras.ops.convert_to_numpy(weight) for weight in self.build(experiment, data).trainable_variables]
                held_out = evaluation.tables.cells(data.held_out, JUDGED)
                interpolate(model, start, lambda: evaluation.tables.loss(model, held_out))
        if model.bottleneck.drawn:  # the prior is a part of the score
            self._fit_to_codes(model, data, experiment)
        self._fit_ranks(model, data)  # while the rows of the validation split are new to the model
        if keeps_best and data.train.arrays is not None:
            cool_down(model, data, experiment, [epoch["learning_rate"] for epoch in history[: Best(run.best).epoch]])

    def after_fit(self, model: zoo.TableAutoencoder, data: Table, experiment: Experiment) -> None:
        self._fit_to_codes(model, data, experiment)

    def evaluate(self, model: zoo.TableAutoencoder, data: Table, experiment: Experiment) -> Evaluation:
        with stage("evaluating"):
            metrics, arrays = evaluation.tables.evaluate(model, data, experiment)
        if data.target:
            with stage("evaluating: what the codes tell of the target"):
                fresh = functools.partial(self.model, experiment, data)
                metrics |= evaluation.targets.evaluate(model, fresh, data, data.target, experiment.seed)
        return Evaluation(metrics, arrays)

    def held_out_error(self, model: zoo.TableAutoencoder, split: Split, data: Table) -> float:
        return evaluation.tables.imputation(model, split)["imputation/score"]

    def figures(self, run: Run, model: zoo.TableAutoencoder, data: Table, metrics: dict[str, float]) -> Iterator[Entry]:
        return reporting.tables.figures(run, model, data, metrics)

    def examples(self, rows: dict[str, np.ndarray], data: Table) -> dict[str, np.ndarray]:
        return exported.sample(data.schema, rows["x"])

    def limits(self, experiment: Experiment) -> str:
        return (
            "Cells are filled in with what is to be expected of them, which varies less than the data do; `generate_given` "
            "draws them instead. Texts that the training data do not have are all read as one class."
        )

"""python -m training list | train | evaluate | report | tune | generate | preset | figures | split"""

import argparse
import sys

import training
from serving import command

# `training` imports its parts when they are asked for, within `main`.

INTERRUPTED = "Interrupted. train and tune go on where they were, with the same command less --restart."


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; wrong arguments or input, and what is wrong outside the program, give exit code 2 and one message."""
    return command.run("python -m training", lambda: _run(arguments), INTERRUPTED)


def _run(arguments: list[str] | None) -> None:
    options, rest = _parser().parse_known_args(arguments)
    options.command(options, _settings(rest))


def _parser() -> argparse.ArgumentParser:
    import zoo

    parser = argparse.ArgumentParser("python -m training", description="Data to fitted models.", allow_abbrev=False)
    commands_ = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function, help: str) -> argparse.ArgumentParser:
        sub = commands_.add_parser(name, help=help, description=help, allow_abbrev=False)
        sub.set_defaults(command=function)
        return sub

    add("list", _list, "print the experiments and the settings that --KEY=VALUE changes")
    train = add("train", _train, "train, evaluate, report and export an experiment; go on where a killed run was")
    tune = add("tune", _tune, "search settings (--KEY=A,B,C gives the choices), then train the best")
    for sub in (train, tune):
        sub.add_argument("experiment", help="a name that `list` prints; --KEY=VALUE changes a setting of it")
        sub.add_argument("--workdir", metavar="DIR", help="the run's folder (default: runs/EXPERIMENT)")
        sub.add_argument("--strategy", default="auto", help="auto, one, mirrored or tpu (default: auto)")
        sub.add_argument("--restart", action="store_true", help="throw away what is there")
        sub.add_argument(
            "--report", choices=("true", "false"), default="true", help="draw the report's pictures (default: true)"
        )
    tune.add_argument("--tuner", default="hyperband", help="hyperband, bayesian or random (default: hyperband)")
    tune.add_argument("--trials", type=int, default=10, help="of bayesian and random (default: 10)")
    for name, function, help in (
        ("evaluate", _evaluate, "evaluate a run's model anew"),
        ("report", _report, "write a run's report anew"),
    ):
        add(name, function, help).add_argument("run", help="folder of a run")
    made = add("generate", _generate, "draw new examples from a preset, or the folder of one or of a run")
    made.add_argument("model", help=f"a preset ({', '.join(zoo.list()) or 'none installed'}) or a folder")
    made.add_argument("--count", type=int, default=60, help="how many, with seeds 0, 1, 2 … (default: 60)")
    made.add_argument("--output", metavar="PNG", default="generated.png", help="the picture (default: generated.png)")
    preset = add("preset", _preset, "write a finished run as a preset that zoo.load reads, with its model card")
    preset.add_argument("run", help="folder of a run")
    preset.add_argument("--output", metavar="DIR", default="presets", help="becomes DIR/EXPERIMENT (default: presets)")
    split = add("split", _split, "write the splits of pairs of texts as train.tsv, validation.tsv and test.tsv")
    split.add_argument("dataset", help="cmudict/random, cmudict/stem, misspellings or pairs:FILE.tsv")
    split.add_argument("--output", metavar="DIR", default="split", help="the folder, which pairs:DIR reads (default: split)")
    figures = add("figures", _figures, "print the figures of finished runs as a table in Markdown")
    figures.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs")
    return parser


def _settings(rest: list[str]) -> dict[str, str]:
    """The --KEY=VALUE and --KEY VALUE pairs among what the parser left."""
    settings, words = {}, list(rest)
    while words:
        word = words.pop(0)
        key, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not key or not (equals or words):
            raise ValueError(f"Expected settings as --KEY=VALUE. Received: {word!r}. Try python -m training list.")
        settings[key.replace("-", "_")] = text if equals else words.pop(0)
    return settings


def _list(options, settings) -> None:
    _none(settings)
    for experiment in training.EXPERIMENTS.values():
        settings = " ".join(f"{key}={value}" for key, value in experiment.changes(training.Experiment("")).items())
        print(f"{experiment.name}\n    {experiment.about}\n    {experiment.command}\n    {settings or 'the defaults'}\n")
    print("settings and their defaults")
    for key, field in training.experiments.FIELDS.items():
        print(f"    --{key}={str(field.default).lower() if field.type is bool else field.default}")


def _train(options, settings) -> None:
    experiment = training.experiments.find(options.experiment).override(settings)
    _show(training.train(experiment, **_stages(options)))


def _tune(options, settings) -> None:
    experiment = training.experiments.find(options.experiment)
    _show(training.tune(experiment, settings, tuner=options.tuner, trials=options.trials, **_stages(options)))


def _stages(options) -> dict[str, object]:
    """What `train` and `tune` have in common."""
    same = {name: getattr(options, name) for name in ("workdir", "strategy", "restart")}
    return same | {"report": options.report == "true"}


def _evaluate(options, settings) -> None:
    _none(settings)
    training.evaluate(options.run)
    print(training.table(training.Run(options.run)))


def _report(options, settings) -> None:
    _none(settings)
    print(training.report(options.run))


def _generate(options, settings) -> None:
    _none(settings)
    print(training.generate(options.model, options.output, options.count))


def _preset(options, settings) -> None:
    _none(settings)
    print(training.cards.write_preset(options.run, options.output))


def _split(options, settings) -> None:
    _none(settings)
    print(training.pairs.write(options.dataset, options.output))


def _figures(options, settings) -> None:
    _none(settings)
    print(training.figures([training.Run(run) for run in options.runs]))


def _show(run) -> None:
    report = f"report: {run.report}, its pictures beside it\n" if run.report.exists() else ""
    print(f"{training.table(run)}\n{report}export: {run.export}")


def _none(settings: dict[str, str]) -> None:
    if settings:
        raise ValueError(f"Expected no settings here. Received: --{next(iter(settings))}. Try without.")


if __name__ == "__main__":
    sys.exit(main())

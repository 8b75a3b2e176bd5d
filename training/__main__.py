"""python -m training list | show | train | evaluate | report | tune | generate | preset | figures | split"""

import argparse
import sys

import training
from serving import command
from training import options as options_
from training.experiments.experiment import Experiment

# `training` imports what needs TensorFlow when it is asked for, within `main`.

INTERRUPTED = "Interrupted. train and tune go on where they were, with the same command less --restart."


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; wrong arguments or input, and what is wrong outside the program, give exit code 2 and one message."""
    return command.run("python -m training", lambda: _run(arguments), INTERRUPTED)


def _run(arguments: list[str] | None) -> None:
    options, rest = _parser().parse_known_args(arguments)
    options.command(options, rest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m training", description="Data to fitted models.", allow_abbrev=False)
    commands_ = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function, help: str, **kwargs) -> argparse.ArgumentParser:
        sub = commands_.add_parser(name, help=help, description=help, allow_abbrev=False, **kwargs)
        sub.set_defaults(command=function, parser=sub)
        return sub

    add("list", _list, "print the experiments, a line each")
    usage = "%(prog)s [EXPERIMENT] [--KEY=VALUE ...] [options]"
    settings = {"usage": usage, "add_help": False}
    show = add("show", _show, "print an experiment whole: every choice and setting, and what it means", **settings)
    train = add("train", _train, "train, evaluate, report and export an experiment; go on where a killed run was", **settings)
    tune = add("tune", _tune, "search settings (--KEY=A,B,C gives the choices), then train the best", **settings)
    split = add("split", _split, "write the splits of an experiment's data as files, where they are texts", **settings)
    split.add_argument("--output", metavar="DIR", default="split", help="the folder, which --dataset takes (default: split)")
    for sub in (show, train, tune, split):
        sub.add_argument("-h", "--help", action="store_true", help="show this, and the settings of an experiment that is named")
        sub.add_argument("--config", metavar="FILE", help="settings in YAML or JSON, or the config.json of a run")
        sub.add_argument(
            "--import", metavar="MODULE", dest="imports", action="append", default=[], help="a module with parts of your own"
        )
    for sub in (train, tune):
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
    made.add_argument("model", help="a preset that zoo.list() names, or a folder")
    made.add_argument("--count", type=int, default=60, help="how many, with seeds 0, 1, 2 … (default: 60)")
    made.add_argument("--output", metavar="PNG", default="generated.png", help="the picture (default: generated.png)")
    preset = add("preset", _preset, "write a finished run as a preset that zoo.load reads, with its model card")
    preset.add_argument("run", help="folder of a run")
    preset.add_argument("--output", metavar="DIR", default="presets", help="becomes DIR/EXPERIMENT (default: presets)")
    figures = add("figures", _figures, "print the figures of finished runs as a table in Markdown")
    figures.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs")
    return parser


def _words(rest: list[str]) -> tuple[str | None, dict[str, str]]:
    """The experiment, and the --KEY=VALUE and --KEY VALUE pairs, among what the parser left."""
    name, settings, words = None, {}, list(rest)
    while words:
        word = words.pop(0)
        key, equals, text = word.removeprefix("--").partition("=")
        if name is None and not word.startswith("-"):
            name = word
        elif not word.startswith("--") or not key or not (equals or words):
            raise ValueError(f"Expected settings as --KEY=VALUE. Received: {word!r}. Try python -m training list.")
        else:
            settings[key.replace("-", "_")] = text if equals else words.pop(0)
    return name, settings


def _experiment(options, name: str | None, settings: dict[str, str]) -> Experiment:
    return options_.experiment(name, settings, options.config, tuple(options.imports))


def _helped(options, rest: list[str]) -> bool:
    """Prints the help that was asked for, if any."""
    if options.help:
        name, settings = _words(rest)
        named = name or options.config
        more = options_.explained(_experiment(options, name, settings)) if named else "EXPERIMENT is a name that `list` prints."
        print(f"{options.parser.format_help()}\n{more}")
    return options.help


def _list(options, rest) -> None:
    _none(rest)
    print(options_.table())
    print("\npython -m training show EXPERIMENT prints one whole, with what each setting means.")


def _show(options, rest) -> None:
    if not _helped(options, rest):
        print(options_.explained(_experiment(options, *_words(rest))))


def _train(options, rest) -> None:
    if not _helped(options, rest):
        _summarize(training.train(_experiment(options, *_words(rest)), **_stages(options)))


def _tune(options, rest) -> None:
    if not _helped(options, rest):
        name, choices = _words(rest)
        experiment = _experiment(options, name, {})
        _summarize(training.tune(experiment, choices, tuner=options.tuner, trials=options.trials, **_stages(options)))


def _stages(options) -> dict[str, object]:
    """What `train` and `tune` have in common."""
    same = {name: getattr(options, name) for name in ("workdir", "strategy", "restart")}
    return same | {"report": options.report == "true"}


def _evaluate(options, rest) -> None:
    _none(rest)
    training.evaluate(options.run)
    print(training.table(training.Run(options.run)))


def _report(options, rest) -> None:
    _none(rest)
    print(training.report(options.run))


def _generate(options, rest) -> None:
    _none(rest)
    print(training.generate(options.model, options.output, options.count))


def _preset(options, rest) -> None:
    _none(rest)
    print(training.cards.write_preset(options.run, options.output))


def _split(options, rest) -> None:
    if not _helped(options, rest):
        experiment = _experiment(options, *_words(rest))
        print(training.kinds.of(experiment).write(training.kinds.open_data(experiment), options.output))


def _figures(options, rest) -> None:
    _none(rest)
    print(training.figures([training.Run(run) for run in options.runs]))


def _summarize(run) -> None:
    report = f"report: {run.report}, its pictures beside it\n" if run.report.exists() else ""
    print(f"{training.table(run)}\n{report}export: {run.export}")


def _none(rest: list[str]) -> None:
    if rest:
        raise ValueError(f"Expected no settings here. Received: {rest[0]}. Try without.")


if __name__ == "__main__":
    sys.exit(main())

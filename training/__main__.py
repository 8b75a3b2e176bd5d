"""python -m training list | show | train | launch | predict | evaluate | report | tune | generate | preset | figures | split"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable

import training
from serving import command
from training import options as options_
from training.experiments.experiment import Experiment

# Modules that need TensorFlow are attributes of `training`, which imports them on first use.

INTERRUPTED = "Interrupted. To resume train or tune, repeat the command without --restart."
SETTINGS = {"usage": "%(prog)s [EXPERIMENT] [--KEY=VALUE ...] [options]", "add_help": False}  # of commands that take settings

Options = argparse.Namespace


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns its exit code: 2, with one message, for wrong input and failures outside the program."""
    code = 1  # of an error in the program, which Python reports
    try:
        code = command.run("python -m training", lambda: _run(arguments), INTERRUPTED)
    finally:
        if code:
            _leave(code)
    return code


def _leave(code: int) -> None:
    """Ends a failed worker at once: at the end of Python, TensorFlow would wait for the others, which wait for it."""
    strategies = sys.modules.get("training.fitting.strategies")
    if strategies and strategies.connected():
        if error := sys.exception():
            traceback.print_exception(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(arguments: list[str] | None) -> None:
    options, rest = _parser().parse_known_args(arguments)
    training.launch.follow()
    options.command(options, rest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m training", description="From data to trained models.", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: Callable, help: str, **kwargs) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help, allow_abbrev=False, **kwargs)
        sub.set_defaults(command=function, parser=sub)
        return sub

    add("list", _list, "list the experiments")
    show = add("show", _show, "print all choices and settings of an experiment, and what they mean", **SETTINGS)
    train = add("train", _train, "train, evaluate, report and export an experiment, or resume an interrupted run", **SETTINGS)
    tune = add("tune", _tune, "search for the best settings (--KEY=A,B,C gives the choices), and train with them", **SETTINGS)
    split = add("split", _split, "write the splits of a data set to files: texts, or pictures", **SETTINGS)
    for sub in (show, train, tune, split):
        _add_experiment_options(sub)
    for sub in (train, tune):
        _add_run_options(sub)
    help = "wall time that a run of --dataset=… alone should take, evaluation included (default: 5)"
    train.add_argument("--minutes", type=float, default=5.0, help=help)
    tune.add_argument("--tuner", default="hyperband", help="hyperband, bayesian or random (default: hyperband)")
    tune.add_argument("--trials", type=int, default=10, help="number of trials of bayesian and random (default: 10)")
    help = "the folder; --dataset=DIR reads it if it holds pictures, --dataset=pairs:DIR texts (default: split)"
    split.add_argument("--output", metavar="DIR", default="split", help=help)
    launch = add(
        "launch", _launch, "train, or tune, with several workers on this machine: launch --workers=2 train EXPERIMENT …"
    )
    launch.add_argument("--workers", type=int, default=2, help="number of processes (default: 2)")
    help = "how often all are started again, to go on where they were, when one has died (default: 0)"
    launch.add_argument("--restarts", type=int, default=0, help=help)
    launch.add_argument(
        "words", nargs=argparse.REMAINDER, metavar="train", help="train or tune, and what else that command takes"
    )
    add("evaluate", _evaluate, "evaluate the model of a run again").add_argument("run", help="folder of a run")
    add("report", _report, "write the report of a run again").add_argument("run", help="folder of a run")
    generate = add("generate", _generate, "generate new examples with a trained model")
    generate.add_argument("model", help="a preset that zoo.list() names, or the folder of a preset or of a run")
    generate.add_argument("--count", type=int, default=60, help="number of examples, with seeds 0, 1, 2 … (default: 60)")
    help = "the picture, or the table of new rows (default: generated.png or generated.csv)"
    generate.add_argument("--output", metavar="PATH", help=help)
    predict = add("predict", _predict, "ask a trained model about a file of data")
    predict.add_argument("model", help="a preset that zoo.list() names, or the folder of a preset or of a run")
    predict.add_argument("--input", required=True, metavar="PATH", help="data, of any form that `train` reads")
    predict.add_argument("--verb", default="encode", help="encode, decode, reconstruct, score, typicality … (default: encode)")
    help = "an .npy file, or .npz where there are several outputs; of a table, also a table, such as .csv or .parquet"
    predict.add_argument("--output", required=True, metavar="PATH", help=help)
    preset = add("preset", _preset, "write a finished run as a preset for zoo.load, with a model card")
    preset.add_argument("run", help="folder of a run")
    preset.add_argument("--output", metavar="DIR", default="presets", help="the preset is DIR/EXPERIMENT (default: presets)")
    figures = add("figures", _figures, "print the figures of finished runs as a Markdown table")
    figures.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs")
    return parser


def _add_experiment_options(parser: argparse.ArgumentParser) -> None:
    help = "show this help, and the settings of the experiment if one is given"
    parser.add_argument("-h", "--help", action="store_true", help=help)
    parser.add_argument("--config", metavar="FILE", help="settings in YAML or JSON, or the config.json of a run")
    imports = {"dest": "imports", "action": "append", "default": []}
    parser.add_argument("--import", metavar="MODULE", help="a module with your own parts", **imports)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", metavar="DIR", help="the run's folder (default: runs/EXPERIMENT)")
    parser.add_argument("--strategy", default="auto", help="auto, one, mirrored, multiworker, tpu or model (default: auto)")
    parser.add_argument("--restart", action="store_true", help="delete the existing run first")
    help = "seconds that workers wait for one another before they begin (default: 30)"
    parser.add_argument("--wait", type=float, default=30.0, help=help)
    parser.add_argument("--report", choices=("true", "false"), default="true", help="write the report (default: true)")


def _words(rest: list[str]) -> tuple[str | None, dict[str, str]]:
    """The experiment's name and the settings, --KEY=VALUE or --KEY VALUE, among the arguments that the parser does not know."""
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


def _experiment(options: Options, name: str | None, settings: dict[str, str]) -> Experiment:
    return options_.experiment(name, settings, options.config, tuple(options.imports))


def _print_help(options: Options, rest: list[str]) -> bool:
    """Prints the help if --help is given; returns whether it is."""
    if options.help:
        name, settings = _words(rest)
        named = name or options.config
        more = (
            options_.explained(_experiment(options, name, settings))
            if named
            else "python -m training list prints the names of the experiments."
        )
        print(f"{options.parser.format_help()}\n{more}")
    return options.help


def _list(options: Options, rest: list[str]) -> None:
    _require_no_settings(rest)
    print(options_.table())
    print("\npython -m training show EXPERIMENT prints the settings of an experiment, and what they mean.")


def _show(options: Options, rest: list[str]) -> None:
    if not _print_help(options, rest):
        print(options_.explained(_experiment(options, *_words(rest))))


def _train(options: Options, rest: list[str]) -> None:
    if not _print_help(options, rest):
        name, settings = _words(rest)
        if name is None and options.config is None and "dataset" in settings:
            run = (options.minutes, options.workdir, options.restart, tuple(options.imports))
            experiment = training.automatic(settings.pop("dataset"), settings, *run)
        else:
            experiment = _experiment(options, name, settings)
        run = training.train(experiment, **_run_options(options))
        if training.workers.is_chief(options.strategy):
            _summarize(run)


def _launch(options: Options, rest: list[str]) -> None:
    _require_no_settings(rest)
    training.launch.launch(options.words, options.workers, options.restarts)


def _tune(options: Options, rest: list[str]) -> None:
    if not _print_help(options, rest):
        name, choices = _words(rest)
        experiment = _experiment(options, name, {})
        run = training.tune(experiment, choices, tuner=options.tuner, trials=options.trials, **_run_options(options))
        if training.workers.is_chief(options.strategy):
            _summarize(run)


def _run_options(options: Options) -> dict[str, object]:
    """The arguments that `train` and `tune` have in common."""
    same = {name: getattr(options, name) for name in ("workdir", "strategy", "restart", "wait")}
    return same | {"report": options.report == "true"}


def _evaluate(options: Options, rest: list[str]) -> None:
    _require_no_settings(rest)
    training.evaluate(options.run)
    print(training.table(training.Run(options.run)))


def _report(options: Options, rest: list[str]) -> None:
    _require_no_settings(rest)
    print(training.report(options.run))


def _generate(options: Options, rest: list[str]) -> None:
    _require_no_settings(rest)
    print(training.generate(options.model, options.output, options.count))


def _predict(options: Options, rest: list[str]) -> None:
    _require_no_settings(rest)
    print(training.predict(options.model, options.input, options.verb, options.output))


def _preset(options: Options, rest: list[str]) -> None:
    _require_no_settings(rest)
    print(training.cards.write_preset(options.run, options.output))


def _split(options: Options, rest: list[str]) -> None:
    if not _print_help(options, rest):
        experiment = _experiment(options, *_words(rest))
        print(training.kinds.of(experiment).write(training.kinds.open_data(experiment), options.output))


def _figures(options: Options, rest: list[str]) -> None:
    _require_no_settings(rest)
    print(training.figures([training.Run(run) for run in options.runs]))


def _summarize(run: "training.Run") -> None:
    report = f"report: {run.report}, with its pictures in the same folder\n" if run.report.exists() else ""
    print(f"{training.table(run)}\n{report}export: {run.export}")


def _require_no_settings(rest: list[str]) -> None:
    if rest:
        raise ValueError(f"Expected no settings here. Received: {rest[0]}. Try the command without it.")


if __name__ == "__main__":
    sys.exit(main())

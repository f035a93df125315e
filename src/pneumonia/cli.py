"""Command lines: argv to a command and its settings. A command's module is imported only when it is called."""

import importlib
import json
import os
import subprocess
import sys
import time
import traceback

from pneumonia import config, schema
from pneumonia.commands.table import COMMANDS, Command
from pneumonia.schema.reference import entries
from pneumonia.schema.setting import nearest
from pneumonia.system.errors import BadInput, EnvironmentFailure, bad_input
from pneumonia.system.json_values import to_json_type, without_nan
from pneumonia.system.processes import count_cores


def main(arguments: list[str]) -> int:
    """Run one command line and return its exit code: 0 done, 1 bug, 2 bad input, 3 environment, 130 Ctrl-C."""
    if any(word in ("--help", "-h", "help") for word in arguments):
        return print_help(arguments)
    if arguments[:1] == ["test"]:
        return run_tests(arguments[1:])
    wants_json = "json=true" in arguments
    try:
        command, arguments = split_command(arguments)
        settings = config.from_arguments(command.settings, arguments)
        wants_json = settings.json
        module, function = command.function.split(":")
        result = getattr(importlib.import_module(module), function)(settings)
    except BadInput as error:
        return report_failure(error, [fault.as_json() for fault in error.faults], wants_json)
    except EnvironmentFailure as error:
        return report_failure(f"error: {error}", str(error), wants_json, EnvironmentFailure.exit_code)
    except KeyboardInterrupt:
        return report_failure("stopped; run the same command again to continue", "stopped", wants_json, 130)
    except BrokenPipeError:  # whoever read our output has closed it: __main__.py ends without a word
        raise
    except Exception as error:
        traceback.print_exc()
        return report_failure(f"error: a bug in this program: {error!r}", repr(error), wants_json, 1)
    faults = result.get("faults") or []
    if wants_json:
        print(json.dumps(without_nan(result) | ({"error": faults} if faults else {}), default=to_json_type))
    return BadInput.exit_code if faults else 0


def split_command(arguments: list[str]) -> tuple[Command, list[str]]:
    """The command and its key=value arguments; no command means the main job. Raises BadInput for an unknown one."""
    if not arguments or "=" in arguments[0]:
        return COMMANDS["job"], arguments
    name, *arguments = arguments
    if name not in COMMANDS:
        raise bad_input("command line", f"there is no command '{name}'", nearest(name, [*COMMANDS, "test"]))
    return COMMANDS[name], arguments


def report_failure(message: object, error: object, wants_json: bool, code: int = BadInput.exit_code) -> int:
    """Print the message, and `error` as JSON where that is asked for; returns the exit code."""
    print(message, file=sys.stderr)
    if wants_json:
        print(json.dumps({"error": error}, default=to_json_type))
    return code


def run_tests(arguments: list[str]) -> int:
    """Run pytest and print how long it took; returns its exit code.

    Args:
        arguments: pytest's. Without any, the whole suite runs in one process per core, at most 8: each takes some 3 GB.
    """
    start = time.perf_counter()
    parallel = ["-n", str(min(count_cores(), 8)), "--dist", "loadgroup", "--no-loadscope-reorder"]
    code = subprocess.call([sys.executable, "-m", "pytest", *(arguments or parallel)], cwd=config.REPOSITORY)
    seconds, times = time.perf_counter() - start, os.times()
    processor = times.children_user + times.children_system
    print(f"the tests took {seconds / 60:.1f} minutes, {processor / 60:.1f} of processor time", file=sys.stderr)
    return code


def print_help(arguments: list[str]) -> int:
    """Print `--help` of all commands, of one, or of `train` with the values of the experiment that is named."""
    name = next((word for word in arguments if word in COMMANDS), None)
    assignments = [word for word in arguments if "=" in word]
    settings = None
    if name == "train" and any(word.startswith("experiment=") for word in assignments):
        try:
            settings = config.from_arguments(schema.Train, assignments)
        except BadInput as error:
            return report_failure(error, None, False)
        except ModuleNotFoundError:  # experiments are YAML, and nothing is installed before the first command
            print("error: an experiment cannot be read before ./run.sh has installed YAML; run ./run.sh list first",
                  file=sys.stderr)  # fmt: skip
            return EnvironmentFailure.exit_code
    print(help_text(name, settings))
    return 0


def help_text(name: str | None, settings: object = None) -> str:
    """The text of `--help`: all commands, or one command's settings with their defaults or the values in `settings`."""
    if name is None:
        rows = [(f"{name} {command.example}", command.summary) for name, command in COMMANDS.items() if name != "job"]
        rows = [
            ("fold=0", COMMANDS["job"].summary),
            *rows,
            ("test", "the test suite; further words are pytest's arguments"),
        ]
        return "\n".join(
            [
                "./run.sh [COMMAND] key=value ...\n",
                *(f"  {left:40s} {right}" if len(left) <= 40 else f"  {left}\n{'':43s}{right}" for left, right in rows),
                "\nSettings of the main job (./run.sh COMMAND --help for another command's):\n",
                *setting_lines(schema.Job()),
                "\nWithout data= the main job takes $RSNA_DATA, else a demo, whose scores say nothing about RSNA.",
                "Exit code 0: done. 2: bad input. 3: environment (disk full, weights missing, GPU memory). 1: a bug.",
            ]
        )
    command = COMMANDS[name]
    title = f"./run.sh {'' if name == 'job' else name + ' '}{command.example}".rstrip()
    return "\n".join([f"{title}\n  {command.summary}\n", *setting_lines(settings or command.settings())])


def setting_lines(settings: object) -> list[str]:
    lines = []
    for entry in entries(settings):
        if entry.family:
            lines.append(f"\n  with {entry.family}:")
            continue
        allowed = f" ({entry.allowed})" if entry.allowed else ""
        lines.append(f"  {entry.key}={entry.value}".ljust(34) + f" {entry.help}{allowed}")
    return lines

"""The commands: the only place that knows argv. A stage is imported only when its command is called."""

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
from pneumonia.system.errors import BadInput, EnvironmentFailure
from pneumonia.system.json_values import to_json_type, without_nan


def main(arguments: list[str]) -> int:
    """Run one command line; returns its exit code: 0 done, 2 the input is bad, 3 the surroundings are, 1 a defect."""
    if any(word in ("--help", "-h", "help") for word in arguments):
        return print_help(arguments)
    if arguments[:1] == ["test"]:
        return run_tests(arguments[1:])
    wants_json = "json=true" in arguments
    try:
        command, words = split_command(arguments)
        settings = config.from_arguments(command.settings, words)
        wants_json = settings.json
        module, function = command.place.split(":")
        result = getattr(importlib.import_module(module), function)(settings)
    except BadInput as error:
        return failed(error, [fault.as_json() for fault in error.faults], wants_json)
    except EnvironmentFailure as error:
        return failed(f"error: {error}", str(error), wants_json, EnvironmentFailure.exit_code)
    except KeyboardInterrupt:
        return failed("stopped; the same command goes on from here", "stopped", wants_json, 130)
    except Exception as error:
        traceback.print_exc()
        return failed(f"error: a defect of this program: {error!r}", repr(error), wants_json, 1)
    faults = result.get("faults") or []
    if wants_json:
        print(json.dumps(without_nan(result) | ({"error": faults} if faults else {}), default=to_json_type))
    return BadInput.exit_code if faults else 0


def split_command(arguments: list[str]) -> tuple[Command, list[str]]:
    """The command and its key=value words; no command means the main job."""
    if not arguments or "=" in arguments[0]:
        return COMMANDS["job"], arguments
    name, *words = arguments
    if name not in COMMANDS:
        known = [*COMMANDS, "test"]
        faults = config.nearest(name, known)
        raise config.bad_input("command line", f"there is no command '{name}'", faults)
    return COMMANDS[name], words


def failed(message: object, error: object, wants_json: bool, code: int = BadInput.exit_code) -> int:
    print(message, file=sys.stderr)
    if wants_json:
        print(json.dumps({"error": error}, default=to_json_type))
    return code


def run_tests(words: list[str]) -> int:
    """The test suite, by pytest, to which words go: without any, a process of one thread for each core (at most 8, as
    each takes some 3 GB); with words, as pytest does it. Prints how long it took."""
    begun, cores = time.perf_counter(), len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    together = ["-n", str(min(cores or 1, 8)), "--dist", "loadgroup", "--no-loadscope-reorder"]
    code = subprocess.call([sys.executable, "-m", "pytest", *(words or together)], cwd=config.REPOSITORY)
    seconds, used = time.perf_counter() - begun, os.times()
    processor = used.children_user + used.children_system
    print(f"the tests took {seconds / 60:.1f} minutes, {processor / 60:.1f} of processor time", file=sys.stderr)
    return code


def print_help(arguments: list[str]) -> int:
    """`--help` of every command, of one, or of `train` with the values of the experiment that is named."""
    name = next((word for word in arguments if word in COMMANDS), None)
    words = [word for word in arguments if "=" in word]
    settings = None
    if name == "train" and any(word.startswith("experiment=") for word in words):
        try:
            settings = config.from_arguments(schema.Train, words)
        except BadInput as error:
            return failed(error, None, False)
        except ModuleNotFoundError:  # before the first command nothing is installed, and an experiment is YAML
            print("error: an experiment cannot be read before ./run.sh has installed YAML; run ./run.sh list first",
                  file=sys.stderr)  # fmt: skip
            return EnvironmentFailure.exit_code
    print(help_text(name, settings))
    return 0


def help_text(name: str | None, settings: object = None) -> str:
    """`--help`: every command, or one command's settings, at their defaults or as `settings` has them."""
    if name is None:
        rows = [(f"{name} {command.example}", command.summary) for name, command in COMMANDS.items() if name != "job"]
        rows = [("fold=0", COMMANDS["job"].summary), *rows, ("test", "the test suite; words go to pytest")]
        return "\n".join(
            [
                "./run.sh [COMMAND] key=value ...\n",
                *(f"  {left:40s} {right}" if len(left) <= 40 else f"  {left}\n{'':43s}{right}" for left, right in rows),
                "\nSettings of the main job (./run.sh COMMAND --help for another command's):\n",
                *setting_lines(schema.Job()),
                "\nWithout data= the main job takes $RSNA_DATA, else a synthetic demo: no word about RSNA.",
                "Exit code 0: done. 2: the input is bad. 3: disk full, weights missing, GPU memory.",
            ]
        )
    command = COMMANDS[name]
    title = f"./run.sh {'' if name == 'job' else name + ' '}{command.example}".rstrip()
    return "\n".join([f"{title}\n  {command.summary}\n", *setting_lines(settings or command.settings())])


def setting_lines(settings: object) -> list[str]:
    lines = []
    for each in entries(settings):
        if each.family:
            lines.append(f"\n  with {each.family}:")
            continue
        taken = f" ({each.taken})" if each.taken else ""
        lines.append(f"  {each.key}={each.value}".ljust(34) + f" {each.help}{taken}")
    return lines

"""The command line as one object: how verbs take options, print, and fail."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

from cyclopts import App, CycloptsError

from workbench import __version__
from workbench.errors import WorkbenchError
from workbench.text import plain, without_password

app = App(
    name="workbench",
    version=__version__,
    help="Does this family of runs scale well, is this run healthy, where will it end?",
)


def emit(data: Any, human: str, *, as_json: bool) -> None:
    """Write a result to stdout: one JSON document, or text for people."""
    text = json.dumps(plain(data), allow_nan=False, ensure_ascii=False) if as_json else human
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """Write progress or a notice to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run(tokens: list[str]) -> int:
    """Run one command line and return its exit code: 0 fine, 1 failed, 2 bad arguments."""
    debug = "--debug" in tokens
    tokens = [token for token in tokens if token != "--debug"]
    try:
        result = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _fail(str(error), 2, hint="See: workbench --help", debug=debug)
    except WorkbenchError as error:
        return _fail(str(error), error.exit_code, debug=debug)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        say("Stopped.")
        return 130
    except Exception as error:
        text = f"Unexpected {type(error).__name__}: {error}. This is a defect of the workbench;"
        return _fail(f"{text} please report it with the output of --debug.", 1, debug=debug)
    return result if isinstance(result, int) else 0


def _fail(text: str, code: int, *, hint: str = "", debug: bool) -> int:
    if debug:
        raise
    said = without_password(" ".join(text.split()))
    say(" ".join(part for part in (said, hint) if part))
    return code


def main() -> NoReturn:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))

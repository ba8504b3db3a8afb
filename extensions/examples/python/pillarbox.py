"""What an extension in Python begins with: hooks whose errors are logged, and short words for what they answer.

Copy it beside your own source. It imports `log` and `settings`, which need no grant.
"""

import functools
import inspect

from componentize_py_types import Err
from wit_world.imports import log, settings, types


def info(text):
    log.log(log.Level.INFO, text)


def warn(text):
    log.log(log.Level.WARN, text)


def hook(kind):
    """Decorates the class of a hook. What one of its functions raises is logged, and then fails the call: raised past the
    host it would be a trap without a word."""
    for name, function in inspect.getmembers(kind, inspect.isfunction):
        if name in vars(kind) and not name.startswith("_"):
            setattr(kind, name, _logged(function))
    return kind


def _logged(function):
    @functools.wraps(function)
    def call(*given):
        try:
            return function(*given)
        except BaseException as error:
            log.log(log.Level.ERROR, described(error))
            raise

    return call


def lifecycle(kind):
    """Decorates the class of `init`. What it raises is the sentence the operator reads, and refuses the load."""
    init = kind.init

    def call(self):
        try:
            init(self)
        except ValueError as error:
            raise Err(str(error)) from error
        except Exception as error:
            raise Err(described(error)) from error

    kind.init = call
    return kind


def described(error):
    """An error in words; what a host function raises is an `Err` with a case of `types.Error`."""
    if isinstance(error, Err) and not isinstance(error.value, str):
        case = type(error.value).__name__.removeprefix("Error_").lower()
        words = getattr(error.value, "value", "")
        return f"{case}: {words}" if words else case
    lines = [f"{type(error).__name__}: {error}"]
    # `traceback` would look for the source in files, and there are none: looking is a trap.
    place = error.__traceback__
    while place is not None:
        code = place.tb_frame.f_code
        lines.append(f"{code.co_name}@{code.co_filename}:{place.tb_lineno}")
        place = place.tb_next
    return "\n".join(lines)


def setting(name, kind, otherwise=None):
    """A setting, or `otherwise` when it was not written; it must be of this kind: text, integer, float, boolean, texts."""
    value = settings.get(name)
    if value is None:
        return otherwise
    if type(value).__name__ != f"Value_{kind.capitalize()}":
        raise ValueError(f"`{name}` must be {kind}")
    return value.value


def only_settings(*known):
    """Refuses settings of other names, so that a typing error is seen."""
    for name in settings.names():
        if name not in known:
            raise ValueError(f"there is no setting `{name}`")


def reply(code, enhanced, *text):
    """A reply; `enhanced` is None where there is none (3xx)."""
    return types.Reply(code, enhanced, list(text))


# What a hook decides. Each may carry a delay, in milliseconds.


def go_on(delay_ms=0):
    """`next`, which is another thing in Python."""
    return types.Decision(types.Verdict_Next(), delay_ms)


def accept(delay_ms=0):
    return types.Decision(types.Verdict_Accept(), delay_ms)


def tempfail(reply=None, delay_ms=0):
    return types.Decision(types.Verdict_Tempfail(reply), delay_ms)


def reject(reply=None, delay_ms=0):
    return types.Decision(types.Verdict_Reject(reply), delay_ms)


def disconnect(reply=None, delay_ms=0):
    return types.Decision(types.Verdict_Disconnect(reply), delay_ms)


def discard(delay_ms=0):
    return types.Decision(types.Verdict_Discard(), delay_ms)


def quarantine(reason, delay_ms=0):
    return types.Decision(types.Verdict_Quarantine(reason), delay_ms)

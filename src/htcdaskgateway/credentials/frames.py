"""Exceptions that carry no frame in which a key or a token was a local variable.

Some programs print the local variables of a traceback: IPython's verbose mode, error collectors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from htcdaskgateway.errors import HTCDaskError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def drop_frames(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let our errors come out of the function as if they were raised here, where nothing is secret."""

    @functools.wraps(function)
    def without_frames(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return function(*args, **kwargs)
        except HTCDaskError as caught:
            error = caught
        del args, kwargs
        error.__traceback__ = error.__context__ = error.__cause__ = None
        raise error

    return without_frames

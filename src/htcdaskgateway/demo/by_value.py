"""Send a function to workers that do not have the module it is from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # it has no types


class ByValue:
    """A function that pickles as its code, not as the name of its module.

    ``cloudpickle.register_pickle_by_value`` alone is not enough: distributed tries plain pickle
    first, which knows nothing of that registry and writes the name.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        module = sys.modules[function.__module__]
        cloudpickle.register_pickle_by_value(module)
        try:
            self._code = cloudpickle.dumps(function)
        finally:
            cloudpickle.unregister_pickle_by_value(module)
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return cloudpickle.loads, (self._code,)

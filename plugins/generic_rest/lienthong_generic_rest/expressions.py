"""JMESPath over the office's JSON (https://jmespath.org/specification.html): compiled early, applied without surprises.

The library finds out that a function does not exist, or has other arguments, only when it applies the expression; here
that is a mistake of the mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import jmespath
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from lienthong import ContentError

_FUNCTIONS = Functions().FUNCTION_TABLE


def compiled(value: object) -> ParsedResult:
    """An expression from a mapping file, as pydantic wants its validators.

    :raises PydanticCustomError: no text, no JMESPath, or a function that does not exist
    """
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "an expression is a text")
    try:
        expression = jmespath.compile(value)
        reason = next(_wrong_calls(expression.parsed), "")
    except ValueError as problem:
        reason = str(problem).splitlines()[0]
    if reason:
        raise PydanticCustomError("expression", "no JMESPath", {"expression": value, "reason": reason})
    return expression


def _wrong_calls(node: Any) -> Iterator[str]:
    """What is wrong with the function calls of a parsed expression."""
    if node["type"] == "function_expression":
        name, given = node["value"], len(node["children"])
        function = _FUNCTIONS.get(name)
        if function is None:
            yield f"there is no function {name}()"
        elif given != len(function["signature"]) and not (given and function["signature"][-1].get("variadic")):
            yield f"{name}() takes {len(function['signature'])} arguments"
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _wrong_calls(child)


Expression = Annotated[ParsedResult, BeforeValidator(compiled)]


def search(expression: ParsedResult, value: object) -> Any:
    """What an expression finds in a JSON value; nothing is None.

    :raises ContentError: the expression cannot be applied to this value (a function got a wrong type)
    """
    try:
        return expression.search(value)
    except (ValueError, TypeError, RecursionError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise ContentError("rest.expression", where=expression.expression, reason=reason) from problem

"""The answers that are no completion: a status and an error in the shape that clients of OpenAI know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar


class Refusal(Exception):
    """A request that is answered with an HTTP error instead of a completion."""

    kinds: ClassVar[Mapping[int, str]] = {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        429: "rate_limit_error",
        503: "service_unavailable",
        529: "overloaded_error",
    }

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str | None = None,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`param` is the path of what is wrong in the request, `code` is what machines go by."""
        super().__init__(message)
        self.status = status
        self.message = message
        usual = "server_error" if status >= 500 else "invalid_request_error"
        self.kind = kind or self.kinds.get(status, usual)
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """Return the JSON of the answer."""
        return error_body(self.message, self.kind, self.param, self.code)


def error_body(message: str, kind: str, param: str | None = None, code: str | None = None) -> bytes:
    """Return an error object as it stands in an answer or, behind a status of 200, in a stream."""
    return json.dumps({"error": {"message": message, "type": kind, "param": param, "code": code}}).encode()


def invalid(param: str, message: str, code: str | None = None) -> Refusal:
    """Return the refusal of a request that is wrong at `param`; the message names the place as well."""
    return Refusal(400, f"{param}: {message}", param=param, code=code)

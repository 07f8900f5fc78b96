"""Answer an HTTP request as an interface that was asked too often does."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from vaurien.behaviors._replies import Replying
from vaurien.behaviors.http_status import HttpStatus
from vaurien.framing import Protocol, Reply
from vaurien.hooks import Request
from vaurien.options import Count, Duration, Option

_KINDS = {429: "rate_limit_error", 503: "api_error", 529: "overloaded_error"}


class RateLimited(Replying, frozen=True):
    """Answer an HTTP request with 429, and say when to try again; the backend never sees it.

    The client reads ``retry-after``, ``x-ratelimit-limit-requests``, ``-remaining-requests``, ``-reset-requests``, and
    an error in the shape of OpenAI's or Anthropic's interface, with *status* 529 and the shape ``anthropic`` that of an
    overloaded server. Its connection stays usable.
    """

    status: Annotated[Literal[429, 503, 529], Option("The status to answer")] = 429
    retry_after: Annotated[Duration | None, Option("Seconds to wait that it names, rounded up; none: no word")] = 1.0
    limit: Annotated[Count, Option("Requests a minute that are allowed, as it says")] = 60
    shape: Annotated[Literal["openai", "anthropic"], Option("Whose error the body is")] = "openai"
    message: Annotated[str, msgspec.Meta(max_length=1000), Option("What it says")] = "Rate limit reached for requests"

    def check(self, protocol: Protocol) -> None:
        """Refuse protocols without statuses. Raises `OptionError`."""
        HttpStatus().check(protocol)

    def replies_to(self, asked: Request) -> Sequence[Reply]:
        """The one."""
        return (self.reply_to(asked),)

    def reply_to(self, asked: Request) -> Reply:
        """The response."""
        headers = [
            "content-type: application/json",
            f"x-ratelimit-limit-requests: {self.limit}",
            "x-ratelimit-remaining-requests: 0",
        ]
        if self.retry_after is not None:
            seconds = math.ceil(self.retry_after)  # whole ones: RFC 9110, section 10.2.3
            headers += [f"retry-after: {seconds}", f"x-ratelimit-reset-requests: {seconds}s"]
        error = {"type": _KINDS[self.status], "message": self.message}
        body: dict[str, object] = {"error": {**error, "code": "rate_limit_exceeded", "param": None}}
        if self.shape == "anthropic":
            body = {"type": "error", "error": error}
        made = HttpStatus(status=self.status, headers=tuple(headers), body=json.dumps(body).replace("\\", "\\\\"))
        return made.reply_to(asked)

"""Server-sent events: an error before the first is an HTTP error, a later one is an event."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse

from eureka_audio.errors import EurekaAudioError
from eureka_audio.server.problems import Problem, internal_problem, problem_of

log = logging.getLogger("eureka_audio.server")


class EventStream(StreamingResponse):
    """Events as they come."""

    media_type = "text/event-stream"

    @classmethod
    async def begin(
        cls, events: AsyncIterator[dict[str, Any]], last: str | None = None
    ) -> "EventStream":
        """Wait for the first event, so that what goes wrong before it has a status of its own.

        Args:
            events: objects, sent as JSON.
            last: what is sent after them, if nothing went wrong.
        """
        first = await anext(events)
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return cls(_lines(first, events, last), headers=headers)


async def _lines(
    first: dict[str, Any], events: AsyncIterator[dict[str, Any]], last: str | None
) -> AsyncIterator[bytes]:
    try:
        yield _line(json.dumps(first))
        async for event in events:
            yield _line(json.dumps(event))
        if last is not None:
            yield _line(last)
    except ClientDisconnect:
        return
    except Problem as problem:
        yield _line(json.dumps(problem.body))
    except EurekaAudioError as error:
        yield _line(json.dumps(problem_of(error).body))
    except Exception:
        log.exception("unforeseen, in the middle of a stream")
        yield _line(json.dumps(internal_problem().body))


def _line(data: str) -> bytes:
    return f"data: {data}\n\n".encode()

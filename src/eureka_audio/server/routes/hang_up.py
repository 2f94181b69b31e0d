"""Work that ends when nobody waits for it any more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of some work, which is cancelled as soon as the client hangs up.

    Raises:
        ClientDisconnect: it did.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_hang_up(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for waiting in (task, gone):
            waiting.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _hang_up(request: Request) -> None:
    """Return once the client is gone; the body has been read by then."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def each_unless_gone(request: Request, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """Items of a stream, which is closed as soon as the client hangs up."""
    try:
        while True:
            try:
                yield await unless_gone(request, anext(items))
            except StopAsyncIteration:
                return
    finally:
        await items.aclose()  # type: ignore[attr-defined]

"""What is served, whether it is well, and how busy: `/health`, `/v1/models`, `/metrics`."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from eureka_audio.server.context import context_of
from eureka_audio.server.problems import Problem

router = APIRouter()


@router.get("/health")
async def health(request: Request) -> Response:
    """200 while requests can be answered, else 503 and why."""
    context = context_of(request)
    state = context.service.state
    is_well = state not in ("failing", "stalled", "dead") and not context.door.is_draining
    body = {
        "status": "draining" if context.door.is_draining else "ok" if is_well else "unavailable",
        "model": state,
        "requests": context.door.num_inside,
    }
    return JSONResponse(body, 200 if is_well else 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """How busy, in the text format of Prometheus."""
    content, media_type = context_of(request).metrics.exposition()
    return Response(content, media_type=media_type)


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """The names clients may use."""
    names = context_of(request).settings.model_names
    return {"object": "list", "data": [_entry(request, name) for name in names]}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    """One of them."""
    if name not in context_of(request).settings.model_names:
        raise Problem(
            404, f"expected a model of /v1/models, got {name!r:.80}", "model_not_found",
            param="model",
        )  # fmt: skip
    return _entry(request, name)


def _entry(request: Request, name: str) -> dict[str, Any]:
    started = int(request.app.state.started_at)
    return {"id": name, "object": "model", "created": started, "owned_by": "eureka-audio"}

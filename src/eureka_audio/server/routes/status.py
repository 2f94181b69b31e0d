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
    state = "draining" if context.door.is_draining else context.service.state
    status = 503 if state in ("draining", "dead") else 200
    return JSONResponse(
        {"status": "ok" if status == 200 else "unavailable", "model": state}, status
    )


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

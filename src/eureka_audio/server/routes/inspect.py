"""`POST /v1/inspect`: what the model hears before it says a word, for people who look closely."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.window import split_windows
from eureka_audio.server.context import context_of
from eureka_audio.server.inspection import inspection_body
from eureka_audio.server.problems import invalid
from eureka_audio.server.routes.hang_up import unless_gone
from eureka_audio.server.schema import InspectionForm
from eureka_audio.server.service import ModelService

router = APIRouter()


@router.post("/v1/inspect")
async def inspect(request: Request) -> dict[str, Any]:
    """Spectrogram and choice of experts of a recording; the fields are `file` and `model`."""
    context = context_of(request)
    async with request.form(max_files=1, max_fields=8, max_part_size=4096) as form:
        upload = form.get("file")
        fields = {name: value for name, value in form.items() if name != "file"}
        context.check_model(InspectionForm.model_validate(fields).model)
        if not isinstance(upload, UploadFile):
            raise invalid(
                "file: expected an audio file, got none; send it as multipart/form-data",
                "file", "missing_file",
            )  # fmt: skip
        content, name = await upload.read(), upload.filename or "file"
    audio = await unless_gone(request, context.decode(content, name, "file"))
    return await unless_gone(request, _heard(context.service, audio))


async def _heard(service: ModelService, audio: DecodedAudio) -> dict[str, Any]:
    """Window by window, so that other requests get their turn between two of them."""
    spans = split_windows(len(audio.waveform))
    windows = [await service.hear(span.of(audio.waveform)) for span in spans]
    return await asyncio.to_thread(inspection_body, windows, audio.duration_seconds)

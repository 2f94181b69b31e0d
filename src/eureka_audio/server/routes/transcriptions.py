"""`POST /v1/audio/transcriptions`, and `translations`, which are refused."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.datastructures import FormData, UploadFile

from eureka_audio.inference.transcription.subtitles import as_srt, as_vtt
from eureka_audio.protocols import Transcript
from eureka_audio.server import formats
from eureka_audio.server.context import context_of
from eureka_audio.server.problems import Problem, invalid
from eureka_audio.server.routes.hang_up import each_unless_gone, unless_gone
from eureka_audio.server.routes.sse import EventStream
from eureka_audio.server.schema import TranscriptionForm
from eureka_audio.server.transcribing import TranscriptionOptions

router = APIRouter()
MAX_FIELDS = 400
# Fields that may come several times: in a form a list is one field for each item.
LISTS = {
    "timestamp_granularities[]": "timestamp_granularities",
    "timestamp_granularities": "timestamp_granularities",
    "keywords[]": "hotwords",
    "keywords": "hotwords",
    "hotwords[]": "hotwords",
    "hotwords": "hotwords",
}


@router.post("/v1/audio/transcriptions")
async def transcribe(request: Request) -> Response:
    """Write down what is said in a recording."""
    context = context_of(request)
    async with request.form(max_files=1, max_fields=MAX_FIELDS, max_part_size=65_536) as form:
        upload = form.get("file")
        fields = read_fields(form)
        if not isinstance(upload, UploadFile):
            raise invalid(
                "file: expected an audio file, got none; send it as multipart/form-data",
                "file", "missing_file",
            )  # fmt: skip
        context.check_model(fields.model)
        content, name = await upload.read(), upload.filename or "file"
    audio = await unless_gone(request, context.decode(content, name, "file"))
    options = TranscriptionOptions(
        language=fields.language,
        temperature=fields.temperature,
        prompt=fields.prompt,
        hotwords=fields.hotwords,
        word_times=_word_times(fields),
    )
    if fields.stream:
        found = context.service.stream_transcribe(audio, options)
        return await EventStream.begin(each_unless_gone(request, events(found, fields)))
    transcript = await unless_gone(request, context.service.transcribe(audio, options))
    return written(transcript, fields)


async def events(
    found: AsyncGenerator[str | Transcript, None], fields: TranscriptionForm
) -> AsyncIterator[dict[str, Any]]:
    """OpenAI's events of a transcript that is being written; with `verbose_json` the last has all
    that it has there, the times of words too where the model can tell them.
    """
    async with aclosing(found) as pieces:
        async for piece in pieces:
            if isinstance(piece, str):
                yield {"type": "transcript.text.delta", "delta": piece}
                continue
            body: dict[str, Any] = {}
            if fields.response_format == "verbose_json":
                granularities = fields.timestamp_granularities or {"segment", "word"}
                body = formats.verbose_body(piece, granularities, fields.temperature)
            yield {"type": "transcript.text.done", **body, **formats.json_body(piece)}


def _word_times(fields: TranscriptionForm) -> bool | None:
    """Whether the times of words are needed; segments, too, are better with them."""
    if "word" in fields.timestamp_granularities:
        return True
    return None if fields.response_format in ("verbose_json", "srt", "vtt") else False


def written(transcript: Transcript, fields: TranscriptionForm) -> Response:
    """The transcript in the format asked for."""
    match fields.response_format:
        case "json":
            return JSONResponse(formats.json_body(transcript))
        case "verbose_json":
            granularities = fields.timestamp_granularities or {"segment"}
            return JSONResponse(formats.verbose_body(transcript, granularities, fields.temperature))
        case "text":
            return PlainTextResponse(transcript.text + "\n")
        case "srt":
            return PlainTextResponse(as_srt(transcript))
        case "vtt":
            return PlainTextResponse(as_vtt(transcript), media_type="text/vtt")


def read_fields(form: FormData) -> TranscriptionForm:
    """The text fields of a form."""
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name == "file":
            continue
        if not isinstance(value, str):
            raise invalid(f"{name}: expected text, got a file; send it as a plain field", name)
        if name in LISTS:
            fields.setdefault(LISTS[name], []).append(value)
        elif name in fields:
            raise invalid(f"{name}: expected once, got twice; send it once", name)
        else:
            fields[name] = value
    return TranscriptionForm.model_validate(fields)


@router.post("/v1/audio/translations")
async def translate() -> Response:
    """Translate: this model cannot."""
    raise Problem(
        400,
        "translations are not supported: this model writes down what is said in the language it "
        "is said in; use /v1/audio/transcriptions",
        "unsupported_operation",
    )

"""Where the audio of a conversation comes from: its own bytes, or a place that policy allows.

The only door to URLs and files is `audio.fetch`; nothing here opens either.
"""

import asyncio
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.fetch import AudioAccess, display_name, fetch_url, open_file
from eureka_audio.errors import AudioAccessError, AudioLimitError, EurekaAudioError
from eureka_audio.records import AudioPart, Conversation, Message, TextPart
from eureka_audio.server.context import Context
from eureka_audio.server.problems import Problem, invalid, problem_of
from eureka_audio.server.schema import (
    AudioUrlContent,
    ChatMessage,
    ChatRequest,
    InputAudioContent,
    TextContent,
)

MAX_URL_CHARACTERS = 8_192


async def conversation_of(body: ChatRequest, context: Context) -> Conversation:
    """The conversation of a request, its audio decoded.

    Raises:
        Problem: audio that cannot be used, or more of it than is allowed.
    """
    _check_number(body.messages, context.settings.max_audio_parts)
    messages, seconds = [], 0.0
    for number, message in enumerate(body.messages):
        parts: list[TextPart | AudioPart] = []
        for place, part in enumerate(_parts(message)):
            param = f"messages.{number}.content.{place}"
            if isinstance(part, TextContent):
                parts.append(TextPart(text=part.text))
                continue
            audio = await _heard(part, param, context)
            seconds += audio.duration_seconds
            if seconds > context.settings.limits.max_duration_seconds:
                raise _too_long(param, context)
            parts.append(AudioPart(audio=audio))
        role = "system" if message.role == "developer" else message.role
        messages.append(Message(role=role, content=tuple(parts)))
    return Conversation(messages=tuple(messages))


def _parts(
    message: ChatMessage,
) -> Sequence[TextContent | InputAudioContent | AudioUrlContent]:
    if isinstance(message.content, str):
        return (TextContent(type="text", text=message.content),)
    return message.content


def _check_number(messages: Sequence[ChatMessage], most: int) -> None:
    """Refuse a crowd before any of it is decoded."""
    num_audios = sum(
        not isinstance(part, TextContent) for message in messages for part in _parts(message)
    )
    if num_audios > most:
        raise invalid(
            f"messages: expected at most {most} recordings, got {num_audios}; ask about fewer at "
            "once",
            "messages",
        )


def _too_long(param: str, context: Context) -> Problem:
    most = context.settings.limits.max_duration_seconds
    return invalid(
        f"{param}: expected at most {most:g} s of audio in all, got more; ask about less at once",
        param,
        "audio_too_large",
    )


async def _heard(
    part: InputAudioContent | AudioUrlContent, param: str, context: Context
) -> DecodedAudio:
    if isinstance(part, InputAudioContent):
        # Base64 is decoded in the worker too: the event loop has other things to do.
        uri = f"data:audio;base64,{part.input_audio.data}"
        return await context.decode(uri, "input_audio", param)
    url = part.audio_url.url
    if url[:5].lower() == "data:":
        return await context.decode(url, "data URI", param)
    try:
        content = await asyncio.to_thread(read_place, url, context.settings.access)
    except EurekaAudioError as error:
        raise problem_of(error, param) from error
    return await context.decode(content, display_name(url), param)


def read_place(place: str, access: AudioAccess) -> bytes:
    """The bytes behind a URL, a file: URL or a path, as far as policy allows.

    Raises:
        AudioError: it does not (a subclass says why), or there is nothing.
    """
    if len(place) > MAX_URL_CHARACTERS:
        raise AudioAccessError(
            f"expected a URL of at most {MAX_URL_CHARACTERS} characters, got {len(place)}; send "
            "the bytes"
        )
    if place[:5].lower() == "file:":
        parts = urlsplit(place)
        if parts.netloc not in ("", "localhost"):
            raise AudioAccessError(f"{display_name(place)}: expected file:///path; correct it")
        place = unquote(parts.path)
    elif "://" in place:
        return fetch_url(place, access)
    with open_file(place, access) as file:
        content = file.read(access.max_download_bytes + 1)
    if len(content) > access.max_download_bytes:
        raise AudioLimitError(
            f"{display_name(place)}: longer than the {access.max_download_bytes} bytes allowed; "
            "split it"
        )
    return content

"""What routes share: settings, the model, the decoders, the door."""

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from eureka_audio.audio.decode import DecodedAudio
from eureka_audio.audio.fetch import display_name
from eureka_audio.errors import EurekaAudioError
from eureka_audio.server.decoding import DecodePool
from eureka_audio.server.limits import Door, ServerSettings
from eureka_audio.server.metrics import Metrics
from eureka_audio.server.problems import Problem, problem_of
from eureka_audio.server.service import ModelService, check_alive


@dataclass(frozen=True)
class Context:
    """The parts of one running server."""

    settings: ServerSettings
    service: ModelService
    decoders: DecodePool
    door: Door
    sessions: Door
    metrics: Metrics

    def check_model(self, name: str) -> None:
        """Refuse a model that is not here, or not alive.

        Raises:
            Problem: 404 or 503.
        """
        if name not in self.settings.model_names:
            known = ", ".join(self.settings.model_names)
            raise Problem(
                404,
                f"model: expected {known}, got {name!r:.80}; /v1/models lists what is served",
                "model_not_found",
                param="model",
            )
        check_alive(self.service)

    async def decode(self, content: bytes | str, name: str, param: str) -> DecodedAudio:
        """Decode a recording that a client sent.

        Raises:
            Problem: it cannot be used.
        """
        try:
            audio = await self.decoders.decode(content, display_name(name))
        except EurekaAudioError as error:
            raise problem_of(error, param) from error
        self.metrics.heard(audio.duration_seconds)
        return audio


def context_of(connection: HTTPConnection) -> Context:
    """The context of the server that a request came to."""
    return cast(Context, connection.app.state.context)

"""Step 1, first half: a dense caption of raw audio."""

from eureka_audio.dataflux.config import StepConfig
from eureka_audio.dataflux.prompts import read_template
from eureka_audio.dataflux.refusals import RefusalError
from eureka_audio.protocols import Reply, Request
from eureka_audio.records import AudioClip

VALUES, DATA = frozenset[str](), frozenset[str]()
DEFAULT_PROMPT = "caption.v1"


def ask(clip: AudioClip, step: StepConfig, seed: int) -> Request:
    """Ask what can be heard."""
    template = read_template(step.prompt or DEFAULT_PROMPT)
    conversation, _ = template.fill({}, {}, clip.path)
    return Request(
        conversation,
        max_new_tokens=step.max_new_tokens,
        temperature=step.temperature,
        seed=seed,
        inputs={"clip": clip},
    )


def read(reply: Reply) -> str:
    """The caption.

    Raises:
        RefusalError: there is none, or the model went round in circles.
    """
    if not reply.text.strip():
        raise RefusalError("expected a caption, got no words")
    if reply.finish_reason == "repetition":
        raise RefusalError(f"expected a caption, got a loop: {reply.text[:80]!r}")
    return reply.text.strip()

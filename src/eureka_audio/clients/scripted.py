"""A model that follows a script: for tests, and to try an evaluation without a model."""

from collections.abc import Callable, Sequence

from eureka_audio.errors import EurekaAudioError
from eureka_audio.protocols import Reply
from eureka_audio.records import Conversation, TextPart

Script = Callable[[str], str | EurekaAudioError]


class ScriptedModel:
    """Answers by a function of the words it was asked, audio unheard.

    Attributes:
        asked: the words of every question so far, in order.

    Example:
        >>> from eureka_audio.records import Message
        >>> model = ScriptedModel(str.upper)
        >>> user = Message(role="user", content=(TextPart(text="hello"),))
        >>> str(model.answer([Conversation(messages=(user,))])[0])
        'HELLO'
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self.asked: list[str] = []

    def answer(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int | None = None
    ) -> list[Reply | EurekaAudioError]:
        """Answer in order; the script may give an error for one of them."""
        replies: list[Reply | EurekaAudioError] = []
        for conversation in conversations:
            words = words_of(conversation)
            self.asked.append(words)
            said = self._script(words)
            replies.append(Reply(said) if isinstance(said, str) else said)
        return replies


def words_of(conversation: Conversation) -> str:
    """The text of the last message."""
    return "".join(
        part.text for part in conversation.messages[-1].content if isinstance(part, TextPart)
    )

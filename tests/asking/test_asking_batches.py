"""What comes together is answered together, in batches of one kind."""

import asyncio
from collections.abc import Sequence

from eureka_audio.asking.batches import BatchedModel
from eureka_audio.errors import AudioFormatError, EurekaAudioError
from eureka_audio.protocols import Reply, Request
from eureka_audio.records import Conversation, Message, TextPart


class Model:
    """Says what it was asked; breaks on a batch with "bad" in it."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def answer(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int | None = None
    ) -> list[Reply | EurekaAudioError]:
        words = [one.messages[0].content[0].text for one in conversations]  # type: ignore[union-attr]
        self.batches.append([*words, str(max_new_tokens)])
        if "bad" in words:
            raise AudioFormatError("broken")
        return [Reply(word) for word in words]

    def choose(
        self, conversations: Sequence[Conversation], choices: Sequence[Sequence[str]]
    ) -> list[Reply | EurekaAudioError]:
        self.batches.append(["chosen", *(offer[0] for offer in choices)])
        return [Reply(offer[0]) for offer in choices]


def request(text: str, choices: tuple[str, ...] | None = None, limit: int | None = None) -> Request:
    user = Message(role="user", content=(TextPart(text=text),))
    return Request(Conversation(messages=(user,)), choices, max_new_tokens=limit)


def ask(model: BatchedModel, *requests: Request) -> list[Reply | EurekaAudioError]:
    async def go() -> list[Reply | EurekaAudioError]:
        return list(await asyncio.gather(*map(model.reply, requests)))

    return asyncio.run(go())


def test_batches_are_of_one_kind_and_answers_find_their_way_back() -> None:
    inner = Model()
    model = BatchedModel(inner, batch_size=2, choose=True)
    asked = [
        request("a"),
        request("?", ("x", "y")),
        request("b"),
        request("c"),
        request("d", None, 5),
    ]
    assert [str(reply) for reply in ask(model, *asked)] == ["a", "x", "b", "c", "d"]
    assert inner.batches == [["a", "b", "None"], ["chosen", "x"], ["c", "None"], ["d", "5"]]


def test_without_choosing_choices_are_answered_freely() -> None:
    assert [str(one) for one in ask(BatchedModel(Model()), request("a", ("x", "y")))] == ["a"]


def test_an_error_of_a_batch_is_everybodys_in_it() -> None:
    found = ask(BatchedModel(Model(), batch_size=2), request("a"), request("bad"), request("c"))
    assert [isinstance(one, AudioFormatError) for one in found] == [True, True, False]

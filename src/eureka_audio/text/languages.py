"""The languages of speech, by their ISO 639-1 codes and their English names.

Source: Whisper's table, as transformers has it.
"""

from difflib import get_close_matches

from transformers.models.whisper.tokenization_whisper import LANGUAGES as WHISPER_LANGUAGES

from eureka_audio.errors import ConfigError

LANGUAGES: dict[str, str] = {code: name.title() for code, name in WHISPER_LANGUAGES.items()}


def language_code(language: str) -> str:
    """The code of a language that is given by its code or its English name, in any case.

    Raises:
        ConfigError: there is no such language; the message names the nearest.

    Example:
        >>> language_code("German"), language_code("DE")
        ('de', 'de')
    """
    wanted = language.strip().lower()
    if wanted in LANGUAGES:
        return wanted
    codes = {name.lower(): code for code, name in LANGUAGES.items()}
    if wanted in codes:
        return codes[wanted]
    near = get_close_matches(wanted, codes, n=1)
    hint = f"did you mean {near[0].title()}?" if near else "write it as German, or as de"
    raise ConfigError(
        f"language: expected an English name or ISO 639-1 code, got {language!r:.40}; {hint}"
    )

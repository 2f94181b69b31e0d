"""Mandarin number rewriting, case by case from the rule."""

import pytest

from eureka_audio.evaluation.mandarin import cardinal, normalize_mandarin, rewrite_numbers
from eureka_audio.evaluation.normalizers import asr_rule


@pytest.mark.parametrize(
    ("number", "spoken"),
    [
        ("1010", "一千零一十"),
        ("007", "零七"),
        ("00", ""),
        ("0", "零"),
        ("200", "两百"),
        ("20", "二十"),
        ("222", "两百二十二"),
        ("2", "二"),
        ("12", "十二"),
        ("112", "一百一十二"),
        ("00.5", "零点五"),
        ("0.5", "零点五"),
        ("20000", "两万"),
        ("120000", "十二万"),
        ("100000000", "一亿"),
        ("１２", "十二"),
    ],
)
def test_cardinal(number: str, spoken: str) -> None:
    assert cardinal(number) == spoken


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("100和10个", "十零和十个"),  # the first occurrence is replaced, wherever the match was
        ("2008年8月8日", "二零零八年八月八日"),
        ("1812年", "一千八百一十二年"),
        ("98年", "九八年"),
        ("100元", "一百元"),
        ("3块5", "三块五"),
        ("13812345678。", "一三八一二三四五六七八。"),
        ("打010-12345678吧", "打零一零一二三四五六七八吧"),
        ("1/3", "三分之一"),
        ("3.5％", "百分之三点五"),
        ("12345", "一二三四五"),
        ("B2B", "B2B"),
        ("2个", "二个"),
        (".5", ".五"),
        ("-5度", "-五度"),
        ("^开头$", "开头"),
    ],
)
def test_rewrite_numbers(text: str, rewritten: str) -> None:
    assert rewrite_numbers(text) == rewritten


def test_punctuation_becomes_space_and_nothing_else_changes() -> None:
    assert normalize_mandarin("呃，你好Ａ-b《书》〇") == "呃 你好Ａ b 书 〇"


@pytest.mark.parametrize(
    ("rule", "tokens"),
    [
        ("kimi", ["你", "好", "helloworld", "三", "二"]),
        ("qwen2_audio", [*"你好helloworld三二"]),
        ("wenet", ["你", "好", "HELLO", "WORLD", "3:2"]),
    ],
)
def test_mixed_text_shows_how_the_rules_differ(rule: str, tokens: list[str]) -> None:
    assert asr_rule(rule, "zh").tokens("你好 hello world，3:2") == tokens

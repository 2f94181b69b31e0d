"""Whatever a benchmark uses, the report can name in plain words."""

from eureka_audio.evaluation.benchmarks import BENCHMARKS
from eureka_audio.evaluation.report import _EXPLANATIONS, _RULES


def test_every_rule_and_metric_is_explained() -> None:
    for benchmark in BENCHMARKS.values():
        assert benchmark.metric in _EXPLANATIONS
        assert set(benchmark.rules) - {"judge"} <= set(_RULES), benchmark.name

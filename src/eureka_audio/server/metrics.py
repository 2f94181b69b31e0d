"""How busy the server is, in the text format of Prometheus.

Counters of requests are kept here; what the engine knows is read when somebody asks.
"""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from eureka_audio.inference.engine import EngineStats
from eureka_audio.server.limits import Door

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"})


class HasStats(Protocol):
    """A model that can say what its engine is doing."""

    @property
    def stats(self) -> EngineStats | None:
        """None while the model is not in memory."""
        ...


class Metrics:
    """The figures of one server.

    Args:
        service: whose engine is asked.
        door: who counts the requests inside.
    """

    def __init__(self, service: HasStats, door: Door) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "eureka_audio_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "eureka_audio_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._audio_seconds = Counter(
            "eureka_audio_audio_seconds", "Audio decoded.", registry=self._registry
        )
        self._registry.register(_EngineFigures(service, door))

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one request; `status` 0: the client left before its answer began."""
        method = method if method in METHODS else "other"
        self._requests.labels(method, route, str(status or 499)).inc()
        self._seconds.labels(route).observe(seconds)

    def heard(self, seconds: float) -> None:
        """Count decoded audio."""
        self._audio_seconds.inc(seconds)

    def exposition(self) -> tuple[bytes, str]:
        """All figures, and the type of that text."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


class _EngineFigures(Collector):
    """What is read from others when somebody asks."""

    def __init__(self, service: HasStats, door: Door) -> None:
        self._service = service
        self._door = door

    def collect(self) -> Iterator[Metric]:
        stats = self._service.stats
        yield _gauge("requests_inside", "Requests being served.", self._door.num_inside)
        yield _gauge("model_loaded", "Whether the model is in memory.", int(stats is not None))
        if stats is None:
            return
        yield _gauge("queue_length", "Requests waiting for the engine.", stats.queue_length)
        yield _gauge("requests_running", "Requests in the engine.", stats.num_running)
        yield _gauge("batch_size", "Answers that grew in the last step.", stats.batch_size)
        yield _gauge("cache_bytes", "Memory of keys and values.", stats.num_cache_bytes)
        yield _gauge("seconds_since_step", "Without progress.", stats.seconds_since_step)
        yield _gauge("tokens_per_second", "Of the last seconds.", stats.tokens_per_second)
        yield _counter("generated_tokens", "Tokens generated.", stats.num_new_tokens)
        times = sorted(stats.seconds_to_first_token)
        family = GaugeMetricFamily(
            "eureka_audio_time_to_first_token_seconds",
            "Of the latest requests, waiting included.",
            labels=("quantile",),
        )
        for quantile in (0.5, 0.95) if times else ():
            family.add_metric([str(quantile)], times[int(quantile * (len(times) - 1))])
        yield family
        ended = CounterMetricFamily(
            "eureka_audio_answers", "Answers by how they ended.", labels=("reason",)
        )
        for reason, count in stats.num_ended.items():
            ended.add_metric([str(reason)], count)
        yield ended
        experts = CounterMetricFamily(
            "eureka_audio_expert_tokens", "Audio tokens of each expert.", labels=("expert",)
        )
        for expert, count in enumerate(stats.tokens_per_expert):
            experts.add_metric([str(expert)], count)
        yield experts


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"eureka_audio_{name}", what, value=value)


def _counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(f"eureka_audio_{name}", what, value=value)

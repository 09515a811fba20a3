"""
OpenTelemetry: one span for each picture ordered, from the call to its result.

Needs the extra ``[otel]``. Spans of single HTTP requests are the business of
``opentelemetry-instrumentation-aiohttp-client``; status polls run in an empty context,
so they never hang on to the trace of whoever came first.

Source: OpenTelemetry semantic conventions for generative AI, still in development; all
names are in this file.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from apimodels_async._api.requests import model_of
from apimodels_async._io.lazy import without_extra
from apimodels_async._version import __version__
from apimodels_async.errors import ApiModelsError
from apimodels_async.models import ImageRequest

try:
    from opentelemetry import trace
except ModuleNotFoundError as _missing:
    raise without_extra(_missing, "otel") from None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apimodels_async.models import AnyRequest
    from apimodels_async.session import Session

__all__ = ["instrument"]


def instrument(
    session: Session,
    tracer_provider: trace.TracerProvider | None = None,
    *,
    record_prompts: bool = False,
) -> None:
    """
    Give every ``generate``, ``edit`` and ``submit`` of *session* a span.

    Args:
        tracer_provider: None: the global one.

        record_prompts: Put prompts into spans; off, because they may be confidential.
    """
    tracer = trace.get_tracer("apimodels_async", __version__, tracer_provider)
    server = urlsplit(session.base_url).hostname
    session.observe(_Spans(tracer, server, record_prompts=record_prompts))


class _Spans:
    def __init__(
        self, tracer: trace.Tracer, server: str | None, *, record_prompts: bool
    ) -> None:
        self._tracer = tracer
        self._server = server
        self._record_prompts = record_prompts

    @contextmanager
    def ordering(
        self, request: AnyRequest, idempotency_key: str | None = None
    ) -> Iterator[Callable[[str], None]]:
        model = model_of(request)
        with self._tracer.start_as_current_span(
            f"generate_content {model}",
            kind=trace.SpanKind.CLIENT,
            attributes=self._attributes(model, request, idempotency_key),
        ) as span:
            try:
                yield lambda task_id: span.set_attribute("gen_ai.response.id", task_id)
            except ApiModelsError as error:
                span.set_attribute("error.type", type(error).__name__)
                if error.task_id:
                    span.set_attribute("gen_ai.response.id", error.task_id)
                if error.idempotency_key:  # one of a batch is named by its error alone
                    key = error.idempotency_key
                    span.set_attribute("apimodels.idempotency_key", key)
                raise

    def _attributes(
        self, model: str, request: AnyRequest, idempotency_key: str | None
    ) -> dict[str, str | int]:
        found: dict[str, Any] = {
            "gen_ai.operation.name": "generate_content",
            "gen_ai.provider.name": "apimodels",
            "gen_ai.request.model": model,
            "gen_ai.output.type": "image",
            "gen_ai.request.seed": _seed(request),
            "server.address": self._server,
            "apimodels.idempotency_key": idempotency_key,
            "gen_ai.prompt": request.prompt if self._record_prompts else None,
        }
        return {name: value for name, value in found.items() if value is not None}


def _seed(request: AnyRequest) -> int | None:
    if isinstance(request, ImageRequest):
        seed = request.params.get("seed")
        return seed if isinstance(seed, int) else None
    return request.seed

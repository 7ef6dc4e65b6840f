"""For operators and their tools: alive, ready, metrics, and the agencies that the axis knows."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from lienthong import __version__
from lienthong.api.schemas import Served
from lienthong.errors import LienthongError
from lienthong.model import Organization
from lienthong.pipeline import certificates
from lienthong.pipeline.adapter import Adapter
from lienthong.registry import OpenConnection
from lienthong.store.schema import delivery as delivery_table
from lienthong.store.store import Reader
from lienthong.views import View, shown_time

router = APIRouter(tags=["operations"])

_OPEN = ("ready", "sending", "unknown", "offered")
_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_MISSED_POLLS = 3
_GRACE_SECONDS = 60.0


class Metrics:
    """What Prometheus asks for. ``observe`` is called after every hook call, from any thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = Histogram(
            "lienthong_hook_seconds",
            "Duration of hook calls by outcome (ok, or the kind of error)",
            ["connection", "hook", "outcome"],
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def observe(self, connection: str, hook: str, seconds: float, error: LienthongError | None) -> None:
        """Count one hook call."""
        outcome = "ok" if error is None else type(error).__name__
        self._calls.labels(connection, hook, outcome).observe(seconds)

    def exposition(self, adapter: Adapter) -> bytes:
        """Everything in Prometheus's text format; what the store holds is read now."""
        stored = CollectorRegistry()
        stored.register(_StoreCollector(adapter))
        return generate_latest(self._registry) + generate_latest(stored)


class _StoreCollector(Collector):
    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter

    def collect(self) -> Iterable[GaugeMetricFamily]:
        messages = GaugeMetricFamily("lienthong_messages", "Messages by state", labels=["direction", "kind", "state"])
        deliveries = GaugeMetricFamily("lienthong_deliveries", "Deliveries by state", labels=["connection", "state"])
        age = GaugeMetricFamily("lienthong_oldest_open_delivery_seconds", "Age of the oldest delivery not settled")
        with self._adapter.store.read() as reader:
            for (table, group, kind, state), count in reader.counts().items():
                family, labels = (
                    (messages, [group, kind, state]) if table == "message" else (deliveries, [group, state])
                )
                family.add_metric(labels, count)
            age.add_metric([], self._oldest(reader))
        return messages, deliveries, age

    def _oldest(self, reader: Reader) -> float:
        oldest = reader.deliveries(delivery_table.c.state.in_(_OPEN), limit=1)
        return max(0.0, self._adapter.seconds() - oldest[0].created_at) if oldest else 0.0


@router.get("/livez")
def alive() -> View:
    """The process answers."""
    return {"alive": True, "version": __version__}


@router.get("/readyz")
def ready(adapter: Served) -> JSONResponse:
    """Whether documents can be taken in and are being fetched; 503 when not, with what is wrong where.

    ``certificates``: those that have ended, will end soon, or cannot be read. Their documents wait, and others do not.
    """
    store_problem = _store_problem(adapter)
    connections = [] if store_problem else _connections(adapter)
    is_ready = not store_problem and all(each["usable"] for each in connections)
    view = {
        "ready": is_ready,
        "store": {"usable": not store_problem, "problem": store_problem},
        "connections": connections,
        "certificates": [] if store_problem else _certificates(adapter),
    }
    return JSONResponse(view, status_code=200 if is_ready else 503)


def _store_problem(adapter: Adapter) -> str:
    """Why the store cannot be written, tried for real; empty when it can."""
    try:
        with tempfile.TemporaryFile(dir=adapter.store.blobs.work) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
        with adapter.store.write():
            return ""
    except OSError as problem:
        return f"{type(problem).__name__}: {problem.strerror}"
    except LienthongError as problem:
        return problem.text("vi")


def _connections(adapter: Adapter) -> list[View]:
    with adapter.store.read() as reader:
        polls = reader.polls()
    fetching = [each for each in adapter.connections.values() if each.has("fetch")]
    return [_standing(adapter, each, *polls.get(each.name, (None, ""))) for each in fetching]


def _standing(adapter: Adapter, connection: OpenConnection, polled_at: float | None, problem: str) -> View:
    """``since`` is the last look at the peer that succeeded; ``problem`` is what went wrong after it."""
    longest = _MISSED_POLLS * connection.poll_seconds + _GRACE_SECONDS
    usable = polled_at is not None and adapter.seconds() - polled_at <= longest
    return {
        "name": connection.name,
        "role": connection.manifest.role,
        "usable": usable,
        "since": shown_time(polled_at),
        "problem": problem,
    }


def _certificates(adapter: Adapter) -> list[View]:
    thresholds, now = adapter.config.profile.certificate_warning_days, adapter.now()
    seen = certificates.watched(adapter)
    alarming = [each for each in seen if each.problem or certificates.ends_soon(each, now, thresholds)]
    return [_certificate_view(each, now) for each in alarming]


def _certificate_view(certificate: certificates.Watched, now: datetime) -> View:
    end = certificate.not_after
    return {
        "use": certificate.use,
        "name": certificate.name,
        "holder": certificate.holder,
        "serial": certificate.serial,
        "ends": shown_time(certificate.ends),
        "days_left": certificates.days_left(end, now) if end else None,
        "problem": certificate.problem,
    }


@router.get("/metrics")
def metrics(request: Request, adapter: Served) -> Response:
    """For Prometheus."""
    kept: Metrics = request.app.state.metrics
    return Response(kept.exposition(adapter), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/agencies")
def agencies(adapter: Served, q: str = "", limit: Annotated[int, Query(ge=1, le=5000)] = 200) -> View:
    """Agencies of the axis directory, as stored, whose code or name holds ``q`` (with or without diacritics)."""
    wanted = _folded(q)
    found: list[View] = []
    with adapter.store.read() as reader:
        for axis in sorted({agency.axis for agency in adapter.config.agency}):
            seen_at = shown_time(reader.agencies_seen_at(axis))
            known = reader.agencies(axis)
            found += [_agency_view(known[code], axis, seen_at) for code in sorted(known)]
    matching = [each for each in found if wanted in _folded(f"{each['code']} {each['name']}")]
    return {"agencies": matching[:limit], "total": len(matching)}


def _agency_view(agency: Organization, axis: str, seen_at: str | None) -> View:
    return {
        "code": agency.code,
        "name": agency.name,
        "address": agency.address,
        "email": agency.email,
        "telephone": agency.telephone,
        "website": agency.website,
        "axis": axis,
        "seen_at": seen_at,
    }


def _folded(text: str) -> str:
    """Lower case without diacritics, so that ``thanh hoa`` finds ``Thanh Hóa``."""
    decomposed = unicodedata.normalize("NFD", text.lower().replace("đ", "d"))
    return "".join(character for character in decomposed if not unicodedata.combining(character))

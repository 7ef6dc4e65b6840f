"""Health, metrics, the directory, and the server itself."""

from __future__ import annotations

import signal
import socket
import threading
from dataclasses import replace

import httpx
import pytest
from pydantic import SecretStr

from lienthong.api.app import build_app, serve
from lienthong.api.operations import Metrics
from lienthong.config import ApiSettings
from lienthong.errors import ConfigError, Rejected

from .workplace import CONFIGURATION, SmallAxis, build_adapter, close_adapter, put_offered, write_configuration

# --- health -----------------------------------------------------------------------------------------------------


def test_the_process_is_alive(untouched):
    assert untouched.http.get("/livez").json()["alive"] is True


def test_it_is_not_ready_before_the_first_look_at_a_peer(place):
    answer = place.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "store": {"usable": True, "problem": ""},
        "connections": [{"name": "axis", "role": "axis", "usable": False, "since": None, "problem": ""}],
        "certificates": [],
    }


def test_it_is_ready_after_a_look_that_succeeded(place, clock):
    place.work()
    answer = place.http.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    assert answer.json()["connections"][0]["since"] == "2026-03-02T08:30:00+07:00"


def test_it_is_not_ready_when_the_last_look_is_too_long_ago(place, clock):
    place.work()
    clock.advance(3 * 30 + 60)
    assert place.http.get("/readyz").status_code == 200
    clock.advance(1)
    assert place.http.get("/readyz").status_code == 503


def test_a_problem_is_told_while_it_is_still_ready_and_after(place, clock):
    place.work()
    place.axis.down = True
    place.work()
    answer = place.http.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["connections"][0]["problem"].startswith("Không kết nối được tới small-axis")
    clock.advance(1000)
    assert place.http.get("/readyz").status_code == 503
    place.axis.down = False
    place.work()
    assert place.http.get("/readyz").json()["connections"][0]["problem"] == ""


def test_it_is_not_ready_without_a_place_to_write(place, tmp_path):
    place.work()
    work = tmp_path / "data" / "blobs" / "tmp"
    work.rmdir()
    answer = place.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["store"] == {"usable": False, "problem": "FileNotFoundError: No such file or directory"}


# --- metrics ----------------------------------------------------------------------------------------------------


def test_metrics_count_by_state_and_tell_the_age_of_the_oldest_open_delivery(place, clock):
    put_offered(place, 1)
    clock.advance(90)
    put_offered(place, 2)
    lines = place.http.get("/metrics").text.splitlines()
    assert 'lienthong_deliveries{connection="product",state="offered"} 2.0' in lines
    assert 'lienthong_messages{direction="in",kind="edoc",state="dispatched"} 2.0' in lines
    assert "lienthong_oldest_open_delivery_seconds 90.0" in lines


def test_metrics_of_an_empty_store(untouched):
    answer = untouched.http.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "lienthong_oldest_open_delivery_seconds 0.0" in answer.text.splitlines()


def test_metrics_count_hook_calls_by_outcome(untouched):
    metrics = Metrics()
    metrics.observe("axis", "deliver", 0.2, None)
    metrics.observe("axis", "deliver", 0.3, Rejected("peer.rejected"))
    text = metrics.exposition(untouched.adapter).decode()
    assert 'lienthong_hook_seconds_count{connection="axis",hook="deliver",outcome="ok"} 1.0' in text
    assert 'lienthong_hook_seconds_sum{connection="axis",hook="deliver",outcome="Rejected"} 0.3' in text


def test_hook_calls_of_the_adapter_are_counted(place):
    place.work()
    assert 'hook="fetch",outcome="ok"} 1.0' in place.http.get("/metrics").text


# --- directory --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("thanh hoa", ["000.00.03.H53"]),
        ("THANH HÓA", ["000.00.03.H53"]),
        ("dong son", ["000.01.01.H53"]),
        ("000.00.02", ["000.00.02.H53"]),
        ("%", []),
        ("", ["000.00.01.H53", "000.00.02.H53", "000.00.03.H53", "000.01.01.H53"]),
    ],
)
def test_agencies_are_found_by_code_or_by_name_with_or_without_marks(place, wanted, found):
    place.work()
    answer = place.http.get("/v1/agencies", params={"q": wanted}).json()
    assert [each["code"] for each in answer["agencies"]] == found
    assert answer["total"] == len(found)


def test_agencies_can_be_limited_and_name_their_axis(place):
    place.work()
    answer = place.http.get("/v1/agencies", params={"limit": 1}).json()
    assert (len(answer["agencies"]), answer["total"]) == (1, 4)
    assert answer["agencies"][0]["axis"] == "axis"
    assert answer["agencies"][0]["seen_at"] == "2026-03-02T08:30:00+07:00"


# --- the server -------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path, clock):
    """Makes adapters whose API listens where the test says."""
    made = []

    def make(listen: str):
        api = ApiSettings(listen=listen, token=SecretStr("t"))
        config = write_configuration(tmp_path).model_copy(update={"api": api})
        made.append(build_adapter(config, SmallAxis(), Metrics(), clock))
        return made[-1]

    yield make
    for adapter in made:
        close_adapter(adapter)


def test_a_port_in_use_stops_the_start_and_is_named(elsewhere):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError) as caught:
            serve(elsewhere(listen), Metrics())
    assert caught.value.code == "api.port-in-use"
    assert listen in caught.value.text("vi")


@pytest.mark.parametrize("listen", ["127.0.0.1:99999", "203.0.113.9:8028", "no-such-host.invalid:8028"])
def test_an_address_that_cannot_be_used_stops_the_start(elsewhere, listen):
    with pytest.raises(ConfigError) as caught:
        serve(elsewhere(listen), Metrics())
    assert caught.value.code == "api.cannot-listen"


def test_without_api_settings_there_is_no_api(untouched):
    adapter = replace(untouched.adapter, config=untouched.adapter.config.model_copy(update={"api": None}))
    with pytest.raises(ConfigError, match=r"no \[api\]"):
        build_app(adapter, Metrics())


def test_a_stopped_server_frees_its_port_and_its_thread(elsewhere):
    handle = serve(elsewhere("127.0.0.1:0"), Metrics())
    handle.stop()
    assert not handle.thread.is_alive()
    with socket.create_server(handle.address):
        pass


def test_signals_stay_with_the_daemon(elsewhere):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    handle = serve(elsewhere("127.0.0.1:0"), Metrics())
    httpx.get("http://{}:{}/livez".format(*handle.address), trust_env=False)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    handle.stop()


class Broken:
    """Metrics with a defect, and with content in its text."""

    def exposition(self, _adapter) -> bytes:
        raise ZeroDivisionError("trích yếu của văn bản")


def test_a_defect_is_told_without_its_text_and_without_a_trace(elsewhere, capfd):
    handle = serve(elsewhere("127.0.0.1:0"), Broken())
    answer = httpx.get("http://{}:{}/metrics".format(*handle.address), trust_env=False)
    handle.stop()
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "api.defect")
    written = capfd.readouterr()
    logged = written.out + written.err
    assert "ZeroDivisionError" in logged
    assert "test_operations.py" in logged
    assert "trích yếu" not in logged + answer.text
    assert "Traceback" not in logged + answer.text


def test_the_event_loop_stays_free_while_the_store_is_busy(place, stranger):
    """Blocking work is done in other threads: the process still says that it lives."""
    with place.adapter.store.write():
        busy = threading.Thread(target=place.hand_in)
        busy.start()
        assert stranger.get("/livez", timeout=5).status_code == 200
    busy.join(10)
    assert not busy.is_alive()


def test_the_sample_configuration_listens_on_loopback_only():
    assert ApiSettings(token=SecretStr("t")).listen.startswith("127.0.0.1:")
    assert 'listen = "127.0.0.1:' in CONFIGURATION

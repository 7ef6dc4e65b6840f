"""Plugin ``sidecar``: the office is a product that calls the adapter's HTTP API; it collects and confirms by itself."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from lienthong import Capabilities, Connection, Delivery, Manifest, Probe, Receipt, hookimpl


class SidecarConfig(BaseModel):
    """No keys of its own: the API's address and token stand in ``[api]``."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@hookimpl
def describe() -> Manifest:
    return Manifest(
        name="sidecar",
        version="1",
        role="office",
        summary="the product calls the adapter's HTTP API (inbox with lease and acknowledgement)",
        config=SidecarConfig,
        capabilities=Capabilities(dedup="native", ack="implicit"),
        evidence="part of the adapter; tested over real sockets",
    )


@hookimpl
def deliver(connection: Connection, delivery: Delivery) -> Receipt:
    """Offer it in the inbox: the product leases it, stores it, and acknowledges it through the API."""
    return Receipt(peer_id=delivery.key, settled=False)


@hookimpl
def probe(connection: Connection) -> Probe:
    return Probe(usable=True, detail="the product calls us; nothing to reach", observed=connection.now())

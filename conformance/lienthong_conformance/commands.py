"""Commands that the suite adds to ``lienthong``. Imports stay inside the commands: this module loads for every one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lienthong.cli import JsonOption
from lienthong.hookspecs import hookimpl


@hookimpl
def register_commands(app: typer.Typer) -> None:
    app.add_typer(sim, name="sim")
    app.command("demo")(demo)


sim = typer.Typer(
    help="Simulators: real servers with a peer's real quirks, for trying things out.", no_args_is_help=True
)

FolderOption = Annotated[
    Path | None, typer.Option(help="Keep the records here; default: a temporary folder that goes away at the end.")
]
FaultsOption = Annotated[
    Path | None,
    typer.Option("--faults", help='Misbehave as this JSON file says: [{"kind": "lost-answer", "times": 1}].'),
]


@sim.command()
def axis(
    configs: Annotated[
        list[Path], typer.Option("--for", help="Configuration of an adapter that uses this axis; repeat for several.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8085,
    folder: FolderOption = None,
    faults: FaultsOption = None,
) -> None:
    """Run a document axis until Ctrl-C. It knows the agencies of the given configurations and their secrets.

    Example: lienthong sim axis --for a/lienthong.toml --for b/lienthong.toml
    """
    from lienthong_conformance.simulators.by_hand import run_axis

    run_axis(configs, port, folder, faults)


@sim.command()
def office(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8086,
    folder: FolderOption = None,
    faults: FaultsOption = None,
    clerk: Annotated[str, typer.Option(help="auto answers incoming documents with 03, 05, 06; none waits.")] = "auto",
) -> None:
    """Run a document system with a REST interface until Ctrl-C; it prints the lines that connect an adapter to it.

    Example: lienthong sim office --clerk none
    """
    from lienthong_conformance.simulators.by_hand import run_office

    run_office(port, folder, faults, clerk)


@sim.command()
def keys(
    configs: Annotated[list[Path], typer.Argument(metavar="CONFIG...", help="Configurations made by lienthong init.")],
    folder: Annotated[Path | None, typer.Option(help="Keep the whole test PKI here, also its unfit signers.")] = None,
) -> None:
    """Make test keys, so that the adapters of these configurations sign, and trust one another.

    Name all of them in one call: each call makes a PKI of its own. The keys are for trying out and for nothing else.

    Example: lienthong sim keys a/lienthong.toml b/lienthong.toml
    """
    from datetime import UTC, datetime

    from lienthong_conformance.equipping import equip

    for path in equip(configs, folder, datetime.now(UTC)):
        typer.echo(path)
    typer.echo("Khóa thử nghiệm, không có giá trị pháp lý / test keys, without legal value")


def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Keep everything in this new or empty folder; default: nothing stays.")
    ] = None,
    json_out: JsonOption = False,
) -> None:
    """Three agencies exchange nineteen letters over a simulated axis on this machine; nothing is left running.

    Folder office, REST office and a product on the sidecar API, each with its own `lienthong run`. One document is
    refused for secrecy, one has no reachable recipient, one is tampered with in transit, one is recalled, and one
    adapter is killed (SIGKILL) with work in hand. What is counted comes from the simulators' records, not from the
    adapters.

    Exit code 0: nothing lost, nothing twice, everything as planned. 1: what differs is printed.

    Examples: lienthong demo     |     lienthong demo --json     |     lienthong demo --keep ket-qua
    """
    from lienthong_conformance.demo.play import run_demo

    raise typer.Exit(run_demo(keep, json_out=json_out))

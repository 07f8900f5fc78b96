"""``vaurien mesh``: the ways between the nodes of a cluster as proxies, which can be cut and healed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from vaurien.cli import flags
from vaurien.cli.configure import HELP, OK, configure
from vaurien.config import Given, declared
from vaurien.config.mesh import Mesh
from vaurien.errors import ConfigError, OptionError, UnknownName
from vaurien.options import describe

USAGE = """Usage: vaurien mesh [FILE] [--nodes a=HOST:PORT,b=HOST:PORT,...] [OPTIONS]

  Listen once for each pair of nodes and direction, so that the ways between them can be cut and healed, without root.
  Each node is told the addresses of its own for its peers. OPTIONS are those of vaurien, and

    --nodes a=HOST:PORT,b=HOST:PORT,...  the nodes and where they listen; in a file: [mesh] nodes = {a = "HOST:PORT"}
    --edges ports|hosts                  what tells edges apart: ports of one host, or addresses of 127.77.0.0/16
    --listen HOST                        where edges listen [default: 127.0.0.1]
    --first-port PORT                    the port of the first edge, the others follow; 0: free ones [default: 21000]
    --topology TOPOLOGY                  acts from the start, such as 'isolate a ttl=30s'; may be given several times
    --print-addresses                    print, as JSON, where each node reaches each other one, and exit
    --print-hosts NODE                   print the lines of /etc/hosts for NODE, and exit; with --edges hosts

  Topologies: partition a,b c | one-way a b | bridge c | ring | minority a | isolate a | gray a latency=200ms
  | delay a,b c latency=40ms, each with ttl=30s; how=reset or up=2s down=1s for those that cut.
  vaurienctl mesh steers them while it runs (--http), and so do the steps of a schedule: topology = "isolate a".

  For example: vaurien mesh --nodes a=127.0.0.1:2381,b=127.0.0.1:2382,c=127.0.0.1:2383 --print-addresses
               vaurien mesh --nodes a=127.0.0.1:2381,b=127.0.0.1:2382,c=127.0.0.1:2383 --http
               vaurienctl mesh add isolate a ttl=30s
"""


def main(arguments: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run with *arguments*, those behind ``mesh``; returns the exit status."""
    if HELP.intersection(arguments):
        print(USAGE, end="")
        return OK
    words = list(arguments)
    file = words.pop(0) if words and not words[0].startswith("-") else None
    configuration, given = configure(words, variables, own_flags(), file=file)
    mesh = configuration.mesh
    if mesh is None:
        raise ConfigError("mesh: it has no nodes; expected --nodes a=host:port,b=host:port, or a file with a [mesh]")
    if ("command", "print_addresses") in given:
        print(json.dumps(_fixed(mesh).addresses(), indent=2))
    elif ("command", "print_hosts") in given:
        print(_hosts(_fixed(mesh), given["command", "print_hosts"]), end="")
    else:
        from vaurien.cli import runner

        runner.run(configuration)
    return OK


def own_flags() -> list[flags.Flag]:
    """The flags of the mesh, besides those of ``vaurien``."""
    of_mesh = [
        flags.Flag(("mesh", one.name), one, repeated=one.name == "topology") for one in describe(declared.MeshSection)
    ]
    return [*of_mesh, *(flags.Flag(("command", one.name), one) for one in describe(declared.MeshRun))]


def _fixed(mesh: Mesh) -> Mesh:
    """*mesh*, if its addresses are known before it runs. Raises `OptionError`."""
    if any(address.port == 0 for address in mesh.edges.values()):
        raise OptionError("mesh option first_port", 0, "a port, such as 21000, so that addresses are known before")
    return mesh


def _hosts(mesh: Mesh, given: Given) -> str:
    """The lines of hosts(5) by which the node that was *given* finds the others. Raises what is wrong with it."""
    name = str(given.value)
    if name not in mesh.nodes:
        raise UnknownName("node", name, mesh.nodes, given.source)
    found = {other: address.host for (one, other), address in mesh.edges.items() if one == name}
    if len(set(found.values())) < len(found):
        raise OptionError("mesh option edges", "ports", "hosts, in which each edge has an address of its own")
    return "".join(f"{host} {other}\n" for other, host in {name: mesh.nodes[name].host, **found}.items())

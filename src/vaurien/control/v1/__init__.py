"""Vaurien's own interface, ``/api/v1``: everything that can be seen and changed, as one table."""

from __future__ import annotations

from vaurien.config.schedule import ShownSchedule
from vaurien.control import bodies
from vaurien.control.fleet import LimitsBody
from vaurien.control.history import FiguresOverTime
from vaurien.control.routes import Parameter, Route
from vaurien.control.v1 import catalogue, connections, faults, fleet, mesh, process, proxies
from vaurien.engine.relay.traffic import ConnectionInfo
from vaurien.proxies.diagnosis import Diagnosis

_API = "/api/v1"
_PROXY = f"{_API}/proxies/{{proxy}}"
_FAULT = f"{_PROXY}/faults/{{fault}}"
_CONNECTION = f"{_PROXY}/connections/{{connection}}"
_MESH = f"{_API}/mesh"

_FOLLOW = {
    "proxy": Parameter("Only the events of this proxy"),
    "since": Parameter("Only the events after the one of this number", number=True),
}

_FIGURES = {
    "proxy": Parameter("Only this proxy"),
    "last": Parameter("Only the steps of so many seconds before now", number=True),
}

_SCOPE = {
    "scope": Parameter(
        "`fleet`: the configuration that the fleet wants; `node`: that of this program alone",
        {"enum": ["fleet", "node"]},
    ),
}
_EDIT = {
    "revision": Parameter(
        "Only if this is still the revision of the configuration; else the answer is 409, and shows it", number=True
    ),
    **_SCOPE,
    "nodes": Parameter("With scope=fleet: on nodes whose labels fit, such as `role=payments,zone!=b`"),
    "share": Parameter(
        "With scope=fleet: on this share of these nodes, by hash", {"type": "number", "minimum": 0, "maximum": 1}
    ),
    "max_nodes": Parameter("With scope=fleet: on at most so many of these nodes", number=True),
}
_FLEET = f"{_API}/fleet"
_COUNT = {
    "count": Parameter("At most so many; 100 if not given", number=True, maximum=fleet.MOST_RECORDS),
}

ROUTES: tuple[Route, ...] = (
    Route(method="GET", path="/healthz", handler=process.get_health, answer=process.Health),
    Route(method="GET", path=f"{_API}/version", handler=process.get_version, answer=process.Version),
    Route(method="GET", path=f"{_API}/settings", handler=process.get_settings, answer=process.ProcessSettings),
    Route(method="GET", path=f"{_API}/schedule", handler=process.show_schedule, answer=ShownSchedule),
    Route(method="POST", path=f"{_API}/schedule/start", handler=process.start_schedule, status=204),
    Route(method="POST", path=f"{_API}/schedule/stop", handler=process.stop_schedule, status=204),
    Route(method="GET", path=f"{_API}/config", handler=process.get_config, answer=process.ConfigBody, query=_SCOPE),
    Route(
        method="PUT",
        path=f"{_API}/config",
        handler=process.set_config,
        body=process.ConfigBody,
        answer=process.ConfigBody,
        query=_EDIT,
    ),
    Route(
        method="GET",
        path=f"{_API}/config/text",
        handler=process.get_config_text,
        answer=process.ConfigText,
        query=_SCOPE,
    ),
    Route(
        method="POST",
        path=f"{_API}/config/text",
        handler=process.read_config_text,
        body=process.ConfigTextBody,
        answer=process.ReadConfig,
    ),
    Route(method="POST", path=f"{_API}/reset", handler=process.reset, status=204, query=_SCOPE),
    Route(method="GET", path=f"{_API}/events", handler=process.follow_events, query=_FOLLOW),
    Route(
        method="GET",
        path=f"{_API}/live",
        handler=process.follow_live,
        query={"since": _FOLLOW["since"]},
    ),
    Route(
        method="GET",
        path=f"{_API}/figures",
        handler=process.get_figures,
        answer=FiguresOverTime,
        query=_FIGURES,
    ),
    Route(method="GET", path=f"{_API}/proxies", handler=proxies.list_proxies, answer=proxies.ProxyList, query=_SCOPE),
    Route(
        method="POST",
        path=f"{_API}/proxies",
        handler=proxies.create_proxy,
        body=bodies.ProxyBody,
        answer=bodies.ProxyAnswer,
        status=201,
        query=_EDIT,
    ),
    Route(method="GET", path=_PROXY, handler=proxies.get_proxy, answer=bodies.ProxyAnswer, query=_SCOPE),
    Route(
        method="PATCH",
        path=_PROXY,
        handler=proxies.change_proxy,
        body=bodies.ProxyChange,
        answer=bodies.ProxyAnswer,
        query=_EDIT,
    ),
    Route(method="DELETE", path=_PROXY, handler=proxies.delete_proxy, status=204, query=_EDIT),
    Route(method="GET", path=f"{_PROXY}/mix", handler=proxies.get_mix, answer=proxies.MixAnswer, query=_SCOPE),
    Route(
        method="PUT",
        path=f"{_PROXY}/mix",
        handler=proxies.set_mix,
        body=proxies.MixChange,
        answer=proxies.MixAnswer,
        query=_EDIT,
    ),
    Route(method="GET", path=f"{_PROXY}/faults", handler=faults.list_faults, answer=faults.FaultList, query=_SCOPE),
    Route(
        method="POST",
        path=f"{_PROXY}/faults",
        handler=faults.add_fault,
        body=bodies.FaultBody,
        answer=bodies.FaultAnswer,
        status=201,
        query=_EDIT,
    ),
    Route(
        method="POST",
        path=f"{_PROXY}/presets",
        handler=faults.add_preset,
        body=faults.PresetBody,
        answer=faults.FaultList,
        status=201,
        query=_EDIT,
    ),
    Route(method="GET", path=_FAULT, handler=faults.get_fault, answer=bodies.FaultAnswer, query=_SCOPE),
    Route(method="GET", path=f"{_FAULT}/diagnosis", handler=faults.diagnose_fault, answer=Diagnosis),
    Route(
        method="PATCH",
        path=_FAULT,
        handler=faults.change_fault,
        body=bodies.FaultChange,
        answer=bodies.FaultAnswer,
        query=_EDIT,
    ),
    Route(method="DELETE", path=_FAULT, handler=faults.remove_fault, status=204, query=_EDIT),
    Route(
        method="GET",
        path=f"{_PROXY}/connections",
        handler=connections.list_connections,
        answer=connections.ConnectionList,
    ),
    Route(method="GET", path=f"{_PROXY}/exchanges", handler=process.follow_exchanges),
    Route(method="GET", path=_CONNECTION, handler=connections.get_connection, answer=ConnectionInfo),
    Route(method="DELETE", path=_CONNECTION, handler=connections.close_connection, status=204),
    Route(method="POST", path=f"{_CONNECTION}/reset", handler=connections.reset_connection, status=204),
    Route(method="GET", path=_MESH, handler=mesh.get_mesh, answer=mesh.MeshAnswer),
    Route(
        method="POST",
        path=f"{_MESH}/topologies",
        handler=mesh.add_topology,
        body=mesh.TopologyBody,
        answer=mesh.TopologyAnswer,
        status=201,
        query=_EDIT,
    ),
    Route(
        method="DELETE",
        path=f"{_MESH}/topologies/{{topology}}",
        handler=mesh.remove_topology,
        status=204,
        query=_EDIT,
    ),
    Route(method="POST", path=f"{_MESH}/heal", handler=mesh.heal_mesh, status=204),
    Route(method="GET", path=_FLEET, handler=fleet.get_fleet, answer=fleet.FleetAnswer),
    Route(method="GET", path=f"{_FLEET}/audit", handler=fleet.get_audit, answer=fleet.AuditAnswer, query=_COUNT),
    Route(method="GET", path=f"{_FLEET}/events", handler=fleet.follow_fleet_events),
    Route(
        method="PUT",
        path=f"{_FLEET}/proxies/{{proxy}}/faults/{{fault}}/nodes",
        handler=fleet.select_nodes,
        body=fleet.NodesBody,
        status=204,
    ),
    Route(method="POST", path=f"{_FLEET}/stop", handler=fleet.stop_fleet, body=fleet.StopBody, status=204),
    Route(method="POST", path=f"{_FLEET}/resume", handler=fleet.resume_fleet, status=204),
    Route(method="POST", path=f"{_FLEET}/heartbeat", handler=fleet.send_heartbeat, status=204),
    Route(method="GET", path=f"{_FLEET}/limits", handler=fleet.get_limits, answer=LimitsBody),
    Route(
        method="PUT",
        path=f"{_FLEET}/limits",
        handler=fleet.set_fleet_limits,
        body=LimitsBody,
        answer=LimitsBody,
    ),
    Route(method="GET", path=f"{_FLEET}/schedule", handler=fleet.get_schedule, answer=fleet.ScheduleAnswer),
    Route(method="PUT", path=f"{_FLEET}/schedule", handler=fleet.set_schedule, body=fleet.ScheduleBody, status=204),
    Route(method="DELETE", path=f"{_FLEET}/schedule", handler=fleet.end_schedule, status=204),
    Route(
        method="GET",
        path=f"{_API}/behaviors",
        handler=catalogue.list_behaviors,
        answer=catalogue.BehaviorList,
        query={"protocol": Parameter("Only those that act on this protocol")},
    ),
    Route(
        method="GET",
        path=f"{_API}/behaviors/{{behavior}}",
        handler=catalogue.get_behavior,
        answer=catalogue.PluginAnswer,
    ),
    Route(method="GET", path=f"{_API}/presets", handler=catalogue.list_presets, answer=catalogue.PresetList),
    Route(method="GET", path=f"{_API}/protocols", handler=catalogue.list_protocols, answer=catalogue.ProtocolList),
    Route(
        method="GET",
        path=f"{_API}/protocols/{{protocol}}",
        handler=catalogue.get_protocol,
        answer=catalogue.PluginAnswer,
    ),
)

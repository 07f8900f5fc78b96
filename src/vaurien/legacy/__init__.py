"""Plugins of the original Vaurien on real, blocking sockets: their base classes, their sockets, and who calls them.

Everything here runs in the thread of one connection and may block. A plugin's module usually imports the old names
(``vaurien.handlers.base``, ``vaurien.behaviors.dummy``, ``vaurien.protocols.tcp``, ``vaurien.util``), which lead here.
"""

"""Toxiproxy's HTTP interface, and what it needs of Go's manners."""

VERSION = "2.13.0"
"""The release of Toxiproxy whose interface and command line this is; clients ask for it."""

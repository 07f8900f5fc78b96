"""Toxiproxy's HTTP interface, and what it needs of Go's manners."""

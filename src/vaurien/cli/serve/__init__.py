"""`vaurien serve` and `toxiproxy-server`."""

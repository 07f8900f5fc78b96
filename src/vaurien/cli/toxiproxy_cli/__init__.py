"""`toxiproxy-cli`."""

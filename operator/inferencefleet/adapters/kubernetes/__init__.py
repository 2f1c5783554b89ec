"""The cluster behind the ports: a watch cache to read from, server-side apply to write with."""

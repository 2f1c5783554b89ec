"""Charts for `--plot`: roofline, and latency versus load. matplotlib is only needed here."""

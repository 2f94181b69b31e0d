"""Models that someone else runs, met over the wire; and stand-ins that follow a script."""

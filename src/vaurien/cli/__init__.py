"""The programs: `run` is ``vaurien``."""

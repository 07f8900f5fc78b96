"""`vaurienctl`."""

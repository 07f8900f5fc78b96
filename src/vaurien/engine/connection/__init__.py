"""One connection from accept to its end: the only package that knows all other parts of the engine."""

"""The vocabulary: frozen dataclasses with units in their names; standard library and numpy only."""

"""The files that a run has, for the worlds that have them: an operator's have not."""
from matterstack_component.wit import asked
from wit_world.imports import artifacts


class Files:
    """The files that the run has."""

    def read(self, digest, offset, max):
        return asked(artifacts.read, digest, offset, max)

    def write(self, held):
        return asked(artifacts.write, held)

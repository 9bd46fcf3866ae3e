"""Real servers: git over https and ssh, with passwords, keys, large files and submodules."""

from tests.helpers.source_fixtures import *  # noqa: F403 - the same fixtures as the other tests of this room

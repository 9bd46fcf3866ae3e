"""Real git repositories to fetch from, and a git server over HTTP that asks for passwords."""

from tests.helpers.source_fixtures import *  # noqa: F403 - the same fixtures as the other tests of this room

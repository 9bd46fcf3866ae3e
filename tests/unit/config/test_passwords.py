"""Which variables stay with the agent."""

from __future__ import annotations

from clearml_agent_clone.config.passwords import without_passwords


def test_passwords_stay_with_the_agent_however_they_are_told() -> None:
    kept = {
        "PATH": "/bin",
        "CLEARML_AGENT_GIT_USER": "ada",
        "GIT_PASS": "somebody's own",
        "CLEARML_API_SECRET_KEY": "k",
    }
    told = dict.fromkeys(
        [
            "CLEARML_AGENT_GIT_PASS",
            "TRAINS_AGENT_GIT_PASS",
            "CLEARML_AGENT__AGENT__GIT_PASS",
            "CLEARML_AGENT__agent__git_pass",
            "CLEARML_AGENT__AGENT__HG_PASS",
            "CLEARML_AGENT__AGENT__GIT__EXTRA_CREDENTIALS",
        ],
        "s3cret",
    )
    assert without_passwords({**kept, **told}) == kept

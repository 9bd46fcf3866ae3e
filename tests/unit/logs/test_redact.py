from __future__ import annotations

import base64
import html
import json
import re
import shlex
import threading
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clearml_agent_clone.logs import MASK, Redactor

SECRET = "pa55/w+rd \"quoted\" 'x' $HOME \\ ünï&co"
GITHUB = "ghp_" + "Ab1" * 12
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl-_x"

ENCODERS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64-url": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "basic-auth": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "base64-inside-1": lambda text: base64.b64encode(f"u{text}tail".encode()).decode(),
    "base64-inside-2": lambda text: base64.b64encode(f"us{text}t".encode()).decode(),
    "hex": lambda text: text.encode().hex(),
    "url": lambda text: quote(text, safe=""),
    "url-path": quote,
    "url-form": quote_plus,
    "url-lower": lambda text: re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quote(text, safe="")),
    "json": json.dumps,
    "json-utf8": lambda text: json.dumps(text, ensure_ascii=False),
    "json-in-json": lambda text: json.dumps(json.dumps([text])),
    "repr": repr,
    "shell": shlex.quote,
    "html": html.escape,
}


@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
@pytest.mark.parametrize(
    "secret", ["hunter2hunter2", "abc+/def==ghi", "abcdef\tg\fh", SECRET.replace("%", ""), "multi\nline-secret\n"]
)
def test_a_known_secret_is_masked_however_it_is_spelled(encoder: Callable[[str], str], secret: str) -> None:
    spelled = encoder(secret)
    shown = Redactor([secret]).redact(f"before {spelled} after")
    assert MASK in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    for length in range(len(spelled), 9, -1):
        for start in range(len(spelled) - length + 1):
            assert spelled[start : start + length] not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"token {GITHUB}.", "token ghp_****."),
        ("github_pat_11ABCDEFG0abcdefghijkl_mno", "github_pat_****"),
        ("glpat-abcdefghij1234567890", "glpat-****"),
        ("hf_abcdefghijklmnopqrstuvwxyz", "hf_****"),
        ("id AKIAIOSFODNN7EXAMPLE,", "id AKIA****,"),
        ("sk-proj-abcdEFGH1234abcdEFGH", "sk-****"),
        ("xoxb-123456789012-abcdef", "xoxb-****"),
        (f"jwt={JWT}", "jwt=eyJ****"),
        (f"Authorization: Bearer {JWT}", "Authorization: Bearer ****"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ****"),
        ('{"Authorization": "Bearer abcd1234abcd1234"}', '{"Authorization": "Bearer ****"}'),
        ("PRIVATE-TOKEN: abcdef12", "PRIVATE-TOKEN: ****"),
        ("Authorization: abcdauthorization: secret12", "Authorization: **** ****"),
        ("bearer abcd1234abcd1234abcd", "bearer ****"),
        ("https://user:pass@host/x", "https://****@host/x"),
        ("https://ghs-token@github.com/a/b.git", "https://****@github.com/a/b.git"),
        ("https://us:p@ss@host/x", "https://****@host/x"),
        ("git+https://oauth2:abc@host/x.git#egg=x", "git+https://****@host/x.git#egg=x"),
        ("postgresql://u:p@db:5432/x", "postgresql://****@db:5432/x"),
        ("export WANDB_API_KEY=0123456789abcdef0123", "export WANDB_API_KEY=****"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key = ****"),
        ('{"client_secret": "a1b2c3d4e5"}', '{"client_secret": "****"}'),
        ("DB_PASSWORD=hunter2!", "DB_PASSWORD=****"),
        ("tool --password hunter2hunter", "tool --password ****"),
        ("AccountKey=abcd1234abcd1234==;EndpointSuffix=x", "AccountKey=****;EndpointSuffix=x"),
        ("\x1b[32mghp_\x1b[1m" + "Ab1" * 12 + "\x1b[0m", "\x1b[32mghp_\x1b[1m****\x1b[0m"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE+x\nabc=\n-----END RSA PRIVATE KEY-----\nafter",
            "-----BEGIN RSA PRIVATE KEY-----\n****\n****\n-----END RSA PRIVATE KEY-----\nafter",
        ),
        ("https://h/x?password=abc&x=1", "https://h/x?password=****&x=1"),
        ("https://h/x?a=1&api_key=abc", "https://h/x?a=1&api_key=****"),
        ("https://b.s3/x?X-Amz-Signature=0a0b&y", "https://b.s3/x?X-Amz-Signature=****&y"),
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str, shown: str) -> None:
    assert Redactor().redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "ssh://git@github.com/a/b.git",
        "git@github.com:a/b.git",
        "https://github.com/a/b.git@v1.2",
        "pip install 'pkg @ https://host/pkg-1.0.whl'",
        "see http://localhost:8080/user@example.com",
        "a task-abcdefghijklmnopqrstuvwx1 and disk-0123456789012345678901",
        "sk-learn-contrib-is-a-long-name-here",
        "the bearer of this letter, bearer certificate-authorities",
        "epoch 3/10 token=5 password: wrong",
        "tokens per second: 1200, authorization failed",
        "max_tokens=4096 pad_token=<|endoftext|> eos_token_id: 50256 tokenizer=bert-base-uncased",
        "token = tokenizer.encode2(text); password = getpass.getpass(); api_key=os.environ['KEY1']",
        "secret_name=db-2024 key=value1234 primary_key: id12345678 cache_key=abc12345def",
        "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIE\n-----END CERTIFICATE-----",
        "  Downloading https://files.example.org/packages/0f/2a/9b1c/torch-2.1.0-cp310-cp310-linux_x86_64.whl",
        "Successfully built 3f29c1a0b7de; Image sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "\x1b[1m\x1b[32mINFO\x1b[0m 12:00:01 loss=0.25 %d %s \\n C:\\new\\table a&b &amp; 100%25",
        "hf_hub downloads, ghp_ is a prefix",
        "abc",
        "100%|##########| 10/10 [00:01<00:00, 9.8it/s]",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert Redactor(["abc", "", "  ", "x\ny"]).redact(text) == text


def test_overlapping_secrets_leave_nothing_between_them() -> None:
    assert Redactor(["abcdef", "defghi"]).redact("xabcdefghix abcdefx") == "x****x ****x"


def test_a_secret_may_be_added_later_and_from_any_thread() -> None:
    redactor = Redactor()
    secrets = [f"secret-number-{index:04d}" for index in range(200)]

    def add(part: list[str]) -> None:
        for secret in part:
            redactor.add(secret)

    threads = [threading.Thread(target=add, args=(part,)) for part in (secrets[::2], secrets[1::2])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert redactor.redact(" ".join(secrets)) == " ".join([MASK] * 200)


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END PRIVATE KEY-----\n"
    redactor = Redactor([key])
    assert redactor.redact("MIIEvQIBADANBgkqhkiG") == MASK
    assert redactor.redact("\t9w0BAQEFAASCBKcwggSj\r\n") == f"\t{MASK}\r\n"
    assert redactor.redact("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_a_secret_of_any_length_is_masked() -> None:
    secret = "".join(f"{index:05d}-" for index in range(5000))
    shown = Redactor([secret]).redact(f"[{secret}]")
    assert not any(map(str.isalnum, shown))


PIECES = st.one_of(
    st.sampled_from(
        [SECRET, "hunter2hunter2", GITHUB, GITHUB[:10], JWT, "https://", "://", "user:pa55@host", "@", "/", " ", "\n"]
    ),
    st.sampled_from(
        ["Authorization: ", "Bearer ", "abcd1234abcd1234", "&token=", "?sig=", "=", "sk-", "AKIA", "eyJ", "-"]
    ),
    st.sampled_from([encode(SECRET) for encode in ENCODERS.values()]),
    st.text(alphabet="abe4hun2 :/@=&?-_.*\nü", max_size=12),
)


@given(st.lists(PIECES, max_size=12).map("".join), st.data())
@example("ghp_ghp_" + "a" * 20, None)
@example("://a@b@c", None)
def test_cut_anywhere_the_pieces_read_as_the_whole(text: str, data: st.DataObject | None) -> None:
    redactor = Redactor([SECRET, "hunter2hunter2", "unter2hu"])
    if data is None:
        cuts = list(range(len(text)))
    else:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    stream = redactor.stream()
    parts = [stream.feed(text[begin:end]) for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert "".join(parts) + stream.flush() == redactor.redact(text)


@given(
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=8, max_size=40),
    st.sampled_from(sorted(ENCODERS)),
    st.text(alphabet="ab: \n", max_size=10),
    st.data(),
)
def test_no_secret_leaves_in_any_spelling_over_any_cuts(
    secret: str, encoding: str, around: str, data: st.DataObject
) -> None:
    if len(secret.strip()) < 8:
        return
    spelled = ENCODERS[encoding](secret)
    text = around + spelled + around
    stream = Redactor([secret]).stream()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    shown = "".join(stream.feed(text[begin:end]) for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True))
    shown += stream.flush()
    assert spelled not in shown
    assert MASK in shown


def test_what_cannot_be_a_secret_is_not_held_back() -> None:
    stream = Redactor(["zebra-crossing"]).stream()
    for text in ("Password: ", "Name? ", "> ", " 50%|#####     | 5/10 [00:01<00:01, 5.0it/s]", "Loading..."):
        assert stream.feed(text) + stream.idle() == text


def test_what_is_held_back_has_a_bound() -> None:
    stream = Redactor().stream()
    shown = stream.feed("https://" + "a" * 100_000)
    assert len(shown) > 100_000 - 20_000


def test_a_credential_of_any_length_is_masked() -> None:
    stream = Redactor().stream()
    shown = "".join(stream.feed(text) for text in ("jwt eyJhb.", "a" * 50_000, "b" * 50_000, "c", " end"))
    assert set((shown + stream.flush()).removeprefix("jwt eyJ").removesuffix(" end")) == {"*"}


def test_what_is_no_credential_does_not_become_one_when_its_beginning_is_forgotten() -> None:
    text = "xghp_" + "A1" * 30 + "more of it, " * 9
    stream = Redactor().stream()
    assert "".join(map(stream.feed, text)) + stream.flush() == text


@pytest.mark.parametrize("text", ["ghp_", "eyJ", "sk-", "://", "&token=", "authorization:", "a", "AKIA", "?sig=&"])
def test_no_text_makes_it_slow(text: str) -> None:
    text = (text * 300_000)[:300_000]
    begin = time.process_time()
    redactor = Redactor(["aaaaaaaab"])
    redactor.redact(text + " ")
    redactor.settled(text)
    assert time.process_time() - begin < 2


def test_context_is_looked_at_and_not_returned() -> None:
    redactor = Redactor(["hunter2hunter2"])
    assert redactor.redact("er2hunter2 x", context="hunt") == f"{MASK} x"
    assert redactor.redact("abcd1234", context="Authorization: Bearer ") == MASK
    assert redactor.redact("sk-abcdefghij0123456789", context="ta") == "sk-abcdefghij0123456789"


def test_plain_text_passes_at_more_than_fifty_megabytes_a_second() -> None:
    line = "2024-01-01 12:00:00,123 INFO train.py:42 step=%d loss=0.12345 lr=1e-4 /data/part-%d.parquet\n"
    text = "".join(line % (index, index * 7) for index in range(30_000))
    redactor = Redactor([f"some-secret-value-{index}-KEY" for index in range(5)])
    best = 1e9
    for _ in range(3):
        begin = time.process_time()
        assert redactor.redact(text) is text
        best = min(best, time.process_time() - begin)
    assert len(text) / 1e6 / best > 20  # far below what is measured, so that a busy machine does not fail it


def test_a_private_key_is_hidden_line_by_line_as_it_comes() -> None:
    lines = ["-----BEGIN OPENSSH PRIVATE KEY-----\n", *(f"b3BlbnNzaC1rZXk{index}\n" for index in range(9))]
    stream = Redactor().stream()
    shown = "".join(stream.feed(line) + stream.idle() for line in [*lines, "-----END OPENSSH PRIVATE KEY-----\n", "x"])
    shown += stream.flush()
    assert "b3Blbn" not in shown
    assert shown.count("\n") == 11
    assert shown.endswith("x")


def test_a_learned_secret_counts_in_what_is_held_back() -> None:
    redactor = Redactor(["abcd1234-first"])
    stream = redactor.stream()
    assert stream.feed("x abcd1234") == "x "
    redactor.add(["abcd1234-second"])
    assert stream.feed("-second y") + stream.flush() == "**** y"


def test_words_are_not_a_secret_unless_they_are_spelled_as_it_is() -> None:
    redactor = Redactor(["zebra-crossing"])
    for text in ("a zebra crossing", "zebra  crossing", "the ze-bra-crossing"):
        assert redactor.redact(text) == text
    assert redactor.redact("zebra-crossing zebra\\-crossing zebra-\ncrossing") == "**** **** ****\n****"


def test_idle_shows_a_prompt_but_not_a_beginning() -> None:
    stream = Redactor(["one-secret-value"]).stream()
    assert stream.feed("these are the ones\n") + stream.idle() == "these are the ones\n"
    assert stream.feed("one-s") + stream.idle() == ""
    assert stream.feed("ure thing") + stream.idle() == "one-sure thing"

"""The one line that a mistake is answered with."""


def one_line(capsys) -> str:
    """The single line on stderr."""
    text = capsys.readouterr().err
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text

"""Requests of programs with values of the wrong kind: the endpoint, its values, what comes back."""

from pathlib import Path
from typing import Any

from case import ANSWER, Case

EDGE = "Endpoint"
KIND = (
    "A value is of the wrong kind, or a file was not uploaded to this page first; the page's foot, under "
    '"Use via API", lists what each endpoint takes.'
)
UPLOAD = "This picture was not uploaded to this page; upload it first."
NO_PICTURE = "There is no picture yet; drop one, paste one, or pick an example."
BUDGET = "The budget is {}; give a number of tokens such as 128, a share such as 22% or 0.22, or auto."
MUCH = "The budget is {} of the tokens; give a share of at most 100%, or a number of tokens without a point."
METHODS = "There is no method {}; choose one of {}."
WHOLE = "{} is '{}'; give a whole number of {} or more."
KEY = "There is no job with this key; it may have been deleted, or have expired. Start a new one."
FILE = {"_type": "gradio.FileData"}
GOOD = "the uploaded picture"  # put in the place of this word
NAMES = ("image", "question", "keep", "method", "mass", "positions", "max_new_tokens")
VALUES = (GOOD, "What is it?", "9", "resprune", False, "original", 3)


def answer(**changed: Any) -> tuple[str, list[Any]]:
    """A call of /answer in which some values are not as they should be."""
    return "answer", list((dict(zip(NAMES, VALUES, strict=True)) | changed).values())


def methods() -> str:
    """All methods as a message lists them."""
    from resprune.methods import available

    return ", ".join(available())


def own_picture() -> str:
    """A picture of the server that nobody uploaded."""
    return str(Path(__file__).parents[2] / "assets" / "examples" / "cake.png")


_GIVEN = [
    ("no picture", lambda: answer(image=None), NO_PICTURE),
    ("a picture's name as text", lambda: answer(image="a.png"), KIND),
    ("a number for a picture", lambda: answer(image=5), KIND),
    ("a list for a picture", lambda: answer(image=[]), KIND),
    ("an empty object for a picture", lambda: answer(image={}), NO_PICTURE),
    ("a picture of the server, as a file", lambda: answer(image={"path": own_picture(), "meta": FILE}), KIND),
    ("a picture of the server, not called a file", lambda: answer(image={"path": own_picture()}), UPLOAD),
    ("a relative path", lambda: answer(image={"path": "../../../../etc/passwd"}), UPLOAD),
    ("a null character in a path", lambda: answer(image={"path": "a\0b"}), KIND),
    ("a file: address", lambda: answer(image={"path": "x", "url": "file:///etc/passwd"}), UPLOAD),
    ("the loopback as a picture's address", lambda: answer(image={"path": "http://127.0.0.1:9/a.png", "meta": FILE}),
     KIND),
    ("metadata that is none", lambda: answer(image={"path": "x", "meta": 5}), KIND),
    ("no question", lambda: answer(question=None), "The question is no text; type one."),
    ("half a character in the question", lambda: answer(question="What\ud800?"),
     "The question is not valid Unicode text; type it again."),
    ("no budget", lambda: answer(keep=None), BUDGET.format("None")),
    ("a budget of 0", lambda: answer(keep="0"), "The budget is 0; give at least 1 token, or a share above 0."),
    ("a budget of -1", lambda: answer(keep="-1"), "The budget is -1; give at least 1 token, or a share above 0."),
    ("a budget of NaN", lambda: answer(keep="NaN"), BUDGET.format("'NaN'")),
    ("a budget of 1e999", lambda: answer(keep="1e999"), BUDGET.format("'1e999'")),
    ("a budget of 1e300", lambda: answer(keep=1e300), MUCH.format("1e+302%")),
    ("a budget of 5,000 digits", lambda: answer(keep="9" * 5000), BUDGET.format(f"'{'9' * 60}'...")),
    ("a budget in Arabic digits", lambda: answer(keep="٣"), BUDGET.format("'٣'")),
    ("a command for a budget", lambda: answer(keep="9; rm -rf /"), BUDGET.format("'9; rm -rf /'")),
    ("more tokens than there are", lambda: answer(keep="999999"), ANSWER),
    ("a method that is none", lambda: answer(method="__class__"), ("{}", "'__class__'")),
    ("markup for a method", lambda: answer(method="<b>x</b>"), ("{}", "'<b>x</b>'")),
    ("a method of 10,000 letters", lambda: answer(method="a" * 10_000), ("{}", f"'{'a' * 60}'...")),
    ("a choice by hand of nothing", lambda: answer(method="manual"),
     "The method 'manual' needs indices: visual tokens that stay, numbers from 0 on, as in indices=0 5 7."),
    ("a choice by hand beyond the picture", lambda: answer(method="manual:indices=99999"),
     "indices names the visual token 99999, but the image has 36; give 0 to 35."),
    ("a word for yes or no", lambda: answer(mass="yes"), "mass is 'yes'; give True, False or Mass(alike=0.7)."),
    ("alpha of NaN", lambda: answer(method="resprune:alpha=nan"), "alpha is nan; give a number of 0 or more."),
    ("alpha of infinity", lambda: answer(method="resprune:alpha=inf"), "alpha is inf; give a number of 0 or more."),
    ("alpha below 0", lambda: answer(method="resprune:alpha=-1"), "alpha is -1.0; give a number of 0 or more."),
    ("alpha of 400 digits", lambda: answer(method=f"resprune:alpha={10**400}"),
     "alpha is inf; give a number of 0 or more."),
    ("alpha of 1e308", lambda: answer(method="resprune:alpha=1e308"), ANSWER),
    ("a sign of 2", lambda: answer(method="resprune:sign=2"), "sign is 2; give 1 or -1."),
    ("an option of another method", lambda: answer(method="divprune:alpha=4"),
     "The method 'divprune' has no option 'alpha'; it has none."),
    ("an option that is none", lambda: answer(method="resprune:__class__=x"),
     "The method 'resprune' has no option '__class__'; its options are words, pooling, alpha, sign, weighting, "
     "kernel."),
    ("a hundred thousand options", lambda: answer(method="resprune" + ":alpha=1" * 100_000),
     "The method 'resprune' is given 'alpha=1'; give each option once, as in alpha=VALUE."),
    ("positions that are none", lambda: answer(positions="x"),
     "Value: 'x' (type: <class 'str'>) is not in the list of choices: ['original', 'sequential']"),
    ("a seed of NaN", lambda: answer(method="random:seed=nan"),
     f"seed is 'nan'; give a whole number from 0 to {2**63 - 1}."),
    ("a seed of 30 digits", lambda: answer(method=f"random:seed={10**30}"),
     f"seed is {10**30}; give a whole number from 0 to {2**63 - 1}."),
    ("a length of infinity", lambda: answer(max_new_tokens=float("inf")), WHOLE.format("max_new_tokens", "inf", 1)),
    ("a word for a length", lambda: answer(max_new_tokens="x"), WHOLE.format("max_new_tokens", "x", 1)),
    ("a length of 0", lambda: answer(max_new_tokens=0), WHOLE.format("max_new_tokens", "0", 1)),
    ("a length of a billion, which 512 ends", lambda: answer(max_new_tokens=10**9), ANSWER),
    ("too few values", lambda: ("answer", [GOOD]), KIND),
    ("no values", lambda: ("answer", []), KIND),
    ("a key that leads out of the jobs", lambda: ("inspect_results", ["../../etc", "all", "given"]), KEY),
    ("no key", lambda: ("inspect_results", [None, "all", "given"]), KEY),
    ("a vote without a job", lambda: ("inspect_vote", ["x" * 22, 1e30, "a"]), KEY),
    ("an export as a program", lambda: ("inspect_export", ["x", "exe"]),
     "Value: 'exe' (type: <class 'str'>) is not in the list of choices: ['csv', 'jsonl']"),
    ("a file of the server for a job", lambda: ("inspect_start", [[{"path": own_picture()}], "", "What?", *VALUES[2:]]),
     KIND),
    ("a closed folder for a job", lambda: ("inspect_start", [[], "/etc", "What?", *VALUES[2:]]),
     "Folders of this server are closed to visitors; upload the pictures. Who runs the server opens a folder by naming "
     "it in RESPRUNE_FOLDERS."),
    ("no report", lambda: ("report_open", [None]), "There is no file yet; give the JSON file of a report."),
    ("a file of the server for a report", lambda: ("report_open", [{"path": own_picture()}]), KIND),
]  # fmt: skip


def _gets(words: Any) -> str:
    return METHODS.format(words[1], methods()) if isinstance(words, tuple) else words


CASES = [Case(EDGE, name, give, _gets(gets)) for name, give, gets in _GIVEN]

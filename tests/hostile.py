"""Text that people may type: any, and much of what means something to HTCondor or to a shell."""

from hypothesis import strategies as st

PIECES = [
    "$(worker_name)", "$(x)", "$$(x)", "$$([1])", "$(DOLLAR)", "$ENV(HOME)", "$INT(a)", "$", '"', '\\"', "\\",
    "\n", "\r", "\0", "\t", " ", "queue", "queue 5", "+", "=", "# ", "(", ")", "'", "`", ";", "|", "&", "/",
    "..", ",", "@=end", "if true", "include : x", "é", "\u2028", "\x85", "😀",
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=8).map("".join)

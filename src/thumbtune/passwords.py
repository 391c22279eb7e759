"""Passwords and tokens in texts: in addresses, in options of connections, and misspelt.

A sentence hides whatever looks like one. A recipe is refused only for what is an address or a set of options of a
connection, since its names and paths may hold any letters. All searches take time in proportion to the text.
"""

import re

# user:password@host after scheme://, up to the last @ before another address. A password may hold spaces, @, / and
# quotes.
_SCHEME_AT_END = re.compile(r"[a-z][\w+.-]{1,30}\Z", re.IGNORECASE)
_USER = re.compile(r"[^\s:/@]{0,100}:")
_NO_SPACE = re.compile(r"\S*")
MAX_AFTER_SPACE = 500  # characters after a space that are still looked at for the end of a password
# the same with a mistake in the scheme, or without one: postgresql:/ann:password@host, ann:password@host
_WORD = re.compile(r"\S+")
_SCHEME = r"(?:[a-z][\w+.-]{1,30}:/{0,3})?"
_IN_MISTAKE = re.compile(rf"{_SCHEME}[^\s:/@'\"]{{1,100}}(?=:[^\s@/\\])", re.IGNORECASE)
_HOST = re.compile(r"@(?=[\w.\[/-])")
_ENCODED = re.compile(r"%3a((?!%40)\S){1,500}%40", re.IGNORECASE)

# Whole names of options: sslpassword, PGPASSWORD, access_token, api_key; and not max_tokens, tokenizer, secretary.
_PASSWORD = r"(?:\w{0,30}passw(?:or)?d|passphrase|\w{0,30}_passphrase|pass|\w{0,30}pwd)"
_TOKEN = (
    r"(?:(?:(?:hf|hub|access|auth|bearer|id|api|refresh|session|security|x[_-]amz[_-]security|hugging_?face(?:_hub)?|"
    r"aws_session)[_-]?)?token|(?:\w{0,30}[_-])?secret(?:[_-]?(?:access[_-]?)?key)?|(?:\w{0,30}[_-])?api[_-]?key)"
)
_OPTION = re.compile(
    rf"(?P<before>[?&])?(?<![\w-])(?:(?P<password>{_PASSWORD})|{_TOKEN})\s{{0,3}}=\s{{0,3}}", re.IGNORECASE
)
# a password after ? or &, which a person may have typed with a space in it
_IN_QUERY = re.compile(r"(?:\\+.|(?![&;,.](?:\s|$)|[&;][\w-]{1,30}=|['\"](?!\w))[^\n])+")
_HIDDEN = re.compile(r"\.\.\.(?!\w)")
_BARE = re.compile(r"(?:\\+.|(?![&;][\w-]{1,30}=|[&;,.](?:\s|$)|['\"](?!\w))\S)+", re.DOTALL)
_QUOTED = {
    "'": re.compile(r"\\{0,3}'(?:\\+.|''|[^'\\])*(?:'|$)", re.DOTALL),
    '"': re.compile(r'\\{0,3}"(?:\\+.|""|[^"\\])*(?:"|$)', re.DOTALL),
    "{": re.compile(r"\{[^{}]*\}"),
}
_QUOTE = re.compile(r"\\{0,3}(['\"{])")
_HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")

_KEYWORDS = "host|hostaddr|port|user|uid|username|dbname|database|server|service|driver|sslmode|password|pwd|passfile"
_CONNECTION = re.compile(
    rf"\s*(?:[a-z][\w+.-]{{1,30}}(?::/{{1,3}}|//|%3a)|//|(?:{_KEYWORDS})\s*=|"
    r"(?:[a-z][\w+.-]{1,30}:)?[^\s:/@]{1,100}:[^\s/@\\].*@[^\s@/]+(?:/|:\d))",
    re.IGNORECASE | re.DOTALL,
)


def without_passwords(text: str) -> str:
    """Return a text without the passwords and tokens in it, right or misspelt.

    >>> without_passwords("likes is postgresql://ann:hunter2@[::1, and not an address")
    'likes is postgresql://ann@[::1, and not an address'
    """
    text = _HUB_TOKEN.sub("hf_...", text)
    if "@" in text or "%40" in text:
        text = _ENCODED.sub("%40", _WORD.sub(_without_mistakes, _without_addresses(text)))
    return _without_options(text) if "=" in text else text


def names_a_password(text: str) -> bool:
    """Return whether a text is an address, or the options of a connection, with a password or a token in it."""
    shown = without_passwords(text)
    return shown != text and (_CONNECTION.match(text) is not None or _HUB_TOKEN.search(text) is not None)


def _without_addresses(text: str) -> str:
    before, *parts = text.split("://")
    written = [before]
    for part in parts:
        user = _USER.match(part)
        if user and _SCHEME_AT_END.search(written[-1][-31:]):
            run = _NO_SPACE.match(part, user.end())
            limit = (run.end() if run else user.end()) + MAX_AFTER_SPACE
            end = part.rfind("@", user.end() + 1, limit)
            written.append(part[: user.end() - 1] + part[end:] if end > 0 else part)
        else:
            written.append(part)
    return "://".join(written)


def _without_mistakes(word: re.Match[str]) -> str:
    text = word[0]
    if "@" not in text or ":" not in text:
        return text
    hosts = [found.start() for found in _HOST.finditer(text)]
    user = _IN_MISTAKE.search(text)
    if not hosts or user is None or user.end() + 1 >= hosts[-1]:
        return text
    return text[: user.end()] + text[hosts[-1] :]


def _without_options(text: str) -> str:
    written, at = [], 0
    for option in _OPTION.finditer(text):
        if option.start() < at:
            continue  # inside the value of the option before
        end = _end_of_value(text, option)
        if end > option.end():
            written += [text[at : option.end()], "..."]
            at = end
    return "".join([*written, text[at:]])


def _end_of_value(text: str, option: re.Match[str]) -> int:
    """Return where the value of an option ends, in a connection, in an address, or in a sentence that quotes these."""
    start = option.end()
    if _HIDDEN.match(text, start):
        return start
    quote = _QUOTE.match(text, start)
    if quote and not _closes(text, quote):
        quoted = _QUOTED[quote[1]].match(text, start)
        if quoted:
            return quoted.end()
    pattern = _IN_QUERY if option["before"] and option["password"] else _BARE
    value = pattern.match(text, start)
    return value.end() if value else start


def _closes(text: str, quote: re.Match[str]) -> bool:
    """Return whether a quote ends what the sentence quotes, as in: 'host=h password=', and not an address."""
    line = text.rfind("\n", 0, quote.start()) + 1
    after = text[quote.end() : quote.end() + 1]
    return text.count(quote[1], line, quote.start()) % 2 == 1 and (not after or after in " \n,;.:)]")

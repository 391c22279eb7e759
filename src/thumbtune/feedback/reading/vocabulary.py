"""The words and emoji that mean like or dislike: in labels, in the names of folders, in the choices of Label Studio.

    CERTAIN   mean a like or a dislike wherever they stand
    LABELS    do so in a label; a folder of this name may show its subject (`love`, `beautiful`), so it counts only
              beside a folder of the opposite meaning
    ANSWERS   the same, and no word may stand between them and nothing: "no" is a dislike, "no image" is not
    EMOJI     do so alone, and beside words that agree

A line has the likes before the bar and the dislikes behind it. Words around one of them are allowed if they add nothing
("Like it", "Good image", "1 - Bad"), and "not" before a like turns it around ("not good"). What may mean either has
no label: a number that may be a count ("0 likes"), a "no" beside a word ("no dislike", "disliked: no"), "not bad".
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache

CERTAIN = """
    like likes liked | dislike dislikes disliked
    good | bad
    pos positive | neg negative
    up upvote upvotes upvoted | down downvote downvotes downvoted
    thumbup thumbsup | thumbdown thumbsdown
    favorite favorites favourite favourites fav favs fave faves favorited favourited starred | unfavorited unfavourited
    approve approves approved | disapprove disapproves disapproved
    accept accepts accepted acceptable | reject rejects rejected unacceptable
    | decline declined denied
    chosen preferred | unchosen unpreferred dispreferred nonpreferred
    keep kept keeper keepers | discard discards discarded trashed
    gut gefällt gefälltmir magich behalten angenommen akzeptiert | schlecht gefälltnicht gefälltmirnicht magichnicht
    | verwerfen verworfen abgelehnt
    jaime aimé approuvé accepté favoris | jenaimepas jaimepas naimepas rejeté refusé
    megusta aceptado aprobado favorito favoritos | nomegusta rechazado descartado
    喜欢 喜歡 好看 点赞 點讚 满意 滿意 | 不喜欢 不喜歡 难看 難看 点踩 不满意 不滿意
    好き いいね お気に入り 高評価 採用 | 嫌い 低評価 不採用
"""
LABELS = """
    selected select picked pick picks | unselected deselected unpicked
    love loves loved | hate hates hated
    best better | worst worse
    win wins won winner winners winning | lose loses lost loser losers losing loss losses
    great excellent awesome amazing perfect nice beautiful | awful terrible horrible poor ugly
    heart hearted | brokenheart
    yay | nay
    | trash delete deleted deletes remove removed removes junk garbage bin
    toll schön beste | hässlich schlechteste löschen gelöscht
    bon bonne bien garder meilleur préféré | mauvais mauvaise mal nul jeter supprimer supprimé pire
    bueno buena mejor guardar | malo mala peor eliminar eliminado
    好 赞 讚 接受 通过 通過 保留 收藏 | 不好 差 坏 壞 踩 拒绝 拒絕 不通过 不通過 删除 刪除
    良い 良 | 悪い 悪 よくない 良くない
"""
ANSWERS = """
    true t yes y yep yeah | false f no n nope
    ja oui sí si sim tak da да wahr vrai verdadero vero verdadeiro waar prawda |
    | nein non não nao nee nej nie net нет falsch faux falso onwaar fałsz
    是 对 はい | 否 不 いいえ
"""
EMOJI = """
    👍 ❤ ♥ 💖 💗 💕 💓 💘 💙 💚 💛 💜 🧡 🤍 😍 🥰 🤩 😀 😃 😄 😁 😊 🙂 ✅ ✔ ☑ ✓ 👌 👏 💯 🔥 |
    | 👎 💔 ❌ ✖ ✗ ✘ 🚫 ⛔ 😞 😠 😡 🤬 🤮 🤢 💩 🗑 🙁 ☹ 👿
"""
PAIRED = "w +1 pass hit ok | l 0 -1 fail miss nok"  # of folders: only beside each other, as in w/ and l/
NUMBERED = frozenset(("1", "0"))  # folders 1/ and 0/ are labels if there is no other folder beside them
# Words that add nothing to one that means a like or a dislike.
FILLERS = frozenset(
    """i it this that these my the is was are one very really so quality image images picture pictures photo photos
    pic pics img imgs result results sample samples generation generations output outputs vote label bild bilder do
    une image le la les das ist sehr très muy imagen""".split()
)
NEGATIONS = frozenset("not dont doesnt didnt isnt wasnt never".split())
# Whose opposite is no dislike: "not perfect" may still be liked.
SUPERLATIVES = frozenset("best better perfect excellent awesome amazing beste meilleur mejor".split())
COUNTED = frozenset(  # a number beside them counts them
    """likes dislikes upvotes downvotes favorites favourites favs faves accepts rejects approves disapproves keepers
    loves hates wins losses picks favoris favoritos""".split()
)
MARKS = frozenset("❌✖✗✘🚫⛔")  # crosses of an answer, as in "No ❌"; "no 👎" may mean that there is none
# An emoji may have a skin tone, a character that selects the coloured or the plain form, and one that joins two.
MIN_SLIP = 4  # letters of a word that may be a slip of another
FORMS = dict.fromkeys([0xFE0E, 0xFE0F, *range(0x1F3FB, 0x1F400)])
MAX_PHRASE = 60  # characters; a longer text is no label
MAX_KEY = 200  # characters; no longer text is a word of one's own
SKIP, LIKE, DISLIKE = "skip", "like", "dislike"

_NUMBER = re.compile(r"[+-]?\d{1,9}([.,]\d{1,6})?", re.ASCII)
_STARS = re.compile("[★⭐🌟☆✩]")
_BETWEEN = re.compile(r"[^\w]+|_+")
_NUMBERED = re.compile(r"\s*[(\[]?\d{1,2}\s*[-\u2013\u2014_.:)\]]+(?!\d)")  # the number of a choice, as in "1 - Bad"
_FIELD = re.compile("[:=\N{FULLWIDTH COLON}\N{FULLWIDTH EQUALS SIGN}]")  # between the name of a field and its value
_APART = re.compile("[:=,;.!?\N{FULLWIDTH COLON}\N{FULLWIDTH EQUALS SIGN}]")  # between words that are not one word
_DROPPED = re.compile("['`\N{RIGHT SINGLE QUOTATION MARK}\N{ACUTE ACCENT}]|\u200d.")


def _halves(table: str) -> dict[str, bool]:
    """Return the label of each word in a table."""
    words: dict[str, bool] = {}
    for line in table.splitlines():
        likes, _, dislikes = line.partition("|")
        words |= dict.fromkeys(likes.split(), True) | dict.fromkeys(dislikes.split(), False)
    return words


CERTAIN_WORDS = _halves(CERTAIN)
LABEL_WORDS, ANSWER_WORDS = _halves(LABELS), _halves(ANSWERS)
EMOJI_LABELS, PAIRED_WORDS = _halves(EMOJI), _halves(PAIRED)
WORDS = CERTAIN_WORDS | LABEL_WORDS | ANSWER_WORDS | EMOJI_LABELS

_EMOJI = re.compile(f"([{''.join(EMOJI_LABELS)}])")


def plain(cell: object) -> str:
    """Return a word in the form in which words are compared: without case, forms of emoji and punctuation.

    >>> plain(" Like-it! "), plain("-1"), plain(4.0), plain("?")
    ('like it', '-1', '4', '?')
    """
    try:
        text = str(cell).strip()
    except ValueError:  # thousands of digits
        return ""
    if len(text) > MAX_KEY:
        return ""
    if _NUMBER.fullmatch(text):
        return f"{float(text.replace(',', '.')):g}"
    return " ".join(_tokens(text)) or text


@lru_cache(maxsize=4096)
def label_of_phrase(text: str) -> bool | None:
    """Return the label that a word, an emoji or a short phrase means; None if it means neither, or both.

    >>> [label_of_phrase(text) for text in ("👍 Like it", "Good image", "not good", "no image", "like / dislike")]
    [True, True, False, None, None]
    """
    if len(text) > MAX_PHRASE or _STARS.search(text):
        return None
    whole = _whole(text)
    return WORDS[whole] if whole in WORDS else _label_of(text)


@lru_cache(maxsize=4096)
def label_of_folder(name: str) -> bool | None:
    """Return True for a folder named like, False for one named dislike, and None for any other name."""
    whole = _whole(name)
    if whole in WORDS:
        return CERTAIN_WORDS.get(whole, EMOJI_LABELS.get(whole))
    return _label_of(name) if CERTAIN_WORDS.keys() & set(_tokens(name)) else None


def labels_of_folders(names: Collection[str], mapped: Mapping[str, str] | None = None) -> dict[str, bool]:
    """Return the labels of folders that lie beside each other; folders without a label are missing.

    `mapped` holds words of one's own, in their plain form, and their meaning: like, dislike or skip.
    """
    mapped = mapped or {}
    own = {name: mapped[key] for name in names if mapped and (key := plain(name)) in mapped}
    labels = {name: meaning == LIKE for name, meaning in own.items() if meaning != SKIP}
    others = [name for name in names if name not in own]
    labels |= {name: label for name in others if (label := label_of_folder(name)) is not None}
    unsure = {name: label for name in others if name not in labels and (label := _beside(name, names)) is not None}
    sides = {*labels.values(), *unsure.values()}
    return labels | (unsure if len(sides) > 1 else {})


def nearest(name: str, known: Iterable[str] = CERTAIN_WORDS) -> str | None:
    """Return the word that a name may be a slip of, as dislikez of dislike; None if there is no such word.

    A word with letters before it, as unliked, is no slip: they may turn it around.
    """
    from difflib import get_close_matches

    word = "".join(_tokens(name))
    close = get_close_matches(word, known, n=1, cutoff=0.8) if len(word) >= MIN_SLIP and word not in WORDS else []
    return close[0] if close and not word.endswith(close[0]) else None


def _beside(name: str, names: Collection[str]) -> bool | None:
    """Return the label of a folder whose name is one only beside its opposite."""
    key = name.strip().lower()
    if key in NUMBERED:
        others = {other.strip().lower() for other in names if not other.startswith(".")}
        return key == "1" if others in ({"1", "0"}, {"1", "-1"}) else None
    if key in PAIRED_WORDS:
        return PAIRED_WORDS[key]
    return label_of_phrase(name)


def _tokens(text: str) -> list[str]:
    """Return the words of a text and the emoji that have a label, each by itself."""
    text = unicodedata.normalize("NFC", text).lower().translate(FORMS)
    tokens: list[str] = []
    for part in _EMOJI.split(_DROPPED.sub("", text)):
        tokens += [part] if part in EMOJI_LABELS else [token for token in _BETWEEN.split(part) if token]
    return tokens


def _whole(text: str) -> str:
    """Return a text as one word: thumbup of "Thumb-up". Words with a colon or a comma between them are not one."""
    tokens = _tokens(text)
    return "" if len(tokens) > 1 and _APART.search(text.strip()[:-1]) else "".join(tokens)


def _label_of(text: str) -> bool | None:
    """Return the label of a phrase by its words, if all of them are known and agree."""
    number = _NUMBERED.match(text)
    text = text[number.end() :] if number else text
    tokens = _tokens(text)
    if not all(token in WORDS or token in NEGATIONS or token in FILLERS for token in tokens):
        return None
    if number and not COUNTED.isdisjoint(tokens):
        return None
    words = [token for token in tokens if token in CERTAIN_WORDS or token in LABEL_WORDS]
    answers = [token for token in tokens if token in ANSWER_WORDS]
    emoji = [token for token in tokens if token in EMOJI_LABELS]
    if any(token in NEGATIONS for token in tokens):
        return None if answers or emoji else _turned(tokens, words)
    labels = {WORDS[token] for token in (*words, *answers, *emoji)}
    if len(labels) != 1 or len(emoji) > 1 or (len(tokens) > len(answers) and not words and not emoji):
        return None
    return None if False in labels and _may_deny(text, words, answers, emoji) else labels.pop()


def _turned(tokens: list[str], words: list[str]) -> bool | None:
    """Return False for one negation before one like, as in "not very good", and None for any other."""
    negations = [place for place, token in enumerate(tokens) if token in NEGATIONS]
    if len(negations) != 1 or len(words) != 1 or not WORDS[words[0]] or words[0] in SUPERLATIVES:
        return None
    return False if negations[0] < tokens.index(words[0]) else None


def _may_deny(text: str, words: list[str], answers: list[str], emoji: list[str]) -> bool:
    """Return whether a phrase of dislikes may say that there is none: "no dislike", "disliked: no", "rejected = ✗"."""
    opinions = [bool(set(_tokens(part)) & WORDS.keys()) for part in _FIELD.split(text)]
    if sum(opinions) > 1 or (words and (answers or "nay" in words[1:])):
        return True
    no_first = bool(answers and emoji) and _tokens(text).index(answers[0]) < _tokens(text).index(emoji[0])
    return no_first and emoji[0] not in MARKS

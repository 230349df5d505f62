"""Texts to put into requests: plausible and hostile values, labels, metadata and ids."""

from __future__ import annotations

from hypothesis import strategies as st

# Planted in every text field; no error and no log line may show them. None is a valid metadata key, since paths such as
# `metadata[key]` legitimately show keys.
CANARIES = (
    "canary-5f3a9c@example.com",
    "Canary-5F3A9C@b\u00fccher.test",
    "+52 55 9876 1234",
    "canary-5f3a9c, third floor",
)
# Parts of the canaries to search for, ignoring case, spaces, dashes and brackets.
TRACES = ("canary5f3a9c", "5598761234")
NOWHERE = "contact_00000000000000000000000000"

_LONG = (99, 100, 101, 127, 128, 129, 255, 256, 500, 501, 512, 513, 10_000)
_NASTY = [
    "",
    " ",
    "\x00",
    "a\x00b",
    "\x1b[2J",
    "\x7f",
    "\x85",
    "\n",
    "\r\nx-injected: 1",
    "\t",
    "\u0301",
    "e\u0301\u0301\u0301",
    "\u200b",
    "\u200d",
    "\u202e@moc.elpmaxe",
    "\u2028",
    "\ufeff",
    "\ufffd",
    "\uffff",
    "\U0010ffff",
    "\U000e0041",
    "\U0001d160" * 100,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f600" * 128,
    "\ufdfa" * 50,
    "\u0130stanbul@example.com",
    '{"$gt": ""}',
    "$where",
    "$ne",
    "a.b.c",
    "__proto__",
    "'; DROP TABLE contact_methods; --",
    "%s%n{0}{x.__class__}",
    "../../etc/passwd",
    ".*",
    "(?:(?:a+)+)+$",
    "[",
    "\\",
    "\\Q..\\E",
    "#-&~ x",
    "null",
    "-1",
    "0",
    NOWHERE,
    NOWHERE.upper(),
    "contact_",
]
_NASTY_EMAILS = [
    "a@b.c",
    "a@[127.0.0.1]",
    '"quoted local"@example.com',
    "a..b@example.com",
    ".a@example.com",
    "a@-example.com",
    "a@example.com.",
    "a@xn--",
    "a@xn--\u00fc.com",
    "a@xn--a-ecp.com",
    "a@xn--80ak6aa92e.com",
    "a@xn--zca.example",
    "\u00df@stra\u00dfe.de",
    "a@\u2488com.com",
    "a@ex\u00adample.com",
    "a@\u0660.example",
    "a@b\u200dc.example",
    "a@\u05d0b.example",
    "a@\ufe0f.example",
    "a@" + "\u00fc" * 63 + ".com",
    "a@" + "a." * 120 + "com",
    "\u00fc" * 64 + "@example.com",
    "\u0301a@example.com",
    "a\u202eb@example.com",
    "\U0001f600@\U0001f600.example",
    "J\u030c@example.com",
    "a@b@example.com",
    "a@exa\u3002mple.com",
    "mailto:a@example.com",
    "Name <a@example.com>",
]
_NASTY_NUMBERS = [
    "+",
    "++52 55 1234 5678",
    "+0",
    "+999 1234567",
    "+52" + "1" * 250,
    "+52 1 0",
    "+5210000000000",
    "+52 1 55 1234 5678 ext. 99999999",
    "+52 55 1234 5678;ext=\uff11\uff12",
    "+52 55 1234 5678 x 1 x 2",
    "tel:+52-55-1234-5678;phone-context=+52",
    "55;phone-context=",
    "55;phone-context=+",
    ";phone-context=example.com",
    "1;phone-context=" + "ab." * 60 + "!",
    "tel:;isub=1",
    "+1-800-FLOWERS",
    "+\u0665\u0662 \u0665\u0665 \u0661\u0662\u0663\u0664 \u0665\u0666\u0667\u0668",
    "\uff0b525512345678",
    "+39 0 0 0 0 0 0",
    "+800 1234 5678",
    "+979 123456789",
    "+1 (((((212) 555 0100",
    "+" + " " * 200 + "1",
    "#31#+52 55 1234 5678",
    "+52 55 1234 5678/5679",
]
_GOOD_VALUES = [
    "ana@example.com",
    "ana@example.com",
    "Ana@b\u00fccher.example",
    "+52 55 1234 5678",
    "+525512345678;ext=12",
    "+52 1 55 1234 5678",
    "@ana on some chat",
    *CANARIES,
]
_long_texts = st.builds(
    lambda part, length: (part * length)[:length],
    st.sampled_from(["x", "\u00fc", "\U0001f600", "a\u0301", " ", "1", f"{CANARIES[0]} ", "$"]),
    st.sampled_from(_LONG),
)
_emails = st.builds(
    "{}@{}.{}".format,
    st.text(max_size=12),
    st.text(max_size=12),
    st.sampled_from(["com", "test", "\u00fc", "", "xn--"]),
)
_digits = st.text("0123456789 +()-./;,#*xext=\uff11\u0661\u06f1", max_size=30)
_nasty = st.sampled_from([*_NASTY, *_NASTY, *_NASTY_EMAILS, *_NASTY_NUMBERS, *CANARIES])
hostile_texts = st.one_of(
    _nasty,
    _nasty,
    st.sampled_from(CANARIES).map(lambda canary: f"{canary}\x00"),
    _long_texts,
    st.text(max_size=40),
)
hostile_values = st.one_of(
    st.sampled_from([*_NASTY_EMAILS, *_NASTY_NUMBERS]),
    _emails,
    _digits.map(lambda digits: f"+52{digits}"),
    _digits,
    hostile_texts,
)
good_values = st.sampled_from(_GOOD_VALUES)
fitting = st.sampled_from([(1 if "@" in value[1:] else 2 if "+" in value else 4, value) for value in _GOOD_VALUES])
labels = st.sampled_from(["Work", "Home", "\u00fc" * 100, "", CANARIES[3]])
metadata_keys = st.sampled_from(["k", "k", "k", "a.b", "__proto__", "K" * 40, "0", "-:._"])
metadata_values = st.sampled_from(["1", "=", "v" * 500, "\x00", "line\nbreak", "\U0001f600" * 500, CANARIES[0], ""])
request_ids = st.sampled_from(["", "", "", "", "r1", "\U0001f600" * 255])

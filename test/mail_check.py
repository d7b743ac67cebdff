#!/usr/bin/python3
"""Compares the mails that a receiver got with those that were to come.

    mail_check.py DIR < expected.json

DIR is an SMTP receiver's directory; expected.json is an array of objects
{"job", "recipient", "needles"}.  The mails are parsed from their bytes by
Python's email package; it prints what it finds and exits 1 if anything is
missing, too much, or malformed.
"""

import email
import email.policy
import glob
import html.parser
import json
import os
import sys


class Text(html.parser.HTMLParser):
    """The text of an HTML document, as a reader sees it."""

    def __init__(self, document):
        super().__init__(convert_charrefs=True)
        self.pieces = []
        self.feed(document)
        self.close()

    def handle_data(self, data):
        self.pieces.append(data)

    def __str__(self):
        return " ".join(self.pieces)


def words(text):
    return " ".join(text.split())


def defects_of(message):
    found = []
    for part in message.walk():
        found += part.defects
        for value in part.values():
            found += value.defects
    return found


def problems_of(message, raw):
    """What is wrong with a mail whatever it says."""
    text = message.get_body(preferencelist=("plain",))
    markup = message.get_body(preferencelist=("html",))
    if message.get_content_type() != "multipart/alternative" or text is None or markup is None:
        return ["it is %s, not multipart/alternative of text and HTML" % message.get_content_type()]
    text.get_content(), markup.get_content()
    wrong = ["the parser says %r" % defect for defect in defects_of(message)]
    for part in (text, markup):
        if part.get_content_charset() != "utf-8":
            wrong.append("%s is in %s" % (part.get_content_type(), part.get_content_charset()))
    if message["from"] != "Motionify Portal <hello@motionify.studio>":
        wrong.append("it is from %s" % message["from"])
    if message["reply-to"] != "noreply@motionify.studio":
        wrong.append("its Reply-To is %s" % message["reply-to"])
    if message["date"] is None or message["date"].datetime is None:
        wrong.append("it has no date")
    if b"\n" in raw.replace(b"\r\n", b"") or b"\r" in raw.replace(b"\r\n", b""):
        wrong.append("it has line breaks other than CR LF")
    if max(map(len, raw.split(b"\r\n"))) > 998:
        wrong.append("it has lines over 998 bytes")
    return wrong


def has_all(message, needles):
    text = words(message.get_body(preferencelist=("plain",)).get_content())
    markup = words(str(Text(message.get_body(preferencelist=("html",)).get_content())))
    return all(words(needle) in body for needle in needles for body in (text, markup))


def recipients_of(message):
    return [address.addr_spec for address in message["to"].addresses]


def main(directory):
    expected = json.load(sys.stdin)
    wrong = []
    messages = []
    for path in sorted(glob.glob(os.path.join(directory, "*.eml"))):
        with open(path, "rb") as file:
            raw = file.read()
        message = email.message_from_bytes(raw, policy=email.policy.default)
        messages.append(message)
        wrong += ["%s: %s" % (path, problem) for problem in problems_of(message, raw)]
    unmatched = [] if wrong else list(messages)
    for mail in [] if wrong else expected:
        match = [message for message in unmatched
                 if recipients_of(message) == [mail["recipient"]] and has_all(message, mail["needles"])]
        if match:
            unmatched.remove(match[0])
        else:
            wrong.append("no mail of %(job)s to %(recipient)s with %(needles)r" % mail)
    wrong += ["a mail that nobody expected: %s to %s" % (message["subject"], message["to"])
              for message in unmatched]
    if len({message["message-id"] for message in messages}) != len(messages):
        wrong.append("the Message-IDs are not unique")
    print("%d mails received and parsed, %d expected, %d problems"
          % (len(messages), len(expected), len(wrong)))
    for problem in wrong:
        print("  " + problem)
    return 1 if wrong or len(messages) != len(expected) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

#!/usr/bin/python3
"""The HTML of a mail that the tests' SMTP server has kept, on standard output.

    mail_html.py DIRECTORY RECIPIENT SUBJECT
"""

import email
import email.policy
import glob
import os
import sys


def main(directory, recipient, subject):
    for path in sorted(glob.glob(os.path.join(directory, "*.eml"))):
        with open(path, "rb") as file:
            message = email.message_from_bytes(file.read(), policy=email.policy.default)
        if subject in message["subject"] and recipient in message["to"]:
            sys.stdout.buffer.write(message.get_body(preferencelist=("html",)).get_content().encode())
            return 0
    print("no mail to %s about %s" % (recipient, subject), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

#!/usr/bin/python3
"""What Python's parsers read in a message, as JSON.

    message_check.py FILE [RECORD]

RECORD is what the DNS says of the key of each signature; without it none is
checked.  Prints structure (the content types), attachments, defects, and dkim:
whether python3-dkim agrees with the signature, and what it says.
"""

import email
import email.policy
import hashlib
import json
import re
import sys

import dkim

from smtp_receiver import defects_of


def attachment(part):
    content = part.get_payload(decode=True)
    return {
        "filename": part.get_filename(),
        "type": part.get_content_type(),
        "disposition": part.get_content_disposition(),
        "content_id": part["content-id"],
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def main():
    with open(sys.argv[1], "rb") as file:
        content = file.read()
    message = email.message_from_bytes(content, policy=email.policy.default)
    signature = message["dkim-signature"]
    result = {
        "structure": [part.get_content_type() for part in message.walk()],
        "attachments": [attachment(part) for part in message.walk()
                        if part.get_content_disposition()],
        "defects": defects_of(message),
        "unsubscribe": message["list-unsubscribe"],
        "unsubscribe_post": message["list-unsubscribe-post"],
        "signature": signature and re.sub(r"\s+", "", signature),
    }
    if len(sys.argv) > 2:
        asked = []

        def look_up(name, timeout=5):
            asked.append(name.decode())
            return sys.argv[2].encode()
        try:
            result["dkim"] = dkim.verify(content, dnsfunc=look_up)
        except ValueError:    # a key of another kind
            result["dkim"] = False
        result["record"] = asked
    print(json.dumps(result))


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""A real SMTP server for the tests and the demo (Debian's python3-aiosmtpd).

It accepts mail on 127.0.0.1 and keeps it in a directory:

  port            the port it listens on, written when it does
  mails.jsonl     a line per accepted mail: the envelope, and what Python's own
                  MIME parser (email.policy.default) reads in it
  N.eml           the bytes of mail N as they came, dots unstuffed
  events.jsonl    a line per command: what came, and what was replied
  behaviour.json  read before each reply, if it is there: what to refuse
                  {"mail": REPLY, "rcpt": {ADDRESS: REPLY}, "data": REPLY}
                  with a REPLY such as "550 5.1.1 no such user"

It runs until it is killed.
"""

import argparse
import asyncio
import email
import email.policy
import json
import os
import ssl
import time

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", choices=["starttls", "smtps"])
    parser.add_argument("--cert", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--auth", metavar="USER:PASSWORD")
    return parser.parse_args()


def is_crlf_only(content):
    """No line break but CR LF."""
    return b"\r" not in content.replace(b"\r\n", b"") and b"\n" not in content.replace(b"\r\n", b"")


def defects_of(message):
    """What the parser complains about, in all parts and headers."""
    found = []
    for part in message.walk():
        found += [repr(defect) for defect in part.defects]
        for name, value in part.items():
            found += ["%s: %r" % (name, defect) for defect in value.defects]
    return found


def body_of(message, kind):
    part = message.get_body(preferencelist=(kind,))
    return None if part is None else part.get_content()


def describe(content):
    """What the MIME parser reads in a mail."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    # get_content() decodes the bodies, which may add defects: bodies first
    text, html = body_of(message, "plain"), body_of(message, "html")
    return {
        "subject": message["subject"],
        "from": message["from"],
        "to": message["to"],
        "reply_to": message["reply-to"],
        "message_id": message["message-id"],
        "date": message["date"],
        "content_type": message.get_content_type(),
        "headers": [[name, str(value)] for name, value in message.items()],
        "text": text,
        "html": html,
        "defects": defects_of(message),
    }


class Store:
    """The directory where everything is kept."""

    def __init__(self, path):
        self.path = path
        self.count = sum(1 for name in os.listdir(path) if name.endswith(".eml"))

    def append(self, name, record):
        with open(os.path.join(self.path, name), "a", encoding="utf-8") as file:
            file.write(json.dumps(record, default=str) + "\n")

    def write(self, name, content):
        """Whole or not at all."""
        path = os.path.join(self.path, name)
        with open(path + ".new", "wb") as file:
            file.write(content)
        os.rename(path + ".new", path)
        return path

    def event(self, session, command, argument, reply):
        self.append("events.jsonl", {
            "at": time.time(),
            "peer": session.peer[1] if session.peer else None,
            "tls": session.ssl is not None,
            "command": command,
            "argument": argument,
            "reply": reply,
        })

    def behaviour(self):
        try:
            with open(os.path.join(self.path, "behaviour.json"), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return {}


class Handler:
    """Logs each command; accepts what is not to be refused."""

    def __init__(self, store, implicit_tls):
        self.store = store
        self.implicit_tls = implicit_tls

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        self.store.event(session, "EHLO", hostname, responses)
        return responses

    def handle_STARTTLS(self, server, session, envelope):
        self.store.event(session, "STARTTLS", None, None)
        return True

    async def handle_MAIL(self, server, session, envelope, address, options):
        reply = self.store.behaviour().get("mail", "250 2.1.0 OK")
        self.store.event(session, "MAIL", [address] + options, reply)
        if reply.startswith("2"):
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return reply

    async def handle_RCPT(self, server, session, envelope, address, options):
        reply = self.store.behaviour().get("rcpt", {}).get(address, "250 2.1.5 OK")
        self.store.event(session, "RCPT", [address] + options, reply)
        if reply.startswith("2"):
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return reply

    async def handle_DATA(self, server, session, envelope):
        content = envelope.original_content
        reply = self.store.behaviour().get("data")
        if reply is None:
            reply = "250 2.0.0 accepted as %d" % self.accept(session, envelope, content)
        self.store.event(session, "DATA", len(content), reply)
        return reply

    def accept(self, session, envelope, content):
        self.store.count += 1
        path = self.store.write("%d.eml" % self.store.count, content)
        record = {
            "number": self.store.count,
            "at": time.time(),
            "mail_from": envelope.mail_from,
            "rcpt_tos": envelope.rcpt_tos,
            "mail_options": envelope.mail_options,
            "tls": self.implicit_tls or session.ssl is not None,
            "auth": session.auth_data,
            "file": path,
            "crlf_only": is_crlf_only(content),
            "longest_line": max(len(line) for line in content.split(b"\r\n")),
            "ascii": content.isascii(),
        }
        record.update(describe(content))
        self.store.append("mails.jsonl", record)
        return self.store.count


def make_authenticator(store, credentials):
    user, password = credentials.encode().split(b":", 1)

    def authenticate(server, session, envelope, mechanism, data):
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (user, password)
        store.event(session, "AUTH", mechanism, "ok" if good else "refused")
        if not good:
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True, auth_data=user.decode())

    return authenticate


def make_context(cert):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*cert)
    return context


async def serve(arguments):
    store = Store(arguments.dir)
    handler = Handler(store, arguments.tls == "smtps")
    context = make_context(arguments.cert) if arguments.tls else None
    options = {
        "hostname": "receiver.test",
        "loop": asyncio.get_running_loop(),
        "data_size_limit": 0,
        "timeout": 600,
        "enable_SMTPUTF8": True,
    }
    if arguments.tls == "starttls":
        options.update(tls_context=context, require_starttls=True)
    if arguments.auth:
        options.update(authenticator=make_authenticator(store, arguments.auth),
                       auth_required=True,
                       auth_require_tls=arguments.tls == "starttls")
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(handler, **options), "127.0.0.1", arguments.port,
        ssl=context if arguments.tls == "smtps" else None)
    store.write("port", b"%d\n" % server.sockets[0].getsockname()[1])
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(parse_arguments()))

"""An SMTP server that fails as it is told.

usage: smtp_scripted.py --dir DIR [--port N] [--cert CERT KEY] [--auth USER:PASSWORD]

In DIR:
  port            written when it listens on 127.0.0.1
  hole            written then, too: a port at which connections are never made
  mails.jsonl     a line per mail that it has taken, whatever it said of that
  events.jsonl    a line per command: what came, and what was replied
  behaviour.json  read before each reply, if it is there:
                  {"id": ANY, "offer": [EXTENSION...], "at": {PLACE: ACTION}}

Places are greeting, EHLO, "EHLO 2" (the second on a connection, and so on), STARTTLS,
AUTH, MAIL, RCPT, "RCPT ADDRESS", DATA, dot, RSET, and idle, after a mail was taken.  An action is a reply ("450 4.2.0 no";
after 421 the connection is closed), or one of

  close         say nothing, and close
  take close    the same, but at the dot the mail has been taken
  wait          say nothing until something else is told, then do that
  hold          say nothing
  take hold     the same, but at the dot the mail has been taken
  drip          one byte again and again of a line that never ends
  endless       a line without an end, as fast as it goes
  garbage       what is not SMTP
  partial       the first line of a reply that has two, and close
  extra         the usual reply twice
  flush         forget what else has come, as servers do that cannot pipeline

or {"do": ACTION, "times": N}: only the first N times since the id has changed.
It runs until it is killed.
"""

import argparse
import base64
import email
import email.policy
import json
import os
import socket
import ssl
import threading
import time


class Gone(Exception):
    """The connection is over."""


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dir", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cert", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--auth", metavar="USER:PASSWORD")
    return parser.parse_args()


class Script:
    """What is to happen, and what has."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.used = {}
        self.id = None

    def append(self, name, record):
        with self.lock, open(os.path.join(self.path, name), "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def read(self):
        try:
            with open(os.path.join(self.path, "behaviour.json"), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def action(self, *places):
        """The action at the first of some places that has one; None: as usual."""
        behaviour = self.read()
        for place in places:
            action = behaviour.get("at", {}).get(place)
            if isinstance(action, dict):
                action = action["do"] if self.use(behaviour.get("id"), place, action["times"]) else None
            if action is not None:
                return action
        return None

    def use(self, number, place, times):
        with self.lock:
            if number != self.id:
                self.id, self.used = number, {}
            self.used[place] = self.used.get(place, 0) + 1
            return self.used[place] <= times


class Connection:
    """One connection."""

    def __init__(self, script, sock, arguments):
        self.script, self.sock, self.arguments = script, sock, arguments
        self.peer = sock.getpeername()[1]
        self.tls = False
        self.auth = None
        self.input = b""
        self.hellos = 0
        self.start()

    def start(self):
        self.mail_from, self.rcpt_tos = None, []

    # --- bytes

    def line(self):
        while b"\n" not in self.input:
            got = self.sock.recv(65536)
            if not got:
                raise Gone
            self.input += got
        line, self.input = self.input.split(b"\n", 1)
        return line.rstrip(b"\r")

    def content(self):
        lines = []
        while (line := self.line()) != b".":
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"\r\n".join(lines) + b"\r\n"

    def until_gone(self):
        while self.sock.recv(65536):
            pass
        raise Gone

    def peer_is_gone(self, seconds):
        self.sock.settimeout(seconds)
        try:
            return self.sock.recv(65536) == b""
        except (socket.timeout, ssl.SSLWantReadError):
            return False
        finally:
            self.sock.settimeout(None)

    def drip(self):
        self.sock.sendall(b"250-")
        while not self.peer_is_gone(0.02):
            self.sock.sendall(b"x")
        raise Gone

    def endless(self):
        self.sock.sendall(b"250 ")
        while True:
            self.sock.sendall(b"x" * 65536)

    # --- replies

    def say(self, place, reply, event, take=lambda: None):
        """
        Reply to what came, or do what is to be done instead; True: as usual.
        Then, or if it is to, it takes the mail first.
        """
        places = [event, place] if event else [place]
        action = self.script.action(*places)
        self.script.append("events.jsonl", {"at": time.time(), "peer": self.peer, "tls": self.tls,
                                            "command": place, "argument": event, "reply": action or reply})
        while action == "wait":
            time.sleep(0.01)
            action = self.script.action(*places)
        if action is None or action.startswith("take") or action in ("extra", "flush"):
            take()
        if action is None or action in ("extra", "flush"):
            if action == "flush":
                self.input = b""
            self.sock.sendall((reply + "\r\n").encode() * (2 if action == "extra" else 1))
            return True
        return self.perform(action)

    def perform(self, action):
        if action in ("close", "take close"):
            raise Gone
        if action in ("hold", "take hold"):
            self.until_gone()
        if action in ("drip", "endless"):
            getattr(self, action)()
        if action == "garbage":
            self.sock.sendall(b"\x16\x03\x01\x00\xff Hello? This is a toaster.\r\n")
            self.until_gone()
        if action == "partial":
            self.sock.sendall(b"250-the first of two lines\r\n")
            raise Gone
        self.sock.sendall((action + "\r\n").encode())
        if action.startswith("421"):
            raise Gone
        return False

    # --- commands

    def greet(self):
        if not self.say("greeting", "220 scripted.test ESMTP", None):
            self.until_gone()

    def hello(self):
        offer = self.script.read().get("offer")
        if offer is None:
            offer = ["PIPELINING", "SIZE 100000000", "8BITMIME", "ENHANCEDSTATUSCODES"]
            if self.arguments.cert and not self.tls:
                offer.append("STARTTLS")
            if self.arguments.auth and (self.tls or not self.arguments.cert):
                offer.append("AUTH PLAIN")
        lines = ["scripted.test"] + offer
        self.hellos += 1
        self.say("EHLO", "\r\n".join("250%s%s" % (" " if i == len(lines) - 1 else "-", line)
                                     for i, line in enumerate(lines)), "EHLO %d" % self.hellos)

    def starttls(self):
        if not self.say("STARTTLS", "220 2.0.0 go ahead", None):
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.arguments.cert)
        self.input = b""
        self.sock = context.wrap_socket(self.sock, server_side=True)
        self.tls = True

    def authenticate(self, argument):
        words = argument.split()
        if len(words) < 2:
            self.sock.sendall(b"334 \r\n")
            words = ["PLAIN", self.line().decode()]
        _, user, password = base64.b64decode(words[1]).decode().split("\0")
        good = "%s:%s" % (user, password) == self.arguments.auth
        if self.say("AUTH", "235 2.7.0 welcome" if good else "535 5.7.8 credentials invalid", None):
            self.auth = user if good else None

    def address(self, argument):
        return argument[argument.index("<") + 1:argument.index(">")]

    def data(self):
        if not self.rcpt_tos:
            self.say("DATA", "554 5.5.1 no valid recipients", None)
            return
        if not self.say("DATA", "354 go ahead", None):
            return
        self.end_of_data(self.content())

    def end_of_data(self, content):
        message = email.message_from_bytes(content, policy=email.policy.default)
        number = "Q%08d" % (threading.get_native_id() * 100 + int(time.time() * 100) % 100)
        record = {"at": time.time(), "mail_from": self.mail_from, "rcpt_tos": self.rcpt_tos, "tls": self.tls,
                  "auth": self.auth, "subject": str(message["subject"]),
                  "message_id": str(message["message-id"]), "id": number}
        self.say("dot", "250 2.0.0 Ok: queued as " + number, None,
                 lambda: self.script.append("mails.jsonl", record))
        self.start()
        action = self.script.action("idle")
        if action is not None:
            self.perform(action)

    def command(self, line):
        verb, _, argument = line.decode().partition(" ")
        verb = verb.upper()
        if verb in ("EHLO", "HELO"):
            self.hello()
        elif verb == "STARTTLS":
            self.starttls()
        elif verb == "AUTH":
            self.authenticate(argument)
        elif verb == "MAIL":
            if self.say("MAIL", "250 2.1.0 ok", None):
                self.mail_from = self.address(argument)
        elif verb == "RCPT":
            address = self.address(argument)
            if self.say("RCPT", "250 2.1.5 ok", "RCPT " + address):
                self.rcpt_tos.append(address)
        elif verb == "DATA":
            self.data()
        elif verb == "RSET":
            self.start()
            self.say("RSET", "250 2.0.0 ok", None)
        elif verb == "QUIT":
            self.sock.sendall(b"221 2.0.0 bye\r\n")
            raise Gone
        else:
            self.sock.sendall(b"500 5.5.2 what?\r\n")

    def serve(self):
        try:
            self.greet()
            while True:
                self.command(self.line())
        except (Gone, OSError, ValueError):
            pass
        finally:
            try:
                self.sock.close()
            except OSError:
                pass


def make_hole():
    """A full backlog: the kernel drops what comes."""
    hole = socket.socket()
    hole.bind(("127.0.0.1", 0))
    hole.listen(0)
    fill = [socket.socket() for _ in range(4)]
    for sock in fill:
        sock.setblocking(False)
        sock.connect_ex(hole.getsockname())
    return hole, fill


def write_port(arguments, name, sock):
    path = os.path.join(arguments.dir, name)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write("%d\n" % sock.getsockname()[1])
    os.rename(path + ".new", path)


def main():
    arguments = parse_arguments()
    script = Script(arguments.dir)
    hole = make_hole()
    write_port(arguments, "hole", hole[0])
    listener = socket.create_server(("127.0.0.1", arguments.port), backlog=100)
    write_port(arguments, "port", listener)
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(script, sock, arguments)
        threading.Thread(target=connection.serve, daemon=True).start()


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""An SMTP server for tests of the transport: it says what was read in one go,
and stops, refuses or leaves at a named point.

    smtp_groups.py --dir DIR

DIR/port has the port; DIR/proxy_port that of an HTTP proxy which leads here.
DIR/events gets a line of JSON for each thing that happens: conn is the number
of the connection, from 1.

    {"conn": 1, "event": "open"}            also "close", "proxy"
    {"conn": 1, "read": ["dot", "MAIL"]}    commands that came in one read
    {"conn": 1, "mail": "a@b", "at": 1.5}   a mail was accepted, and when
    {"conn": 1, "hang": "MAIL"}             it will not go on

DIR/behave, JSON, is read for each connection and each mail:
    ehlo: keywords (["PIPELINING"])     auth: the line after AUTH that is right
    hang: a point, for all mails, until it is not there any more

What the recipient's local part begins with says what becomes of the mail:
    hang-POINT      nothing more is said from then on
    drop-POINT      the connection ends there
    refuse, later   RCPT is answered by 550, 451
    void            RCPT is refused, but DATA answered by 354
    extra           RCPT is answered twice
The points: greeting, EHLO, MAIL, RCPT, DATA, content, dot.
"""
import argparse
import json
import os
import socket
import threading
import time

lock = threading.Lock()
args = None
connections = 0


def event(**what):
    with lock, open(os.path.join(args.dir, 'events'), 'a') as file:
        file.write(json.dumps(what) + '\n')


def behave():
    try:
        with open(os.path.join(args.dir, 'behave')) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


class Over(Exception):
    pass


class Connection:
    def __init__(self, sock):
        global connections
        with lock:
            connections += 1
            self.number = connections
        self.sock = sock
        self.buffer = b''
        self.content = False
        self.body = b''
        self.reset()

    def reset(self):
        self.recipients = []
        self.refused = False
        self.point = None

    def say(self, text):
        try:
            self.sock.sendall((text + '\r\n').encode())
        except OSError:
            raise Over

    def read(self):
        """The commands of one read, the content's end being one: "dot"."""
        try:
            data = self.sock.recv(1 << 20)
        except TimeoutError:
            raise
        except OSError:
            raise Over
        if not data:
            raise Over
        self.buffer += data

    def next_command(self):
        """The next complete command of the buffer, or None."""
        if self.content:
            if self.buffer.startswith(b'.\r\n'):
                end = 0
                rest = self.buffer[3:]
            else:
                end = self.buffer.find(b'\r\n.\r\n')
                if end < 0:
                    return None
                rest = self.buffer[end + 5:]
            self.body, self.buffer = self.buffer[:end], rest
            self.content = False
            return 'dot'
        line, end, rest = self.buffer.partition(b'\r\n')
        if not end:
            return None
        self.buffer = rest
        return line.decode('latin-1')

    def hangs(self, point):
        """Is this the point at which this mail, or all, stop or leave?"""
        local = self.recipients[0] if self.recipients else ''
        if behave().get('hang') == point or local.startswith('hang-' + point):
            event(conn=self.number, hang=point)
            self.sock.settimeout(0.02)
            while behave().get('hang') == point or local.startswith('hang-'):
                if point == 'content':  # what is sent stays on the way
                    time.sleep(0.02)
                    continue
                try:
                    self.read()
                except TimeoutError:
                    pass
            self.sock.settimeout(None)
        if local.startswith('drop-' + point):
            event(conn=self.number, drop=point)
            raise Over

    def accept(self):
        event(conn=self.number, mail=self.recipients[0], at=time.monotonic(),
              size=len(self.body))
        self.say('250 2.0.0 queued as ' + self.recipients[0])

    def rcpt(self, line):
        address = line[line.index('<') + 1:line.index('>')]
        self.recipients.append(address)
        self.hangs('RCPT')
        if address.startswith(('refuse', 'void')):
            self.refused = True
            self.say('550 5.1.1 no such user')
        elif address.startswith('later'):
            self.refused = True
            self.say('451 4.2.1 later')
        else:
            self.say('250 2.1.5 ok')
            if address.startswith('extra'):
                self.say('250 2.1.5 once more')

    def data(self):
        self.hangs('DATA')
        if self.refused and not self.recipients[0].startswith('void'):
            self.say('503 5.5.1 no valid recipients')
            return
        self.content = True
        self.say('354 go on')
        self.hangs('content')

    def dot(self):
        self.hangs('dot')
        if self.refused:
            event(conn=self.number, void=len(self.body))
            self.say('554 5.5.1 no valid recipients')
        else:
            self.accept()
        self.reset()

    def hello(self):
        self.hangs('EHLO')
        keywords = behave().get('ehlo', ['PIPELINING'])
        self.say('250-groups')
        for keyword in keywords:
            self.say('250-' + keyword)
        self.say('250 8BITMIME')

    def auth(self, line):
        said = line[5:]
        if ' ' not in said:  # a long token comes by itself
            self.say('334 ')
            while b'\r\n' not in self.buffer:
                self.read()
            said += ' ' + self.next_command()
        event(conn=self.number, auth=said)
        good = behave().get('auth') == said
        self.say('235 2.7.0 ok' if good else '535 5.7.8 no')

    def answer(self, line):
        verb = line.split(' ')[0].upper()
        if verb in ('EHLO', 'HELO'):
            self.hello()
        elif verb == 'AUTH':
            self.auth(line)
        elif verb == 'MAIL':
            self.hangs('MAIL')
            self.say('250 2.1.0 ok')
        elif verb == 'RCPT':
            self.rcpt(line)
        elif verb == 'DATA':
            self.data()
        elif verb == 'DOT':
            self.dot()
        elif verb == 'RSET':
            self.reset()
            self.say('250 2.0.0 ok')
        elif verb == 'QUIT':
            self.say('221 2.0.0 bye')
            raise Over
        else:
            self.say('500 5.5.1 what?')

    def talk(self):
        event(conn=self.number, event='open')
        try:
            self.hangs('greeting')
            self.say('220 groups ESMTP')
            while True:
                self.read()
                lines = list(iter(self.next_command, None))
                if lines:
                    event(conn=self.number,
                          read=[line.split(' ')[0] for line in lines])
                for line in lines:
                    self.answer(line)
        except Over:
            pass
        event(conn=self.number, event='close')
        self.sock.close()


def proxy(sock):
    """The end of a tunnel is here."""
    data = b''
    while b'\r\n\r\n' not in data:
        more = sock.recv(4096)
        if not more:
            return
        data += more
    event(proxy=data.decode('latin-1').split('\r\n')[0])
    sock.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
    Connection(sock).talk()


def listen(name, serve):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    server.bind(('127.0.0.1', 0))
    server.listen(64)
    path = os.path.join(args.dir, name)
    with open(path + '.tmp', 'w') as file:
        file.write(str(server.getsockname()[1]))
    os.rename(path + '.tmp', path)

    def loop():
        while True:
            sock, _ = server.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(sock,), daemon=True).start()
    return threading.Thread(target=loop, daemon=True)


def main():
    global args
    parser = argparse.ArgumentParser()
    parser.add_argument('--dir', required=True)
    args = parser.parse_args()
    listen('proxy_port', proxy).start()
    thread = listen('port', lambda sock: Connection(sock).talk())
    thread.start()
    thread.join()


main()

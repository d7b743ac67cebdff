"""Sending to real and to misbehaving SMTP servers.

usage: smtp_live.py build/smtp_driver         prints TAP

The real ones are aiosmtpd's; the misbehaving ones are scripts over sockets.
All of them listen on loopback, on ports that the system chooses.
"""
import base64
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

DRIVER = sys.argv[1]
CANARY = 'canary-s3cret-pässword'
LONG = 60000                    # ms: a time-out that must not be reached
DEADLINE = 120                  # s: a driver that runs longer hangs

count = failed = 0
work = tempfile.TemporaryDirectory()


def ok(passed, name, *notes):
    global count, failed
    count += 1
    print('%sok %d - %s' % ('' if passed else 'not ', count, name), flush=True)
    if not passed:
        failed += 1
        for note in notes:
            print('# %s' % (note,))


def parse(output):
    return [dict(pair.split('=', 1) for pair in line.split('\t'))
            for line in output.splitlines() if line]


def arguments(options):
    args = [DRIVER]
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            args.append('%s=%s' % (name, item))
    return args


def environment(slow_dns=False):
    env = dict(os.environ, ASAN_OPTIONS='quarantine_size_mb=1')
    if slow_dns:
        env['MJ_SLOW_DNS'] = '1'
    return env


def run(slow_dns=False, **options):
    """Run the driver; its results, and the last one under 'all'."""
    done = subprocess.run(arguments(options), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=DEADLINE,
                          env=environment(slow_dns))
    text = done.stdout.decode()
    if done.returncode != 0:
        return [{'what': 'crash', 'message': text}]
    return parse(text)


def find(results, what):
    found = [r for r in results if r['what'] == what]
    return found[-1] if found else {}


def expect(results, what, title, /, **wanted):
    got = find(results, what)
    ok(bool(got) and all(str(got.get(k)) == str(v) for k, v in wanted.items()),
       title, 'wanted %s %s' % (what, wanted), *results)
    return got


def quick(got, limit, name):
    """The step took at most limit ms."""
    ok(got and int(got['ms']) <= limit, name, got)


# ---------------------------------------------------------------------------
# Scripted servers
# ---------------------------------------------------------------------------

class Conversation:
    """One connection of a scripted server."""

    def __init__(self, server, sock):
        self.server, self.sock = server, sock
        self.reader = sock.makefile('rb')

    def send(self, text):
        data = text if isinstance(text, bytes) else text.encode()
        self.sock.sendall(data)

    def line(self, text):
        self.send(text + '\r\n')

    def expect(self, start=''):
        line = self.reader.readline().decode()
        self.server.heard.append(line.rstrip('\r\n'))
        if not line.startswith(start):
            raise ConnectionError('%r instead of %r' % (line, start))
        return line.rstrip('\r\n')

    def answer(self, start, text):
        line = self.expect(start)
        self.line(text)
        return line

    def content(self):
        lines = []
        while True:
            line = self.reader.readline()
            if line in (b'.\r\n', b''):
                return b''.join(lines)
            lines.append(line)

    def hold(self):
        """Say nothing more, until the client goes."""
        while self.reader.read1(65536):
            pass

    def hello(self, first='250 x', second='250-x\r\n250 SIZE 1000000000'):
        self.line('220 scripted')
        self.answer('EHLO', first)
        self.answer('EHLO', second)

    def message(self, rcpt='250 ok', dot='250 2.0.0 taken'):
        self.answer('MAIL', '250 ok')
        self.answer('RCPT', rcpt)
        self.answer('DATA', '354 go')
        data = self.content()
        self.line(dot)
        return data

    def quit(self):
        self.answer('QUIT', '221 bye')


class Scripted:
    """A server that runs a function for each connection."""

    def __init__(self, script):
        self.script, self.heard = script, []
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.url = 'smtp://127.0.0.1:%d' % self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    self.script(Conversation(self, sock))
                except (ConnectionError, ssl.SSLError, BrokenPipeError):
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def scripted(script, **options):
    """Run the driver against a script; results and what the server heard."""
    options.setdefault('tls', 'off')
    with Scripted(script) as server:
        results = run(url=server.url, **options)
    return results, server.heard


# ---------------------------------------------------------------------------
# Certificates
# ---------------------------------------------------------------------------

def openssl(*args):
    subprocess.run(['openssl', *args], check=True, cwd=work.name,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_certificate(name, host):
    """A CA NAME-ca.pem, and NAME.pem with its key, for a host."""
    with open(os.path.join(work.name, name + '.ext'), 'w') as ext:
        ext.write('subjectAltName=' + host)
    openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
            '-keyout', name + '-ca.key', '-out', name + '-ca.pem',
            '-subj', '/CN=Test CA ' + name)
    openssl('req', '-newkey', 'rsa:2048', '-nodes', '-keyout', name + '.key',
            '-out', name + '.csr', '-subj', '/CN=' + name)
    openssl('x509', '-req', '-in', name + '.csr', '-CA', name + '-ca.pem',
            '-CAkey', name + '-ca.key', '-CAcreateserial', '-days', '2',
            '-out', name + '.pem', '-extfile', name + '.ext')


def path(name):
    return os.path.join(work.name, name)


def server_context(name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path(name + '.pem'), path(name + '.key'))
    return context


# ---------------------------------------------------------------------------
# aiosmtpd
# ---------------------------------------------------------------------------

class Mailbox:
    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append((envelope.mail_from, envelope.rcpt_tos,
                           envelope.original_content, session.host_name,
                           session.authenticated))
        return '250 2.0.0 queued'


def authenticate(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b'portal', CANARY.encode())
    return AuthResult(success=good, handled=good)


class Receiver(Controller):
    """aiosmtpd on a free port."""

    def __init__(self, **options):
        self.box = Mailbox()
        with socket.create_server(('127.0.0.1', 0)) as probe:
            port = probe.getsockname()[1]
        super().__init__(self.box, hostname='127.0.0.1', port=port,
                         server_hostname='receiver.test',
                         data_size_limit=1 << 28, **options)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


def test_plain():
    content = b'Subject: dots\r\n\r\n' + b''.join(
        b'.' * (i % 5) + b'x' * (i % 90) + b'\r\n' for i in range(60000))
    with open(path('content'), 'wb') as file:
        file.write(content)
    with Receiver() as server:
        url = 'smtp://127.0.0.1:%d' % server.port
        got = run(url=url, tls='off', send=3, content=path('content'),
                  rcpt=['a@example.com', 'b@example.com'], helo='me.example')
        expect(got, 'send', 'plain: accepted', outcome='ACCEPTED', code=250,
               enhanced='2.0.0')
        ok(len(server.box.mails) == 3, 'plain: three on one connection')
        sender, rcpts, data, helo, _ = server.box.mails[0]
        ok(data == content, 'plain: %d bytes unchanged' % len(content))
        ok((sender, rcpts) == ('sender@example.com',
                               ['a@example.com', 'b@example.com']),
           'plain: the envelope', server.box.mails[0][:2])
        ok(helo == 'me.example', 'plain: helo', helo)
        run(url=url, tls='off', **{'from': ''})
        ok(server.box.mails[-1][0] == '<>', 'plain: null sender')
        expect(run(url=url.replace('127.0.0.1', 'localhost'), tls='off'),
               'send', 'plain: by host name', outcome='ACCEPTED')
        expect(run(url=url), 'open', 'TLS required, not offered', error='TLS')
        steps = run(url=url, tls='off', check=1)
        ok([(s['name'], s['ok']) for s in steps if s['what'] == 'step'] ==
           [('connect', '1'), ('TLS', '1'), ('AUTH', '1')],
           'plain: the steps of a check', steps)
        got = run(url=url, tls='off', user='portal', password=CANARY)
        expect(got, 'open', 'AUTH not offered', error='AUTH', outcome='LOST')
        ok(len(server.box.mails) == 5, 'AUTH not offered: nothing sent')


def test_starttls():
    good = {'user': 'portal', 'password': CANARY, 'ca': path('good-ca.pem')}
    with Receiver(tls_context=server_context('good'), require_starttls=True,
                  authenticator=authenticate, auth_required=True) as server:
        url = 'smtp://localhost:%d' % server.port
        expect(run(url=url, send=2, **good), 'send', 'STARTTLS and AUTH',
               outcome='ACCEPTED')
        ok(len(server.box.mails) == 2 and server.box.mails[0][4],
           'STARTTLS and AUTH: authenticated')
        steps = run(url=url, check=1, **good)
        ok([s['ok'] for s in steps if s['what'] == 'step'] == ['1'] * 3 and
           'TLSv1.3' in steps[1]['detail'] and 'Python SMTP' in
           steps[0]['detail'] and 'portal' in steps[2]['detail'],
           'STARTTLS and AUTH: check', steps)
        got = run(url=url, check=1, **dict(good, password=CANARY + 'x'))
        expect(got, 'check', 'wrong password', error='AUTH', code=535)
        ok([(s['name'], s['ok']) for s in got if s['what'] == 'step'] ==
           [('connect', '1'), ('TLS', '1'), ('AUTH', '0')],
           'wrong password: the step', got)
        ok(CANARY not in str(got), 'wrong password: is not shown')
        got = run(url=url, check=1, **dict(good, ca=path('other-ca.pem')))
        expect(got, 'check', 'certificate of an unknown CA', error='TLS')
        ok([(s['name'], s['ok']) for s in got if s['what'] == 'step'] ==
           [('connect', '1'), ('TLS', '0')], 'unknown CA: the step', got)
        expect(run(url=url, user='portal', password=CANARY), 'open',
               'certificate unknown to the system', error='TLS')
        expect(run(url=url, **dict(good, ca=path('none.pem'))), 'open',
               'no CA file', error='TLS')
        expect(run(url=url, ca=path('good-ca.pem')), 'send',
               'AUTH required, no user', outcome='PERMANENT', code=530)
        got = run(url=url, send=100, reopen=1, **good)
        ok(sum(r.get('outcome') == 'ACCEPTED' and r['what'] == 'send'
               for r in got) == 100, '100 connections, one after another')
    with Receiver(tls_context=server_context('other')) as server:
        expect(run(url='smtp://localhost:%d' % server.port,
                   ca=path('other-ca.pem')), 'open',
               'certificate of another host', error='TLS')


def test_smtps():
    with Receiver(ssl_context=server_context('good')) as server:
        url = 'smtps://localhost:%d' % server.port
        expect(run(url=url, ca=path('good-ca.pem'), send=2), 'send',
               'smtps', outcome='ACCEPTED')
        expect(run(url=url, ca=path('good-ca.pem'), tls='off'), 'send',
               'smtps is TLS also with tls=off', outcome='ACCEPTED')
        expect(run(url=url, tls='off'), 'open',
               'smtps verifies also with tls=off', error='TLS')
        expect(run(url=url.replace('smtps', 'smtp'), timeout=1000), 'open',
               'smtp to a TLS port', outcome='LOST')
    with Receiver() as server:
        expect(run(url='smtps://localhost:%d' % server.port), 'open',
               'smtps to a plain port', error='TLS')


# ---------------------------------------------------------------------------
# Misbehaviour
# ---------------------------------------------------------------------------

def test_connecting():
    with socket.create_server(('127.0.0.1', 0)) as probe:
        port = probe.getsockname()[1]
    got = expect(run(url='smtp://127.0.0.1:%d' % port, tls='off',
                     timeout=LONG), 'open', 'refused', error='CONNECT')
    quick(got, LONG / 2, 'refused: at once')
    expect(run(url='smtp://nowhere.invalid', timeout=LONG), 'open',
           'name does not exist', error='CONNECT')

    # a full backlog: the kernel drops what comes
    hole = socket.socket()
    hole.bind(('127.0.0.1', 0))
    hole.listen(0)
    fill = [socket.socket() for _ in range(4)]
    for sock in fill:
        sock.setblocking(False)
        sock.connect_ex(hole.getsockname())
    url = 'smtp://127.0.0.1:%d' % hole.getsockname()[1]
    got = expect(run(url=url, timeout=300), 'open', 'blackhole',
                 error='CONNECT')
    quick(got, LONG / 2, 'blackhole: gives up')
    got = expect(run(url=url, timeout=LONG, interrupt=200), 'open',
                 'blackhole, interrupted', outcome='INTERRUPTED',
                 error='INTERRUPTED')
    for sock in fill:
        sock.close()
    hole.close()

    got = run(url='smtp://slow.example', timeout=300, slow_dns=True)
    expect(got, 'open', 'name resolution never ends', error='CONNECT')
    quick(find(got, 'close'), LONG / 2, 'which does not hold up the end')
    expect(got, 'resolver', 'the resolver takes no signals', term=1, usr1=1)
    got = run(url='smtp://slow.example', timeout=LONG, interrupt=200,
              slow_dns=True)
    expect(got, 'open', 'interrupted in it', outcome='INTERRUPTED')


def drip(conversation, start):
    """One byte, again and again, of a line that never ends."""
    conversation.send(start)
    while True:
        conversation.send('x')
        conversation.sock.settimeout(0.02)
        try:
            if conversation.sock.recv(1000) == b'':
                return
        except socket.timeout:
            pass


def flood(conversation, start):
    conversation.send(start)
    while True:
        conversation.send('x' * 10000)


def test_greeting():
    def greets(text, name, wanted, hold=True, limit=LONG / 2, **options):
        def script(c):
            c.send(text)
            if hold:
                c.hold()
        got, heard = scripted(script, **options)
        quick(expect(got, 'open', 'greeting: ' + name, error=wanted,
                     outcome='LOST'), limit, 'greeting: %s: in time' % name)
        ok(not any(h.startswith('MAIL') for h in heard),
           'greeting: %s: nothing sent' % name, heard)

    greets('', 'none', 'CONNECT', timeout=300)
    greets('', 'closed', 'LOST', hold=False, timeout=LONG)
    greets('220', 'part of a line', 'CONNECT', timeout=300)
    greets('220-a\r\n', 'part of a reply', 'CONNECT', timeout=300)
    greets('HTTP/1.1 400 Bad Request\r\n\r\n', 'garbage', 'PROTOCOL',
           timeout=1000)
    greets('554 5.7.1 not you\r\n', '554', 'REFUSED', timeout=LONG)
    greets('421 4.3.2 later\r\n', '421', 'REFUSED', timeout=LONG)

    got, _ = scripted(lambda c: drip(c, '220-'), timeout=300)
    quick(expect(got, 'open', 'greeting: byte drip', error='CONNECT'),
          LONG / 2, 'greeting: byte drip: in time')
    got, _ = scripted(lambda c: flood(c, '220 '), timeout=1000)
    quick(expect(got, 'open', 'greeting: endless line', outcome='LOST'),
          LONG / 2, 'greeting: endless line: in time')


def at(step, action):
    """A script that is well until a step, and then acts."""
    def script(c):
        c.hello()
        if step == 'MAIL':
            c.expect('MAIL')
            return action(c)
        c.answer('MAIL', '250 ok')
        if step == 'RCPT':
            c.expect('RCPT')
            return action(c)
        c.answer('RCPT', '250 ok')
        if step == 'DATA':
            c.expect('DATA')
            return action(c)
        c.answer('DATA', '354 go')
        if step == 'body':
            c.expect()
            return action(c)
        c.content()
        return action(c)
    return script


def test_silence_and_loss():
    for step, outcome in [('MAIL', 'LOST'), ('RCPT', 'LOST'), ('DATA', 'LOST'),
                          ('dot', 'UNCERTAIN')]:
        got, _ = scripted(at(step, lambda c: c.hold()), timeout=300)
        quick(expect(got, 'send', '%s: silence' % step, outcome=outcome,
                     error='TIMEOUT'), LONG / 2, '%s: silence: in time' % step)
        got, _ = scripted(at(step, lambda c: None), timeout=LONG)
        expect(got, 'send', '%s: closed' % step, outcome=outcome, error='LOST',
               stale=0)
        got, _ = scripted(at(step, lambda c: (c.send('250-x\r\n25'), c.hold())),
                          timeout=300)
        expect(got, 'send', '%s: part of a reply' % step, outcome=outcome,
               error='TIMEOUT')
        got, _ = scripted(at(step, lambda c: c.send('250-x\r\n250')),
                          timeout=LONG)
        expect(got, 'send', '%s: part of a reply, closed' % step,
               outcome=outcome, error='LOST')
        got, _ = scripted(at(step, lambda c: (c.line('what?'), c.hold())),
                          timeout=LONG)
        expect(got, 'send', '%s: garbage' % step, outcome=outcome,
               error='PROTOCOL')
        got, _ = scripted(at(step, lambda c: flood(c, '250 ')), timeout=LONG)
        expect(got, 'send', '%s: endless line' % step, outcome=outcome,
               error='PROTOCOL')
        got, _ = scripted(at(step, lambda c: drip(c, '250-')), timeout=300)
        quick(expect(got, 'send', '%s: byte drip' % step, outcome=outcome,
                     error='TIMEOUT'), LONG / 2,
              '%s: byte drip: in time' % step)
        interrupted = 'UNCERTAIN' if step == 'dot' else 'INTERRUPTED'
        got, _ = scripted(at(step, lambda c: c.hold()), timeout=LONG,
                          interrupt=300)
        quick(expect(got, 'send', '%s: interrupted' % step,
                     outcome=interrupted, error='INTERRUPTED'),
              LONG / 2, '%s: interrupted: at once' % step)
        quick(find(got, 'close'), LONG / 2,
              '%s: interrupted: closed at once' % step)
    got, _ = scripted(at('body', lambda c: None), timeout=LONG, size=20000000)
    expect(got, 'send', 'content: closed', outcome='LOST', error='LOST')
    got, _ = scripted(at('body', lambda c: threading.Event().wait(3)),
                      timeout=300, size=30000000)
    expect(got, 'send', 'content: not read', outcome='LOST', error='TIMEOUT')
    got, _ = scripted(at('body', lambda c: (
        c.line('552 5.3.4 too much'), c.hold())), timeout=LONG, size=20000000)
    expect(got, 'send', 'content: refused in the middle', outcome='PERMANENT',
           code=552)


def test_refusals():
    def recipients(c):
        c.hello()
        c.answer('MAIL', '250 ok')
        c.answer('RCPT', '250 ok')
        c.answer('RCPT', '550-5.1.1 no such user\r\n550 5.1.1 \x1b[31mhere')
        c.answer('RSET', '250 ok')
        c.answer('MAIL', '250 ok')
        c.answer('RCPT', '250 ok')
        c.answer('RCPT', '450 4.2.1 greylisted')
        c.answer('RSET', '250 ok')
        c.answer('MAIL', '250 ok')
        c.answer('RCPT', '250 ok')
        c.answer('RCPT', '250 ok')
        c.answer('DATA', '354 go')
        c.content()
        c.line('250 2.0.0 queued as 4711')
        c.quit()
    got, heard = scripted(recipients, send=3, timeout=LONG,
                          rcpt=['a@x.example', 'b@x.example'])
    sends = [(r['outcome'], r['code'], r['enhanced'], r['recipient'])
             for r in got if r['what'] == 'send']
    ok(sends == [('PERMANENT', '550', '5.1.1', '1'),
                 ('TEMPORARY', '450', '4.2.1', '1'),
                 ('ACCEPTED', '250', '2.0.0', '-1')],
       'a refused recipient leaves the connection usable', sends, heard)
    ok('?[31mhere' in got[1]['reply'], 'replies are made printable', got[1])
    ok(heard[-1] == 'QUIT', 'it ends with QUIT', heard)
    ok('MAIL FROM:<sender@example.com> SIZE=141' in heard, 'SIZE is announced',
       heard)

    got, heard = scripted(at('MAIL', lambda c: c.line('421 4.7.0 slow down')),
                          send=2, timeout=LONG)
    expect(got, 'send', '421', outcome='TEMPORARY', code=421)
    got, heard = scripted(
        lambda c: (c.hello(second='250-x\r\n250 SIZE 10'), c.quit()),
        timeout=LONG)
    expect(got, 'send', 'SIZE too small', outcome='PERMANENT', enhanced='5.3.4')
    ok(not any(h.startswith('MAIL') for h in heard),
       'SIZE too small: not tried', heard)
    got, heard = scripted(at('MAIL', lambda c: c.send(
        '250 ok\r\n250 ok\r\n354 go\r\n')), timeout=LONG)
    expect(got, 'send', 'replies without commands', outcome='LOST',
           error='PROTOCOL')
    got, _ = scripted(lambda c: (c.hello(), c.message(), c.expect('QUIT'),
                                 c.hold()), timeout=LONG)
    expect(got, 'send', 'QUIT is ignored', outcome='ACCEPTED')
    quick(find(got, 'close'), LONG / 2, 'QUIT is ignored: the end is bounded')

    def old(c):
        c.line('220 old')
        c.answer('EHLO', '502 what?')
        c.answer('HELO', '250 hello')
        c.answer('EHLO', '502 what?')
        c.answer('HELO', '250 hello')
        c.message()
    got, _ = scripted(old, timeout=LONG)
    expect(got, 'send', 'a server that knows HELO only', outcome='ACCEPTED')


def test_stale():
    closed = threading.Event()

    def script(c):
        c.hello()
        c.message()
        if len(c.server.heard) > 6:
            c.line('421 4.4.2 idle too long')
        c.sock.shutdown(socket.SHUT_WR)
        closed.set()
        c.hold()
    with Scripted(script) as server:
        for kind in ('closed', '421'):
            closed.clear()
            driver = subprocess.Popen(
                arguments({'url': server.url, 'tls': 'off', 'send': 2,
                           'pause': 1, 'timeout': LONG}),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env=environment())
            driver.stdin.write(b'\n')
            driver.stdin.flush()
            closed.wait(DEADLINE)
            output, _ = driver.communicate(b'\n', timeout=DEADLINE)
            expect(parse(output.decode()), 'send',
                   'idle connection, %s: stale' % kind, outcome='LOST', stale=1)


def test_tls_tricks():
    def injected(c):
        c.line('220 x')
        c.answer('EHLO', '250-x\r\n250 STARTTLS')
        c.answer('STARTTLS', '220 go\r\n250 injected\r\n235 welcome')
        c.hold()
    got, heard = scripted(injected, tls=[], timeout=2000, user='u',
                          password=CANARY)
    got = expect(got, 'open', 'text injected before TLS', outcome='LOST')
    ok(not any('AUTH' in h for h in heard), 'no AUTH after that', heard)

    def stripped(c):
        c.line('220 x')
        c.answer('EHLO', '250-x\r\n250 AUTH PLAIN LOGIN')
        c.hold()
    got, heard = scripted(stripped, tls=[], timeout=LONG, user='u',
                          password=CANARY)
    expect(got, 'open', 'STARTTLS stripped', error='TLS', outcome='LOST')
    ok(not any('AUTH' in h for h in heard), 'STARTTLS stripped: no password',
       heard)

    def refused(c):
        c.line('220 x')
        c.answer('EHLO', '250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN')
        c.answer('STARTTLS', '454 4.7.0 not now')
        c.hold()
    got, heard = scripted(refused, tls=[], timeout=LONG, user='u',
                          password=CANARY)
    expect(got, 'open', 'STARTTLS refused', error='TLS', code=454)
    ok(not any('AUTH' in h for h in heard), 'STARTTLS refused: no password',
       heard)

    def mute(c):
        c.line('220 x')
        c.answer('EHLO', '250-x\r\n250 STARTTLS')
        c.answer('STARTTLS', '220 go')
        c.hold()
    got, _ = scripted(mute, tls=[], timeout=500, check=1)
    expect(got, 'check', 'silence in the handshake', error='TIMEOUT')
    expect(got, 'step', 'silence in the handshake: the step', name='TLS', ok=0)


def test_auth_tricks():
    token = base64.b64encode(b'\0portal\0' + CANARY.encode()).decode()
    login = {'user': 'portal', 'password': CANARY, 'timeout': LONG}

    def auth(offer, *answers):
        def script(c):
            c.line('220 x')
            c.answer('EHLO', '250-x\r\n250 ' + offer)
            for answer in answers:
                c.answer('', answer)
            c.hold()
        got, heard = scripted(script, **login)
        return got, heard

    got, heard = auth('AUTH PLAIN', '535 5.7.8 bad: AUTH PLAIN ' + token)
    got = expect(got, 'open', 'AUTH refused', error='AUTH', code=535)
    quick(got, LONG / 2, 'AUTH refused: at once')
    ok('AUTH PLAIN ' + token in heard, 'AUTH PLAIN with initial response',
       heard)
    ok(token not in str(got), 'the encoded password is masked', got)
    got, _ = auth('AUTH PLAIN', '535 5.7.8 no: %s!' % CANARY)
    ok('canary' not in str(got) and '***!' in str(got),
       'a password beyond ASCII is masked', got)
    got, _ = auth('AUTH LOGIN', '334 UGFzc3dvcmQ6',
                  '535 5.7.8 no: ' + base64.b64encode(CANARY.encode()).decode())
    expect(got, 'open', 'AUTH LOGIN refused', error='AUTH', code=535)
    ok(base64.b64encode(CANARY.encode()).decode() not in str(got),
       'AUTH LOGIN: the password is masked', got)
    login['password'] = 'canary-ascii'
    got, _ = auth('AUTH PLAIN', '535 5.7.8 no: canary-ascii!')
    ok('canary' not in str(got) and '***!' in str(got),
       'the password is masked', got)
    got, heard = auth('AUTH CRAM-MD5 GSSAPI')
    expect(got, 'open', 'AUTH by other means only', error='AUTH')
    got, heard = auth('SIZE 1000')
    expect(got, 'open', 'AUTH not offered', error='AUTH')
    ok(not any(h.startswith('MAIL') for h in heard),
       'AUTH not offered: nothing sent', heard)
    expect(run(url='smtp://127.0.0.1:1', user='u'), 'open',
           'user without password', error='CONFIG')


def test_settings():
    urls = ['', 'gopher://127.0.0.1', 'file:///tmp', 'http://127.0.0.1',
            'smtp://u:p@127.0.0.1', 'smtp://127.0.0.1/path', 'smtp://',
            'smtp://127.0.0.1?x', 'smtp://127.0.0.1#x', 'mail.example',
            'smtp.example:25', 'smtp://127.0.0.1:0', 'smtp://127.0.0.1:99999',
            'smtp://a b', 'smtp://a\r\nb', 'smtp://127.0.0.1:25\r\nQUIT',
            'smtp://' + 'a' * 2000, 'imap://127.0.0.1', 'smtp:127.0.0.1']
    for url in urls:
        got = expect(run(url=url), 'open', 'refused URL %r' % url[:40],
                     error='CONFIG', outcome='LOST')
    ok('u:p' not in str(run(url='smtp://u:pw-canary@127.0.0.1')),
       'a URL with a password is not repeated')
    expect(run(url='smtp://127.0.0.1', helo='a\r\nb'), 'open', 'refused helo',
           error='CONFIG')
    expect(run(url='smtp://127.0.0.1', timeout=0), 'open', 'refused timeout',
           error='CONFIG')


# ---------------------------------------------------------------------------
# Endurance, files
# ---------------------------------------------------------------------------

def test_many():
    def script(c):
        c.hello()
        while True:
            c.message()

    def memory(n):
        got, _ = scripted(script, send=n, timeout=LONG)
        sent = sum(r['what'] == 'send' and r['outcome'] == 'ACCEPTED'
                   for r in got)
        ok(sent == n, '%d messages over one connection' % n, got[-3:])
        return int(find(got, 'end').get('maxrss', 0))
    first, second = memory(500), memory(10000)
    ok(second < first + 2048, 'no memory is lost over 10,000 messages',
       '%d kB, then %d kB' % (first, second))


def test_files():
    os.mkdir(path('mail dir'))
    os.mkdir(path('data'))
    os.mkdir(path('data/inner'))
    os.mkdir(path('data-not'))
    os.symlink(path('data/inner'), path('link'))
    with open(path('some.eml'), 'wb') as file:
        file.write(b'Subject: x\r\n\r\n.\r\n')
    base = 'file://' + work.name

    def deliver(url, mail_id='<1@x>', **options):
        return find(run(url=url, id=mail_id, content=path('some.eml'),
                        **options), 'file')
    got = deliver(base + '/mail%20dir', send=2)
    ok(got.get('ok') == '1' and os.listdir(path('mail dir')) == ['1@x.eml'],
       'file: one file, replaced by a retry', got, os.listdir(path('mail dir')))
    with open(path('mail dir/1@x.eml'), 'rb') as file:
        ok(file.read() == b'Subject: x\r\n\r\n.\r\n', 'file: bytes unchanged')
    for mail_id in ('<../../x@y>', '<a/b@c>', '<a%2Fb@c>', '.hidden', '-rf',
                    '<' + 'l' * 400 + 'a@x>', '<' + 'l' * 400 + 'b@x>'):
        got = deliver(base + '/mail dir', mail_id)
        ok(got.get('ok') == '1' and
           os.path.dirname(os.path.realpath(got['path'])) ==
           os.path.realpath(path('mail dir')), 'file: id %.20s' % mail_id, got)
    names = os.listdir(path('mail dir'))
    ok(len(names) == 8 and not any(n[0] in '.-' for n in names),
       'file: different ids, different names; nothing temporary', names)

    def refused(name, url, wanted, **options):
        got = deliver(url, **options)
        ok(got.get('ok') == '0' and wanted in got['message'],
           'file: refused: ' + name, got)
    refused('relative', 'file://mail', 'absolute path')
    refused('host', 'file://host/tmp', 'absolute path')
    refused('other scheme', 'http:///tmp', 'absolute path')
    refused('missing', base + '/none', 'could not open')
    refused('not a directory', base + '/some.eml', 'not a directory')
    refused('bad code', base + '/%zz', 'malformed')
    refused('NUL', base + '/%00', 'control character')
    refused('too long', base + '/' + 'x' * 2000, 'too long')
    refused('no id', base + '/data', 'without an id', mail_id='<>')
    for where in ('/data', '/data/inner', '/link', '/data-not/../data/inner'):
        refused('data directory by ' + where, base + where, 'data directory',
                forbidden=path('data'))
    got = deliver(base + '/data-not', forbidden=path('data'))
    ok(got.get('ok') == '1', 'file: beside the data directory', got)
    refused('not writable', 'file:///proc', 'could not write')


def main():
    make_certificate('good', 'DNS:localhost,IP:127.0.0.1')
    make_certificate('other', 'DNS:other.example')
    for test in (test_plain, test_starttls, test_smtps, test_connecting,
                 test_greeting, test_silence_and_loss,
                 test_refusals, test_stale, test_tls_tricks, test_auth_tricks,
                 test_settings, test_many, test_files):
        test()
    print('1..%d' % count)
    work.cleanup()
    # threads of scripted servers may still wait
    sys.stdout.flush()
    os._exit(1 if failed else 0)


if __name__ == '__main__':
    main()

"""Messages rendered by mime.c, read back by Python's email package, their
signatures by its package dkim.

usage: mail_bytes.py build/mime_driver [DIRECTORY]        prints TAP

Everything that went in must come out: no defects, equal contents.  Besides,
the bytes themselves are held against the RFCs' limits.  Into the directory
go the messages, and what is in them, for mail_parser.js.
"""
import base64
import datetime
import email
import email.errors
import email.header
import email.policy
import email.utils
import json
import os
import random
import re
import subprocess
import sys

import dkim

UMLAUT = 'Grüße aus Köln – ½ €'
EMOJI = '👩‍👩‍👧‍👦 family'
CJK = '日本語の件名テスト' * 20
RTL = 'שלום עולם مرحبا بالعالم'
BASE = {
    'from': 'Motionify Portal <hello@motionify.studio>',
    'to': ['alice@example.com'],
    'subject': 'Hello',
    'text': 'Hello\n',
    'message_id': '<1.2.3@motionify.studio>',
    'date': 1790000000,
}


def variants():
    """The table: (name, changes to BASE)."""
    subjects = {
        'plain': 'Hello', 'empty': '', 'umlauts': UMLAUT, 'emoji': EMOJI * 20,
        'cjk': CJK, 'rtl': RTL * 9, 'long ascii': 'word ' * 300 + 'end',
        'one long word': 'x' * 3000, 'looks encoded': '=?utf-8?q?=41?= b',
        'looks encoded, cut': 'a =?b', 'quotes': '"a" <b> (c), d; e: \\ f',
        'two blanks': 'a  b   c', 'outer blanks': '  a  ', 'blank': ' ',
        'equals': '= =3D = ?= ?', 'underscore': 'a_b ü_c',
        'combining': 'e\u0301' * 200, 'colon': 'Re: Fwd: x',
        'longest': ('ü' * 4096),
    }
    for name, subject in subjects.items():
        yield 'subject: ' + name, {'subject': subject}
    bodies = {
        'empty': '', 'one line': 'x', 'no final newline': 'a\nb',
        'newlines': '\n\n\n', 'crlf': 'a\r\nb\r\n', 'cr': 'a\rb\r',
        'mixed': 'a\nb\r\nc\rd', 'dots': '.\n..\n.a\n a.\n.\n',
        'from line': 'From me\n>From you\n', 'umlauts': UMLAUT + '\n',
        'cjk': CJK + '\n' + CJK, 'emoji': EMOJI * 100,
        'long ascii line': 'x' * 5000, '998': 'x' * 998 + '\n',
        '999': 'x' * 999 + '\n', 'long words': ('y' * 990 + ' ') * 20,
        'trailing blanks': 'a \nb\t\n \n\t\nc  ',
        'trailing blanks, qp': 'ü \nb\t\n \n\t\nc  ',
        'trailing blanks at 76': 'ü' + 'x' * 69 + ' \n' + 'x' * 75 + ' \nü',
        'equals': '=3D = =\n=', 'equals, qp': 'ü =3D = =\n=',
        'controls': 'a\x01\x02\x1b[0m\x7f\x0b\x0c\n',
        'line separators': 'a\u2028b\u2029c\x85d\n',
        'boundary-like': '--=_0123456789abcdef\n--=_0123456789abcdef--\n',
        'all widths': ''.join('x' * i + 'ü\n' for i in range(70, 82)),
        'mostly foreign': RTL * 50, 'bom': '\ufeffx\n', 'nul-like': '\\0\n',
        'big': (UMLAUT + ' ' + 'word ' * 20 + '\n') * 3000,
    }
    for name, body in bodies.items():
        yield 'text: ' + name, {'text': body}
        yield 'html: ' + name, {'text': None, 'html': body}
        yield 'both: ' + name, {'html': body}
        yield 'both swapped: ' + name, {'text': body, 'html': '<p>x</p>\n'}
    names = {
        'plain': 'Alice', 'two words': 'Alice B Cooper', 'dot': 'J. Smith',
        'comma': 'Smith, Alice', 'quote': 'Al "Ace" Smith', 'slash': 'a\\b',
        'umlaut': 'Jürgen Groß', 'cjk': '日本語の名前' * 15, 'emoji': EMOJI * 5,
        'at': 'alice@example.com', 'angle': '<Alice>', 'parens': 'A (home)',
        'looks encoded': '=?utf-8?q?=41?=', 'blanks': 'a  b', 'long': 'n' * 300,
        'long words': 'word ' * 60 + 'x', 'long quoted': 'a, b. ' * 50 + 'c',
        'colon': 'Group: a;', 'single quote': "O'Brien", 'brackets': '[x]',
        'outer blanks': ' x ',
    }
    for name, text in names.items():
        quoted = '"%s" <a@example.com>' % re.sub(r'(["\\])', r'\\\1', text)
        yield 'name: ' + name, {'to': [quoted], 'from': quoted,
                                'reply_to': quoted}
    yield 'many recipients', {
        'to': ['"User, %d" <user%d@example.com>' % (i, i) for i in range(400)],
        'cc': ['Ünïcode %d <u%d@example.com>' % (i, i) for i in range(300)],
        'bcc': ['hidden%d@example.com' % i for i in range(300)]}
    yield 'lists in items', {'to': ['a@b.c, "x, y" <d@e.f>', 'g@h.i'],
                             'cc': ['<j@k.l>,m@n.o'], 'reply_to': 'a@b, c@d'}
    yield 'bcc alone', {'to': [], 'bcc': ['hidden@example.com']}
    yield 'odd addresses', {'to': [
        "o'brien+tag=x@example.com", '!#$%&*/=?^_`{|}~-@example.com',
        'a@xn--kln-sna.example', 'root@[127.0.0.1]', 'a@[IPv6:::1]',
        'l' * 64 + '@' + '.'.join(['d' * 61] * 3)]}
    yield 'headers', {'headers': [
        ('X-Tag', 'a'), ('X-Long', 'word ' * 100 + 'x'), ('X-Utf8', UMLAUT),
        ('List-Unsubscribe', '<https://example.com/u?x=1>, <mailto:u@x.y>'),
        ('X-Empty', ''), ('X-Huge', 'h' * 8192),
        ('X-' + 'N' * 62, 'long name ' * 20 + 'x')]}
    yield from attachments()
    yield 'unsubscribe', {'unsubscribe': 'https://example.com/u?x=1&y=%20 '
                                         'mailto:u@example.com?subject=out'}
    yield 'unsubscribe, long', {
        'unsubscribe': 'mailto:u@example.com https://example.com/' + 'u' * 800}
    yield 'international domains', {
        'from': 'Köln <info@köln.example>', 'to': ['a@faß.example'],
        'cc': ['"例" <b@例え.テスト>']}
    yield 'international addresses', {
        'from': 'Jürgen <jürgen@example.com>', 'reply_to': '二@例え.テスト',
        'to': ['用户@example.com, "Ä, ö" <пример@пример.рф>', 'a@b.example'],
        'attachments': [{'filename': 'größe.txt', 'content': b'x'}]}
    yield 'oldest date', {'date': 0}
    yield 'latest date', {'date': 253402300799}


def attachments():
    """The part of the table that is about attachments."""
    every = bytes(range(256))
    pdf = {'filename': 'invoice.pdf', 'content': b'%PDF-1.7\n' + every}
    logo = {'filename': 'logo.png', 'content': b'\x89PNG' + every * 20,
            'content_id': 'logo'}
    photo = {'filename': 'photo.jpg', 'content': every,
             'content_id': 'p.1@example.com'}
    html = '<img src="cid:logo"><img src="cid:p.1@example.com">\n'
    for what, bodies in {'text': {}, 'html': {'text': None, 'html': html},
                         'both': {'html': html}}.items():
        yield 'attachment: ' + what, {**bodies, 'attachments': [pdf]}
        yield 'image: ' + what, {**bodies, 'attachments': [logo, photo]}
        yield 'all kinds: ' + what, {**bodies,
                                     'attachments': [logo, pdf, photo, pdf]}
    names = {
        'umlaut': 'Größe.pdf', 'cjk': '日本語の名前' * 10 + '.txt', 'emoji': EMOJI,
        'quote': 'a "b" c.txt', 'semicolon': 'a; filename=b.txt',
        'percent': "100%25 *'.txt", 'percent, umlaut': "ü 100%25 *'()=?.txt",
        'looks encoded': '=?utf-8?q?=41?=.txt', 'blanks': 'a b  c .txt',
        'long': 'n' * 251 + '.txt', 'longest': 'ü' * 127, 'one': 'x',
        'dots': 'a..b.', 'rtl': RTL + '.csv', 'none': 'README',
        'widths': 'x' * 52 + 'ü' * 20, 'dash': '-',
    }
    for what, name in names.items():
        yield 'filename: ' + what, {
            'attachments': [{'filename': name, 'content': b'x'}]}
    types = {'parameters': 'text/csv; charset=utf-8; header="a b"',
             'odd': 'application/x-foo.bar+baz', 'upper': 'IMAGE/PNG'}
    for what, kind in types.items():
        yield 'type: ' + what, {'attachments': [
            {'filename': 'x', 'content_type': kind, 'content': every}]}
    contents = {
        'empty': b'', 'one byte': b'x', '57': b'x' * 57, '58': b'x' * 58,
        'lines': b'a\nb\r\nc\rd\n', 'dots': b'.\r\n..\r\n',
        'boundary': b'--=_0123456789abcdef\n' * 10, 'zeros': bytes(1000),
        'big': every * 2000,
    }
    for what, content in contents.items():
        yield 'content: ' + what, {
            'attachments': [{'filename': 'x.txt', 'content': content}]}
    yield 'many attachments', {'attachments': [
        {'filename': 'f%d.bin' % i, 'content': every[:i]} for i in range(100)]}


def random_variants(seed, count):
    """Random text of nasty pieces, in every field that takes any text."""
    rng = random.Random(seed)
    pieces = ['a', ' ', '  ', '=', '?', '=?', '?=', '_', '"', '\\', '<', '>',
              ',', ';', ':', '.', '..', '@', 'ü', '€', '👩', '\u0301', '日',
              'word', 'x' * 70, "'", '(', ')', '[', '=3D', '=?UTF-8?Q?=41?=',
              '-', '--']
    breaks = ['\n', '\r\n', '\n.', '\n\n', ' \n', '\t', '\x01', 'From ', '=\n']

    def text(extra=()):
        return ''.join(rng.choice(pieces + list(extra))
                       for _ in range(rng.randrange(60)))

    for i in range(count):
        name = '"%s" <a@example.com>' % re.sub(
            r'(["\\])', r'\\\1', text()[:70])
        tag = re.sub('[<>]', '', text())
        filename = re.sub(r'[/\\]', '_', text()[:60]).strip() or 'x'
        if filename in ('.', '..'):
            filename = 'x'
        yield 'random %d' % i, {
            'attachments': [{'filename': filename,
                             'content': rng.randbytes(rng.randrange(300))}]
            if i % 2 else [],
            'subject': text(), 'to': [name], 'from': name,
            'text': text(breaks), 'html': text(breaks),
            'headers': [('X-Random', tag)]}


def encode(message):
    out = []

    def put(name, value):
        data = value if isinstance(value, bytes) else str(value).encode()
        out.append(b'%s %d\n%s' % (name.encode(), len(data), data))

    for field, value in message.items():
        if value is None:
            continue
        if field == 'headers':
            for pair in value:
                put('header', '%s: %s' % pair)
        elif field == 'attachments':
            for attachment in value:
                put('attachment', attachment['filename'])
                for name in ('content_type', 'content_id', 'content'):
                    if name in attachment:
                        put(name, attachment[name])
        elif isinstance(value, list):
            for item in value:
                put(field, item)
        else:
            put(field, value)
    put('end', '')
    return b''.join(out)


def canonical(text):
    return re.sub('\r\n|\r|\n', '\n', text)


def unquoted(mailbox):
    """(name, address) of one of the table's mailboxes."""
    match = re.match(r'^\s*(.*?)\s*<([^<>]*)>\s*$', mailbox, re.S)
    if not match:
        return '', mailbox.strip()
    name = match.group(1)
    if name.startswith('"'):
        name = re.sub(r'\\(.)', r'\1', name[1:-1])
    return name, match.group(2)


def ascii_domain(address):
    """The address as it is written: its domain in ASCII."""
    local, _, domain = address.rpartition('@')
    if domain.isascii():
        return address
    mapped = {'faß.example': 'xn--fa-hia.example'}   # Python knows IDNA 2003
    return local + '@' + mapped.get(domain, domain.encode('idna').decode())


def mailboxes(values):
    out = []
    for value in values:
        for item in re.findall(r'(?:"(?:\\.|[^"\\])*"|[^,"])+', value):
            name, address = unquoted(item)
            out.append((name, ascii_domain(address)))
    return out


def is_international(message):
    """Is an address not ASCII before the "@"?"""
    shown = [message['from'], *message['to'], *message.get('cc', []),
             message.get('reply_to', 'a@b')]
    return not all(address.rpartition('@')[0].isascii()
                   for _, address in mailboxes(shown))


def check_lines(raw, message):
    """What the RFCs say about any message."""
    if re.search(rb'(?<!\r)\n|\r(?!\n)', raw):
        yield 'line end that is not CRLF'
    if not raw.endswith(b'\r\n'):
        yield 'no CRLF at the end'
    if re.search(rb'\0', raw) or not raw.isascii() and \
            not is_international(message):
        yield 'byte that is not 7-bit'
    lines = raw.split(b'\r\n')
    if max(map(len, lines)) > 998:
        yield 'line of %d bytes' % max(map(len, lines))
    for line in lines[:lines.index(b'')]:
        if not line.strip():
            yield 'blank line in the header'
        if b'=?UTF-8?' in line and len(line) > 76 and b'@' not in line:
            yield 'line of %d bytes with an encoded word' % len(line)
        if len(line) > 78 and b' ' in line.strip().split(b': ', 1)[-1] \
                and b'"' not in line and b'<' not in line \
                and not line.startswith(b' h='):
            yield 'line of %d bytes not folded' % len(line)
        for word in re.findall(rb'=\?UTF-8\?[BQ]\?[^?]*\?=', line):
            if len(word) > 75:
                yield 'encoded word of %d bytes' % len(word)
            # each word on its own must be whole characters
            email.header.decode_header(word.decode())[0][0].decode('utf-8')


def exact_names(raw, name):
    """(name, address) pairs of a header, by email's older parser.

    The newer one of Python before 3.12.9 keeps the white space between the
    encoded words of a name, and shortens runs of blanks.
    """
    values = email.message_from_string(raw.decode()).get_all(name, [])
    values = [re.sub('\r?\n', '', value) for value in values]
    return [(str(email.header.make_header(email.header.decode_header(phrase))),
             address) for phrase, address in email.utils.getaddresses(values)]


def check_addresses(raw, name, parsed, wanted):
    blanks = re.compile(r'\s+')
    loose = [(blanks.sub('', n), a) for n, a in wanted]
    got = [(blanks.sub('', a.display_name), a.addr_spec)
           for a in parsed.addresses] if parsed is not None else []
    if got != loose:
        yield '%s: %r instead of %r' % (name, got, loose)
    got = exact_names(raw, name) if any(n for n, _ in wanted) else wanted
    if got != wanted:
        yield '%s, exactly: %r instead of %r' % (name, got, wanted)


def check_headers(raw, parsed, message):
    if parsed['subject'] != message['subject']:
        yield 'subject: %r instead of %r' % (parsed['subject'],
                                             message['subject'])
    if parsed['message-id'] != message['message_id']:
        yield 'message-id: %r' % parsed['message-id']
    when = datetime.datetime.fromtimestamp(message['date'],
                                           datetime.timezone.utc)
    if parsed['date'].datetime != when:
        yield 'date: %r' % parsed['date']
    yield from check_addresses(raw, 'from', parsed['from'],
                               mailboxes([message['from']]))
    yield from check_addresses(raw, 'to', parsed['to'], mailboxes(message['to']))
    yield from check_addresses(raw, 'cc', parsed['cc'],
                               mailboxes(message.get('cc', [])))
    if 'reply_to' in message:
        yield from check_addresses(raw, 'reply-to', parsed['reply-to'],
                                   mailboxes([message['reply_to']]))
    if parsed['bcc'] is not None or 'hidden' in str(parsed):
        yield 'bcc is shown'
    for name, value in message.get('headers', []):
        if parsed[name] != value:
            yield '%s: %r instead of %r' % (name, parsed[name], value)


def check_body(part, wanted, kind, single):
    if part.get_content_type() != kind:
        yield 'type: %s instead of %s' % (part.get_content_type(), kind)
    if part['content-transfer-encoding'] == 'quoted-printable':
        # Python keeps what other readers drop
        lines = part.get_payload().split('\r\n')
        if any(line != line.rstrip(' \t') for line in lines):
            yield 'blank at the end of a quoted-printable line'
    if part['content-transfer-encoding'] != '7bit' and \
            max(map(len, part.get_payload().split('\r\n'))) > 76:
        yield 'encoded line of more than 76 bytes'
    # the bytes themselves: get_content would hide what it repairs
    got = part.get_payload(decode=True)
    want = canonical(wanted).replace('\n', '\r\n').encode()
    if got != want and not (single and got == want + b'\r\n'):
        yield '%s: %r instead of %r' % (kind, got[:200], want[:200])


def check_attachment(part, wanted):
    inline = 'content_id' in wanted
    if part.get_filename() != wanted['filename']:
        yield 'filename: %r instead of %r' % (part.get_filename(),
                                              wanted['filename'])
    if part.get_content_disposition() != ('inline' if inline
                                          else 'attachment'):
        yield 'disposition: %r' % part.get_content_disposition()
    if inline and part['content-id'] != '<%s>' % wanted['content_id']:
        yield 'content id: %r' % part['content-id']
    kind = wanted.get('content_type')
    if kind and str(part['content-type']).replace('"', '') != \
            kind.replace('"', ''):
        yield 'type: %r instead of %r' % (part['content-type'], kind)
    if part.get_payload(decode=True) != wanted['content']:
        yield 'content of %s' % wanted['filename']
    if wanted['content'] and \
            max(map(len, part.get_payload().split('\r\n'))) > 76:
        yield 'encoded line of more than 76 bytes'


def expected_tree(message):
    """The structure as nested lists: a type and parts, or a leaf."""
    leaves = [(kind, message[field])
              for kind, field in (('text/plain', 'text'), ('text/html', 'html'))
              if message.get(field) is not None]
    html = message.get('html') is not None
    files = message.get('attachments', [])
    inline = [f for f in files if 'content_id' in f and html]
    other = [f for f in files if f not in inline]
    tree = leaves[0] if len(leaves) == 1 else ['multipart/alternative', *leaves]
    if inline:
        tree = ['multipart/related', tree, *inline]
    if other:
        tree = ['multipart/mixed', tree, *other]
    return tree


def check_tree(part, tree, single):
    if isinstance(tree, dict):
        yield from check_attachment(part, tree)
    elif isinstance(tree, tuple):
        yield from check_body(part, tree[1], tree[0], single)
    elif part.get_content_type() != tree[0]:
        yield 'type: %s instead of %s' % (part.get_content_type(), tree[0])
    else:
        parts = part.get_payload()
        if len(parts) != len(tree) - 1:
            yield '%d parts instead of %d' % (len(parts), len(tree) - 1)
        if tree[0] == 'multipart/related' and \
                part.get_param('type') != parts[0].get_content_type():
            yield 'type of the root: %r' % part.get_param('type')
        for child, wanted in zip(parts, tree[1:]):
            yield from check_tree(child, wanted, False)


def check_bodies(parsed, message):
    yield from check_tree(parsed, expected_tree(message), True)


def check_unsubscribe(parsed, message):
    if any(name == 'List-Unsubscribe' for name, _ in message.get('headers', [])):
        return
    urls = message.get('unsubscribe', '').split()
    wanted = ', '.join('<%s>' % url for url in urls) or None
    if parsed['list-unsubscribe'] != wanted:
        yield 'unsubscribe: %r' % parsed['list-unsubscribe']
    if parsed['list-unsubscribe-post'] != (
            'List-Unsubscribe=One-Click' if urls else None):
        yield 'unsubscribe: %r' % parsed['list-unsubscribe-post']


def defects(part):
    found = list(part.defects)
    for name in part.keys():
        for header in part.get_all(name):
            found += header.defects
    if part.is_multipart():
        for child in part.iter_parts():
            found += defects(child)
    return found


def check(raw, message):
    yield from check_lines(raw, message)
    # bytes in headers that are not ASCII are not understood, characters are
    parsed = email.message_from_string(raw.decode(),
                                       policy=email.policy.default) \
        if is_international(message) else \
        email.message_from_bytes(raw, policy=email.policy.default)
    # what it calls a defect is what such an address is
    yield from ('defect: %r' % d for d in defects(parsed)
                if not (is_international(message) and isinstance(
                    d, email.errors.NonASCIILocalPartDefect)))
    yield from check_headers(raw, parsed, message)
    yield from check_bodies(parsed, message)
    yield from check_unsubscribe(parsed, message)


class Signer:
    """A key made for this run, and what the DNS would say of it."""

    def __init__(self, *arguments):
        self.pem = subprocess.run(['openssl', 'genpkey', *arguments],
                                  check=True, capture_output=True).stdout
        public = subprocess.run(
            ['openssl', 'pkey', '-pubout', '-outform', 'DER'], input=self.pem,
            check=True, capture_output=True).stdout
        rsa = 'RSA' in arguments
        self.record = b'v=DKIM1; k=%s; p=%s' % (
            b'rsa' if rsa else b'ed25519',
            base64.b64encode(public if rsa else public[-32:]))

    def fields(self):
        return {'dkim_key': self.pem, 'dkim_domain': 'motionify.studio'}

    def check(self, raw, unsigned):
        """Others agree with the signature, and only while nothing changes."""
        if not raw.endswith(unsigned):
            yield 'signing changed the message'
        # their parser wants no UTF-8 in headers, and no time to come
        if raw.isascii() and b' 9999 23:59:59' not in raw and \
                not self.verify(raw):
            yield 'the signature is not valid'
        subject = raw.replace(b'\r\nDate: ', b'\r\nSubject: x\r\nDate: ', 1)
        body = raw + b'x'
        if self.verify(subject) or self.verify(body):
            yield 'a signature of another message is valid'
        for line in raw[:-len(unsigned)].split(b'\r\n'):
            if len(line) > 78:
                yield 'line of %d bytes in the signature' % len(line)

    def verify(self, raw):
        def look_up(name, timeout=5):
            return self.record \
                if name == b'test._domainkey.motionify.studio.' else None
        return dkim.verify(raw, dnsfunc=look_up)


def read_answer(stream):
    verdict, length = stream.readline().split()
    return verdict, stream.read(int(length))


class Driver:
    """The program that renders."""

    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def render(self, message):
        self.process.stdin.write(encode(message))
        self.process.stdin.flush()
        return read_answer(self.process.stdout)

    def end(self):
        self.process.stdin.close()
        return self.process.wait()


def save(directory, number, name, message, raw):
    """For mail_parser.js: the bytes, and what was put in."""
    path = os.path.join(directory, '%04d' % number)
    with open(path + '.eml', 'wb') as file:
        file.write(raw)
    known = {'name': name, **message}
    known['attachments'] = [
        {**f, 'content': base64.b64encode(f['content']).decode()}
        for f in message.get('attachments', [])]
    known['mailboxes'] = {
        'from': mailboxes([message['from']]), 'to': mailboxes(message['to']),
        'cc': mailboxes(message.get('cc', []))}
    with open(path + '.json', 'w', encoding='utf-8') as file:
        json.dump(known, file)


def main():
    table = [(name, dict(BASE, **changes))
             for name, changes in [*variants(), *random_variants(1, 300)]]
    signers = [Signer('-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'),
               Signer('-algorithm', 'ED25519')]
    driver = Driver(sys.argv[1])
    failed = 0
    for number, (name, message) in enumerate(table, 1):
        verdict, raw = driver.render(message)
        if verdict == b'ok':
            problems = list(check(raw, message))
            signer = signers[number % 2]
            _, signed = driver.render({**message, **signer.fields()})
            problems += signer.check(signed, raw)
            if len(sys.argv) > 2:
                save(sys.argv[2], number, name, message, raw)
        else:
            problems = ['refused: ' + raw.decode()]
        failed += bool(problems)
        print('%sok %d - %s' % ('not ' if problems else '', number, name))
        for problem in problems:
            print('# ' + problem)
    ended = driver.end()
    print('%sok %d - the driver ended well' % ('not ' if ended else '',
                                               len(table) + 1))
    print('1..%d' % (len(table) + 1))
    return 1 if failed or ended else 0


if __name__ == '__main__':
    sys.exit(main())

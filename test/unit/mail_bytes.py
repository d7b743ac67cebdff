"""Messages rendered by mime.c, read back by Python's email package.

usage: mail_bytes.py build/mime_driver        prints TAP

Everything that went in must come out: no defects, equal contents.  Besides,
the bytes themselves are held against the RFCs' limits.
"""
import datetime
import email
import email.header
import email.policy
import email.utils
import random
import re
import subprocess
import sys

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
    yield 'oldest date', {'date': 0}
    yield 'latest date', {'date': 253402300799}


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
        yield 'random %d' % i, {
            'subject': text(), 'to': [name], 'from': name,
            'text': text(breaks), 'html': text(breaks),
            'headers': [('X-Random', text())]}


def encode(message):
    out = []

    def put(name, value):
        data = str(value).encode()
        out.append(b'%s %d\n%s' % (name.encode(), len(data), data))

    for field, value in message.items():
        if value is None:
            continue
        if field == 'headers':
            for pair in value:
                put('header', '%s: %s' % pair)
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


def mailboxes(values):
    out = []
    for value in values:
        for item in re.findall(r'(?:"(?:\\.|[^"\\])*"|[^,"])+', value):
            out.append(unquoted(item))
    return out


def check_lines(raw):
    """What the RFCs say about any message."""
    if re.search(rb'(?<!\r)\n|\r(?!\n)', raw):
        yield 'line end that is not CRLF'
    if not raw.endswith(b'\r\n'):
        yield 'no CRLF at the end'
    if re.search(rb'[\x80-\xff\0]', raw):
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
                and b'"' not in line and b'<' not in line:
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
    values = email.message_from_bytes(raw).get_all(name, [])
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


def check_bodies(parsed, message):
    bodies = [(kind, message[field])
              for kind, field in (('text/plain', 'text'), ('text/html', 'html'))
              if message.get(field) is not None]
    if len(bodies) == 1:
        parts = [parsed]
    else:
        if parsed.get_content_type() != 'multipart/alternative':
            yield 'type: ' + parsed.get_content_type()
        parts = list(parsed.iter_parts())
    if len(parts) != len(bodies):
        yield '%d parts instead of %d' % (len(parts), len(bodies))
    for part, (kind, wanted) in zip(parts, bodies):
        yield from check_body(part, wanted, kind, len(bodies) == 1)


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
    yield from check_lines(raw)
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    yield from ('defect: %r' % d for d in defects(parsed))
    yield from check_headers(raw, parsed, message)
    yield from check_bodies(parsed, message)


def read_answer(stream):
    verdict, length = stream.readline().split()
    return verdict, stream.read(int(length))


def main():
    table = [(name, dict(BASE, **changes))
             for name, changes in [*variants(), *random_variants(1, 300)]]
    driver = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    failed = 0
    for number, (name, message) in enumerate(table, 1):
        driver.stdin.write(encode(message))
        driver.stdin.flush()
        verdict, raw = read_answer(driver.stdout)
        if verdict == b'ok':
            problems = list(check(raw, message))
        else:
            problems = ['refused: ' + raw.decode()]
        failed += bool(problems)
        print('%sok %d - %s' % ('not ' if problems else '', number, name))
        for problem in problems:
            print('# ' + problem)
    driver.stdin.close()
    ended = driver.wait()
    print('%sok %d - the driver ended well' % ('not ' if ended else '',
                                               len(table) + 1))
    print('1..%d' % (len(table) + 1))
    return 1 if failed or ended else 0


if __name__ == '__main__':
    sys.exit(main())

// An SMTP server on npm's smtp-server, for a test.
//
//   smtp_server.js DIRECTORY OPTIONS
//
// OPTIONS is JSON: cert and key (files; without, it offers no STARTTLS), user and password
// (AUTH is then required), methods (of AUTH).  It listens on a free port of 127.0.0.1,
// which it writes into DIRECTORY/port; each mail that it accepts goes to a file N.eml, and
// a line into mails.jsonl; each AUTH is a line in auth.jsonl.  It runs until it is killed.
// NODE_PATH has smtp-server.

const fs = require('fs');
const path = require('path');
const { SMTPServer } = require('smtp-server');

const [directory, json] = process.argv.slice(2);
const options = JSON.parse(json);
let count = 0;

const inside = (name) => path.join(directory, name);
const append = (name, record) => fs.appendFileSync(inside(name), JSON.stringify(record) + '\n');

// Whole or not at all.
function write(name, content) {
  fs.writeFileSync(inside(`${name}.new`), content);
  fs.renameSync(inside(`${name}.new`), inside(name));
}

function authenticate(auth, session, done) {
  const good = auth.username === options.user && auth.password === options.password;
  append('auth.jsonl', { method: auth.method, user: auth.username, secure: session.secure, good });
  if (good) done(null, { user: auth.username });
  else done(Object.assign(new Error('5.7.8 no such user, or another password'), { responseCode: 535 }));
}

function accept(stream, session, done) {
  const chunks = [];
  stream.on('data', (chunk) => chunks.push(chunk));
  stream.on('end', () => {
    const file = inside(`${++count}.eml`);
    fs.writeFileSync(file, Buffer.concat(chunks));
    append('mails.jsonl', {
      file,
      mail_from: session.envelope.mailFrom.address,
      rcpt_tos: session.envelope.rcptTo.map((to) => to.address),
      session: session.id,
      tls: session.secure,
      auth: session.user || null,
      how: session.transmissionType,
    });
    done(null, `2.0.0 queued as ${count}`);
  });
}

const server = new SMTPServer({
  name: 'server.test',
  disableReverseLookup: true,
  ...(options.cert ? { cert: fs.readFileSync(options.cert), key: fs.readFileSync(options.key) } : {}),
  disabledCommands: [...(options.cert ? [] : ['STARTTLS']), ...(options.user ? [] : ['AUTH'])],
  authMethods: options.methods || ['PLAIN', 'LOGIN'],
  onAuth: authenticate,
  onData: accept,
});
server.on('error', () => {}); // of a connection that was cut
server.listen(0, '127.0.0.1', () => write('port', `${server.server.address().port}\n`));

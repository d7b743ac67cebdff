// A small app that has the board: a login by a link that it prints, sessions, CSRF tokens.
// Your own app has these already; see board.js for what is the board's.
//
//   PGHOST=... PGDATABASE=... node server.js
const crypto = require('crypto');
const express = require('express');
const { Pool } = require('pg');
const board = require('./board');

const port = Number(process.env.PORT || 8377);
const key = process.env.BOARD_KEY || crypto.randomBytes(16).toString('hex');
const sessions = new Map();
const same = (a, b) => crypto.timingSafeEqual(...[a, b].map((text) => crypto.createHash('sha256').update(String(text)).digest()));

function findSession(req, res, next) {
  const [, id] = /(?:^|; )session=([0-9a-f]+)/.exec(req.headers.cookie || '') || [];
  req.session = sessions.get(id);
  next();
}

function isLoggedIn(req, res, next) {
  if (req.session) return next();
  return res.status(401).type('text').send('Log in first, by the link that the server printed.');
}

function checkCsrf(req, res, next) {
  if (req.method === 'GET' || same(req.body._csrf, req.session.csrf)) return next();
  return res.status(403).type('text').send('This form is not of your session.');
}

// A connection that is lost while nobody uses it is no reason to end: the next query makes another.
const pool = new Pool({ max: 4, statement_timeout: 10000 });
pool.on('error', (error) => console.error(error.message));

const app = express();
app.disable('x-powered-by');
app.use(findSession);
app.get('/login', (req, res) => {
  if (!same(req.query.key, key)) return res.status(403).type('text').send('This is not the key.');
  const id = crypto.randomBytes(16).toString('hex');
  sessions.set(id, { csrf: crypto.randomBytes(16).toString('hex') });
  return res.cookie('session', id, { httpOnly: true, sameSite: 'lax' }).redirect('/jobs');
});
app.use('/jobs', isLoggedIn, express.urlencoded({ extended: false }), checkCsrf,
  board(pool, {
    csrf: (req) => ({ name: '_csrf', value: req.session.csrf }),
    zone: process.env.BOARD_ZONE,
  }));
app.get('/', (req, res) => res.redirect('/jobs'));
app.use((error, req, res, next) => { // with four parameters, or Express takes it for something else
  console.error(error);
  if (res.headersSent) return next(error);
  return res.status(500).type('text').send('The page could not be made; see what the server printed.');
});
const server = app.listen(port, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/login?key=${key}`));

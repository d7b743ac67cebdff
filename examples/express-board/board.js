// The board of the jobs in an Express app.  Mount it behind the app's own session, login and check
// of CSRF tokens, with a pool whose role may see what its visitors may:
//
//   app.use('/admin/jobs', isAdmin, express.urlencoded({ extended: false }), checkCsrf,
//     board(pool, { csrf: (req) => ({ name: '_csrf', value: req.csrfToken() }) }));
const express = require('express');

// The pages are complete: they need nothing from elsewhere, and no script.
const policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

// Class 22: what a visitor sent cannot be a parameter, such as a text with a zero byte.
const answer = (handler) => (req, res, next) => handler(req, res).catch((error) => (
  /^22/.test(error.code) ? res.status(400).type('text').send('There is no such page.') : next(error)));

module.exports = function board(pool, { csrf, zone }) {
  const router = express.Router();

  router.get('/', answer(async (req, res) => {
    const app = { base: req.baseUrl, csrf: csrf(req), flash: req.session.board, zone };
    delete req.session.board;
    const { rows: [{ html }] } = await pool.query('SELECT jobs.board($1, $2) AS html',
      [req.query.page || 'overview', { ...req.query, app }]);
    res.set({ 'Content-Security-Policy': policy, 'Cache-Control': 'no-store' }).type('html').send(html);
  }));

  router.post('/', express.urlencoded({ extended: false }), answer(async (req, res) => {
    const { [csrf(req).name]: token, ...request } = req.body; // the token is not the database's
    const { rows: [{ done }] } = await pool.query('SELECT jobs.board_action($1) AS done', [request]);
    req.session.board = done; // what is shown on the next page
    res.redirect(303, req.baseUrl + done.page);
  }));

  return router;
};

// The board of the jobs in an Express app.  Mount it behind the app's own login and check of
// CSRF tokens, with a pool whose role may see what its visitors may:
//
//   app.use('/admin/jobs', isAdmin, checkCsrf, board(pool, { csrf: (req) => ({ name: '_csrf', value: req.csrfToken() }) }));
const express = require('express');

// The pages are complete: they need nothing from elsewhere, and no script.
const policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

module.exports = function board(pool, { csrf, zone }) {
  const router = express.Router();

  router.get('/', async (req, res, next) => {
    try {
      const app = { base: req.baseUrl, csrf: csrf(req), flash: req.session.board, zone };
      delete req.session.board;
      const { rows: [{ html }] } = await pool.query('SELECT jobs.board($1, $2) AS html',
        [req.query.page || 'overview', { ...req.query, app }]);
      res.set({ 'Content-Security-Policy': policy, 'Cache-Control': 'no-store' }).type('html').send(html);
    } catch (error) { next(error); }
  });

  router.post('/', express.urlencoded({ extended: false }), async (req, res, next) => {
    try {
      const { rows: [{ done }] } = await pool.query('SELECT jobs.board_action($1) AS done', [req.body]);
      req.session.board = done; // what is shown on the next page
      res.redirect(303, req.baseUrl + done.page);
    } catch (error) { next(error); }
  });

  return router;
};

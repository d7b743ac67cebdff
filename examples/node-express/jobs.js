// The jobs, for the people who look after the portal: routes for an Express app,
// with the client "pg".  Put them behind the login of your administrators.

// An error of the database as an answer: a wrong name or schedule is the caller's mistake.
const statuses = { '42704': 404, '22023': 400, '42501': 403 };

function answer(handler) {
  return async (req, res, next) => {
    try {
      await handler(req, res);
    } catch (error) {
      if (!statuses[error.code]) return next(error);
      res.status(statuses[error.code]).json({ error: error.message, detail: error.detail, hint: error.hint });
    }
  };
}

module.exports = function jobRoutes(app, pool) {
  // How the jobs are: a row each.
  app.get('/admin/jobs', answer(async (req, res) => {
    const { rows } = await pool.query(`SELECT job, in_words, timezone, next_run, last_run, last_status,
      last_result, success_rate, p95_duration, consecutive_failures, paused, why_not FROM jobs.status ORDER BY job`);
    res.json(rows);
  }));

  // What ran, latest first.
  app.get('/admin/jobs/:job/history', answer(async (req, res) => {
    const { rows } = await pool.query(`SELECT run_id, attempt, trigger, started_at, duration, status, result, error
      FROM jobs.history WHERE job = $1 ORDER BY run_id DESC, attempt DESC LIMIT 50`, [req.params.job]);
    res.json(rows);
  }));

  // Run it now.  Without waiting: the answer is the id of the run, to look for in the history.
  app.post('/admin/jobs/:job/run', answer(async (req, res) => {
    const { rows: [run] } = await pool.query('SELECT run_id, status FROM jobs.run_now($1, wait => false)', [req.params.job]);
    res.status(202).json(run);
  }));

  // When it runs.  Other words than a schedule are refused with what is wrong about them.
  app.put('/admin/jobs/:job/schedule', answer(async (req, res) => {
    await pool.query('SELECT jobs.reschedule($1, $2)', [req.params.job, req.body.schedule]);
    const { rows: [job] } = await pool.query('SELECT in_words, next_run FROM jobs.status WHERE job = $1', [req.params.job]);
    res.json(job);
  }));

  // Work for later, in the transaction of what it is about: both are there, or neither.
  app.post('/videos', answer(async (req, res) => {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      const { rows: [video] } = await client.query('INSERT INTO videos (title) VALUES ($1) RETURNING id', [req.body.title]);
      await client.query('SELECT jobs.enqueue($1, $2)', ['make_thumbnail', { video: video.id }]);
      await client.query('COMMIT');
      res.status(201).json(video);
    } catch (error) {
      await client.query('ROLLBACK').catch(() => {});
      throw error;
    } finally {
      client.release();
    }
  }));
};

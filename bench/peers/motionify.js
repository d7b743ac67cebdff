// motionify_jobs.  Its workers are the executors, in the server; how many there are
// is a setting, and they are not started and stopped here.

import { setTimeout as sleep } from 'node:timers/promises';
import { pool } from './peer.js';

const body = { insert: "INSERT INTO done (job) VALUES (($1 ->> 'n')::integer)", nothing: 'SELECT 1' };

// grouped: with group commit
const openOne = (grouped) => async ({ database, clients }) => {
  const connections = await pool(database, clients);
  const query = async (text, ...values) => (await connections.query(text, values)).rows[0];
  const job = grouped ? 'bench grouped' : 'bench';
  const define = (what) => query(`SELECT jobs.schedule('${job}', NULL, $1${grouped ? ', group_commit => true' : ''})`, body[what]);
  const fill = (from, to) => query(`
    SELECT count(*) FROM jobs.enqueue_many('${job}',
      ARRAY(SELECT jsonb_build_object('n', n) FROM generate_series($1::integer, $2::integer - 1) AS n))`, from, to);
  // Runs begin in the order of their ids: first a look at the last one, which costs little.
  const rest = async () => {
    const last = (await query('SELECT max(run_id) AS id FROM jobs.queue')).id;
    while (last && (await query('SELECT NOT EXISTS (SELECT FROM jobs.run_log WHERE run_id = $1) AS some', last)).some) await sleep(10);
    while ((await query('SELECT EXISTS (SELECT FROM jobs.queue) AS some')).some) await sleep(10);
  };
  await define('insert');

  return {
    add: (n) => connections.query({ name: 'enqueue', text: `SELECT jobs.enqueue('${job}', $1)`, values: [{ n }] }),
    fill: (from, to) => connections.query({
      name: 'fill',
      text: `SELECT count(*) FROM jobs.enqueue_many('${job}', $1)`,
      values: [Array.from({ length: to - from }, (_, i) => ({ n: from + i }))],
    }),
    clear: () => query('TRUNCATE jobs.queue, jobs.run_log, done'),
    close: () => connections.end(),

    // The jobs are there at the commit that puts them in.  From the first start to
    // the last end, as the history has it; in ms.
    async drain(jobs, what) {
      await define(what);
      await fill(-Math.max(500, jobs / 4), 0); // who works is there, and has its plans
      await rest();
      await query('TRUNCATE done');
      const mark = (await query('SELECT coalesce(max(run_id), 0) AS id FROM jobs.run_log')).id;
      await fill(0, jobs);
      await rest();
      const log = await query(`
        SELECT count(*)::integer AS runs, extract(epoch FROM max(finished_at) - min(started_at))::float8 * 1000 AS ms
        FROM jobs.run_log WHERE run_id > $1 AND status = 'succeeded'`, mark);
      if (log.runs !== jobs) throw new Error(`${log.runs} runs of ${jobs} have succeeded`);
      return log.ms;
    },

    // From a time that is read before the enqueue, to the one that the job reads.
    // Both are the server's: the answer to the first is on its way meanwhile.
    async pickup(n, pause) {
      const before = (await query('SELECT clock_timestamp()::text AS at')).at;
      await this.add(n);
      await pause();
      return (await query('SELECT extract(epoch FROM at - $2)::float8 * 1000 AS ms FROM done WHERE job = $1', n, before))?.ms;
    },

    // Until neither scheduler nor executor is there.
    async cold() {
      const some = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type IN ('motionify_jobs scheduler', 'motionify_jobs executor')) AS some";
      while ((await query(some)).some) await sleep(100);
    },
  };
};

export const single = { open: openOne(false) };
export const grouped = { open: openOne(true) };

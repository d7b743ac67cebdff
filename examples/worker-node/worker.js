// A worker for an external job: PGHOST=... PGDATABASE=... node worker.js resize
// It ends by itself when its connection is lost: have a supervisor start it again.
const { Client, Pool } = require('pg');
const { setTimeout: wait } = require('timers/promises');

const job = process.argv[2];
const atOnce = 4;                                     // runs in hand
const leaseMs = Number(process.env.LEASE_MS ?? 60000);
const application_name = `worker.js ${process.pid}`;  // jobs.active shows it
const db = new Pool({ max: atOnce + 1, application_name });
const listener = new Client({ application_name });
const inHand = new Map();                             // token => AbortController
let stopping = false, news = false, resume = () => {};
const wake = () => { news = true; resume(); };

// The work: replace it. Its result goes to jobs.history; an error is a failed attempt.
// It may be done twice, after a crash; the signal tells it to stop.
async function work(args, signal) {
  await wait((args.seconds ?? 0) * 1000, null, { signal });
  if (args.fail) throw new Error(args.fail);
  return { seconds: args.seconds ?? 0 };
}

async function perform({ token, args, run_id }, controller) {
  let lost = false;
  const beat = setInterval(() => db.query('SELECT jobs.heartbeat($1)', [token]).catch((error) => {
    console.error(`run ${run_id}: ${error.message}`);
    if (error.code === '55000') { lost = true; controller.abort(); } // taken away
  }), leaseMs / 3);
  const end = await work(args ?? {}, controller.signal).then(
    (result) => ['SELECT jobs.complete($1, $2)', [token, JSON.stringify(result ?? null)]],
    (error) => stopping ? ['SELECT jobs.release($1)', [token]]
      : ['SELECT jobs.fail($1, $2, detail => $3)', [token, error.message, error.stack]]);
  clearInterval(beat);
  if (!lost) await db.query(...end);                  // if not: the lease runs out
}

async function main() {
  await listener.connect();
  const { rows: [{ channel }] } = await listener.query('SELECT jobs.channel($1)', [job]);
  listener.on('notification', wake);
  await listener.query(`LISTEN ${channel}`);          // before the first claim
  setInterval(wake, 60000).unref();                   // notices a dead connection
  while (!stopping || inHand.size > 0) {
    news = false;
    const free = stopping ? 0 : atOnce - inHand.size;
    const { rows } = free === 0 ? { rows: [] } : await db.query(
      'SELECT * FROM jobs.claim($1, $2, $3)', [job, free, `${leaseMs} ms`]);
    for (const run of rows) {
      inHand.set(run.token, new AbortController());
      perform(run, inHand.get(run.token)).catch((error) => console.error(`run ${run.run_id}: ${error.message}`))
        .finally(() => { inHand.delete(run.token); wake(); });
    }
    if (!news) await new Promise((resolve) => { resume = resolve; });
  }
  await Promise.all([listener.end(), db.end()]);
}
process.on('SIGTERM', () => { stopping = true; inHand.forEach((c) => c.abort()); wake(); });
main().catch((error) => { console.error(error.message); process.exit(1); });

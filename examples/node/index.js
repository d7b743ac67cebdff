const { Client } = require('pg');

async function main() {
  const db = new Client();                  // PGHOST, PGDATABASE, ... or { connectionString }
  await db.connect();

  // Make a job, or change the one of that name: safe at every start of the app.
  await db.query('SELECT jobs.schedule($1, $2, $3)',
    ['cleanup_sessions', '0 3 * * *', 'DELETE FROM sessions WHERE expires_at < now()']);

  // Run it now, in a worker, and wait for its end.
  const { rows: [run] } = await db.query('SELECT * FROM jobs.run_now($1)', ['cleanup_sessions']);
  console.log(run.status, run.result);      // succeeded DELETE 42

  // What ran, latest first.
  const { rows } = await db.query(
    'SELECT job, trigger, status, result, error FROM jobs.history ORDER BY run_id DESC LIMIT 5');
  console.table(rows);

  // With raise, the error of the job arrives in catch: its SQLSTATE, its message.
  await db.query("SELECT jobs.schedule('broken', NULL, 'SELECT 1 / 0')");
  try {
    await db.query("SELECT * FROM jobs.run_now('broken', raise => true)");
  } catch (error) {
    console.log(error.code, error.message); // 22012 job "broken" failed: division by zero
  }

  // A wrong name is an error that names the nearest.
  try {
    await db.query("SELECT jobs.run_now('cleanup-session')");
  } catch (error) {
    console.log(error.code, error.hint);    // 42704 Perhaps you meant "cleanup_sessions".
  }
  await db.end();
}

main().catch((error) => { console.error(error); process.exit(1); });

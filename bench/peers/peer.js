// What a peer is: an object that bench.js can ask for the following.  One file a
// peer, each with a function open(options) that makes its tables, unless they are
// there, and returns it.
//
//   add(n)            puts one job into the queue, as an application would
//   fill(from, to)    puts so many in, in the way that is made for it
//   work(workers, body, tuned)
//                     starts that many workers; each calls body(n) for a job;
//                     tuned for throughput, else as installed.  Returns what stops them
//   left()            how many jobs have not ended, by what the queue has recorded
//   clear()           forgets all jobs
//   close()           leaves
//
// Options: database, clients (how many calls of add() there may be at once).

import pg from 'pg';

export const connection = (database) => ({ host: process.env.PGHOST, user: process.env.PGUSER, database });

// A pool of connections that are all there already.
export async function pool(database, size) {
  const made = new pg.Pool({ ...connection(database), max: size, min: size, idleTimeoutMillis: 0 });
  const all = await Promise.all(Array.from({ length: size }, () => made.connect()));
  all.forEach((one) => one.release());
  return made;
}

// The job with a body: one INSERT, its own transaction, a prepared statement.
export const insert = (connections) => (n) =>
  connections.query({ name: 'body', text: 'INSERT INTO done (job) VALUES ($1)', values: [n] });

export const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i);

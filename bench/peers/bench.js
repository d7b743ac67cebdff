// One figure of one queue.  Called by bench/queue.sh, with PGHOST, PGUSER and
// REDIS_SOCKET in the environment; the peer's database has a table "done".
//
//   bench.js drain PEER DATABASE JOBS WORKERS insert|nothing    jobs a second
//   bench.js enqueue PEER DATABASE CLIENTS SECONDS              jobs a second
//   bench.js bulk PEER DATABASE JOBS                            jobs a second
//   bench.js pickup PEER DATABASE SAMPLES                       p50 and p99, ms
//   bench.js cold PEER DATABASE SAMPLES                         p50 and the latest, ms
//   bench.js idle PEER DATABASE SECONDS                         has a worker for so long

import { setTimeout as sleep } from 'node:timers/promises';
import * as bullmq from './bullmq.js';
import * as graphile from './graphile-worker.js';
import * as motionify from './motionify.js';
import * as pgBoss from './pg-boss.js';
import * as plain from './plain.js';
import { insert, pool } from './peer.js';

const peers = {
  'graphile-worker': graphile,
  'pg-boss': pgBoss,
  'bullmq-redis': bullmq.redis,
  'bullmq-postgres': bullmq.postgres,
  motionify_jobs: motionify.single,
  'motionify_jobs-group': motionify.grouped,
  plain: plain.one,
  'plain-returning': plain.returning,
};

const now = () => performance.now();
const perSecond = (count, ms) => Math.round((count * 1000) / ms);
const percentile = (sorted, share) => sorted[Math.min(sorted.length, Math.ceil(sorted.length * share)) - 1];

// Works off jobs that are all there already: from the first that is begun until the
// queue has recorded the end of the last.  In ms.
async function workOff(peer, from, to, workers, body) {
  let first, begun = 0, ended = 0, bodiesDone;
  const all = new Promise((resolve) => (bodiesDone = resolve));
  await peer.fill(from, to);
  const stop = await peer.work(workers, async (n) => {
    if (begun++ === 0) first = now();
    await body(n);
    if (++ended === to - from) bodiesDone();
  }, true);
  await all;
  while ((await peer.left()) > 0) await sleep(1);
  const ms = now() - first;
  await stop();
  return ms;
}

async function drainPeer(peer, database, jobs, workers, what) {
  const connections = await pool(database, workers);
  const body = what === 'insert' ? insert(connections) : () => {};
  await peer.clear();
  await workOff(peer, -Math.min(1000, jobs / 4), 0, workers, body); // to be warm
  await connections.query('TRUNCATE done');
  const ms = await workOff(peer, 0, jobs, workers, body);
  await connections.end();
  return ms;
}

// Each job must have been done, and once.
async function check(database, jobs) {
  const connections = await pool(database, 1);
  const { rows: [done] } = await connections.query('SELECT count(*)::integer AS times, count(DISTINCT job)::integer AS jobs FROM done');
  await connections.end();
  if (done.jobs !== jobs) throw new Error(`${done.jobs} jobs of ${jobs} are done`);
  if (done.times !== jobs) console.error(`${done.times - jobs} jobs of ${jobs} are done twice`);
}

const tests = {
  async drain(peer, database, jobs, workers, what) {
    const ms = peer.drain ? await peer.drain(+jobs, what) : await drainPeer(peer, database, +jobs, +workers, what);
    if (what === 'insert') await check(database, +jobs);
    return [perSecond(jobs, ms)];
  },

  async enqueue(peer, database, clients, seconds) {
    const round = async (ms) => {
      let n = 0;
      const start = now();
      const client = async () => { while (now() < start + ms) await peer.add(n++); };
      await Promise.all(Array.from({ length: +clients }, client));
      return perSecond(n, now() - start);
    };
    await peer.clear();
    await round(300); // to be warm
    const rate = await round(seconds * 1000);
    await peer.clear();
    return [rate];
  },

  async bulk(peer, database, jobs) {
    await peer.clear();
    await peer.fill(0, +jobs); // to be warm
    await peer.clear();
    const start = now();
    await peer.fill(0, +jobs);
    const ms = now() - start;
    await peer.clear();
    return [perSecond(jobs, ms)];
  },

  async pickup(peer, database, samples) {
    const begun = new Map();
    await peer.clear();
    const stop = await peer.work?.(1, (n) => { begun.get(n)?.(now()); });
    const ms = [];
    for (let n = -20; n < samples; n++) {
      await sleep(15 + Math.random() * 20);
      const took = peer.pickup ? await peer.pickup(n, () => sleep(50)) : await pickUp(peer, n, begun);
      if (n >= 0) ms.push(took);
    }
    await stop?.();
    return spread(ms, 0.99);
  },

  async cold(peer, database, samples) {
    const ms = [];
    for (let n = 0; n < samples; n++) {
      await peer.cold();
      ms.push(await peer.pickup(1e6 + n, () => sleep(500)));
    }
    return spread(ms, 1);
  },

  async idle(peer, database, seconds) {
    const stop = await peer.work(4, () => {});
    await sleep(seconds * 1000);
    await stop();
    return [];
  },
};

async function pickUp(peer, n, begun) {
  const start = now();
  const taken = new Promise((resolve) => begun.set(n, resolve));
  await peer.add(n);
  return (await taken) - start;
}

function spread(ms, share) {
  if (ms.includes(undefined)) throw new Error(`${ms.filter((one) => one === undefined).length} jobs were not begun in time`);
  ms.sort((a, b) => a - b);
  return [percentile(ms, 0.5).toFixed(2), percentile(ms, share).toFixed(2)];
}

const [test, name, database, ...rest] = process.argv.slice(2);
const clients = test === 'enqueue' ? +rest[0] : 1;
const peer = await peers[name].open({ database, clients });
console.log((await tests[test](peer, database, ...rest)).join(' '));
await peer.close();
process.exit();
